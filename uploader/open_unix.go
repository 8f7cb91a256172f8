//go:build unix

package uploader

import (
	"errors"
	"syscall"
)

// nonblock keeps the opening of a FIFO from waiting for a writer. Reading a regular file is not changed by it.
const nonblock = syscall.O_NONBLOCK

// leased reports that somebody holds a lease of the file, as a Samba server does for a client that writes. It is
// asked to give it up, which we did not wait for.
func leased(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }
