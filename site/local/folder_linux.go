package local

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openRootBelow is openRootStepwise by one call of the kernel: a storage in the network may answer each step.
func openRootBelow(root, rel string) (*os.Root, error) {
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return openRootStepwise(root, rel) // it returns why, or succeeds if the call was interrupted
	}
	defer unix.Close(top) //nolint:errcheck // nothing was written by it
	folder, err := unix.Openat2(top, rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch err {
	case nil:
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.EINTR: // as in openBelow
		return openRootStepwise(root, rel)
	default:
		return nil, &os.PathError{Op: "open", Path: rel, Err: err}
	}
	defer unix.Close(folder) //nolint:errcheck // as above
	found, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", folder))
	if os.IsNotExist(err) { // /proc is not mounted
		return openRootStepwise(root, rel)
	}
	return found, err
}
