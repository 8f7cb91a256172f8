package local

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// newStorage mounts a storage of its own, with options of tmpfs such as size=1m, and returns a root in use.
func newStorage(t testing.TB, options string) (root string) {
	t.Helper()
	root, err := os.MkdirTemp("", "sitesync-storage") // no folder above it is closed to other users
	must(t, err)
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, options))
	t.Cleanup(func() {
		must(t, unix.Unmount(root, unix.MNT_DETACH))
		must(t, os.Remove(root))
	})
	must(t, os.Mkdir(filepath.Join(root, "other"), 0o755))
	return root
}

// remount makes a storage read-only, or writable again.
func remount(t testing.TB, root string, flags uintptr) {
	t.Helper()
	must(t, unix.Mount("", root, "", unix.MS_REMOUNT|flags, ""))
}
