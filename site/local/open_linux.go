package local

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openBelow is openInRoot by one call of the kernel, where [os.Root] makes one for each folder on the way: a storage in
// the network may answer each.
func openBelow(root, rel string) (*os.File, error) {
	file, ok, err := openat2(root, rel, unix.O_RDONLY|unix.O_NONBLOCK)
	switch {
	case !ok:
		return openInRoot(root, rel)
	case err != nil:
		return nil, err
	}
	return os.NewFile(uintptr(file), filepath.Join(root, rel)), nil
}

// openRootBelow is openRootStepwise by one call of the kernel.
func openRootBelow(root, rel string) (*os.Root, error) {
	folder, ok, err := openat2(root, rel, unix.O_PATH|unix.O_DIRECTORY)
	switch {
	case !ok:
		return openRootStepwise(root, rel)
	case err != nil:
		return nil, err
	}
	defer unix.Close(folder) //nolint:errcheck // nothing was written by it
	found, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", folder))
	if os.IsNotExist(err) { // /proc is not mounted
		return openRootStepwise(root, rel)
	}
	return found, err
}

// openat2 opens what is below a root, and stays there whatever symbolic links are on the way. ok is false if the kernel
// can't: it is older than 5.6, or a container's filter does not know the call, or something was moved meanwhile; or
// if the root can't be opened, which is asked once more for the reason.
func openat2(root, rel string, flags uint64) (file int, ok bool, err error) {
	folder, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, nil
	}
	defer unix.Close(folder) //nolint:errcheck // nothing was written by it
	file, err = unix.Openat2(folder, rel, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch err {
	case nil:
		return file, true, nil
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.EINTR:
		return 0, false, nil
	}
	return 0, true, &os.PathError{Op: "open", Path: rel, Err: err}
}
