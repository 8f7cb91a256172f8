//go:build unix

package local

import (
	"errors"
	"syscall"
)

// nonblock keeps the opening of a FIFO from waiting for a writer. Reading a regular file is not changed by it.
const nonblock = syscall.O_NONBLOCK

// leased reports that a lease of the file is held, as a Samba server does for a client that writes. It is
// asked to give it up, which we did not wait for.
func leased(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }

// isStale reports that a file was replaced on the server of a network storage since it was looked up.
func isStale(err error) bool { return errors.Is(err, syscall.ESTALE) }

// isStorages reports whether an error is what a storage answers that fails or has gone, rather than what is wrong with
// one file: NFS, SMB, FUSE and disks.
func isStorages(err error) bool {
	for _, number := range []syscall.Errno{syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ENODEV, syscall.ENXIO,
		syscall.EHOSTDOWN,
		syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ETIMEDOUT, syscall.ECONNABORTED,
		syscall.ECONNRESET} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
