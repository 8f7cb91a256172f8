package local

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openBelow is openInRoot by one call of the kernel, where [os.Root] makes one for each folder on the way: a storage in
// the network may answer each.
func openBelow(root, rel string) (*os.File, error) {
	folder, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return openInRoot(root, rel) // it returns why, or succeeds if the call was interrupted
	}
	defer unix.Close(folder) //nolint:errcheck // nothing was written by it
	file, err := unix.Openat2(folder, rel, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch err {
	case nil:
		return os.NewFile(uintptr(file), filepath.Join(root, rel)), nil
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.EINTR:
		// The kernel is older than 5.6, or a container's filter does not know the call, or something was moved
		// meanwhile.
		return openInRoot(root, rel)
	}
	return nil, &os.PathError{Op: "open", Path: rel, Err: err}
}
