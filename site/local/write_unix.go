//go:build unix

package local

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock locks a file for this handle, until that is closed or the process ends. held reports that another one has it.
func lock(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err == unix.EWOULDBLOCK, err
}

// hasOtherNames reports whether a file has hard links.
func hasOtherNames(f *os.File) bool {
	var s unix.Stat_t
	return unix.Fstat(int(f.Fd()), &s) == nil && s.Nlink > 1
}

// syncFolder has the names in a folder written to the disk. Some network storages have no such call: there the server
// does it.
func syncFolder(folder *os.Root) error {
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !isAny(err, syscall.EINVAL, syscall.ENOTSUP, syscall.EBADF, syscall.EACCES) {
		return err
	}
	return nil
}

// writable returns an error if this process may not write to a folder, as far as that is known without writing.
func writable(folder string) error {
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "write to", Path: folder, Err: err}
	}
	return nil
}

func isFull(err error) bool       { return isAny(err, syscall.ENOSPC, syscall.EDQUOT) }
func isReadOnly(err error) bool   { return errors.Is(err, syscall.EROFS) }
func isInUse(err error) bool      { return isAny(err, syscall.EBUSY, syscall.ETXTBSY) }
func isOutOfFiles(err error) bool { return isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM) }
func isRefusedName(err error) bool {
	return isAny(err, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EILSEQ)
}

// keepsNoTimes reports that a storage does not let the time of modification be set.
func keepsNoTimes(err error) bool {
	return isAny(err, syscall.EPERM, syscall.EACCES, syscall.ENOSYS, syscall.ENOTSUP, syscall.EINVAL)
}

func isAny(err error, numbers ...syscall.Errno) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
