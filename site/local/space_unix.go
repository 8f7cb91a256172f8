//go:build unix

package local

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// spaceIn returns how many bytes this user can still write to the storage of a folder; none if it has no room for
// another file's name either, and any number if the storage does not say how large it is.
func spaceIn(folder string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: folder, Err: err}
	}
	if s.Blocks == 0 {
		return math.MaxInt64, nil
	}
	if s.Files > 0 && s.Ffree == 0 {
		return 0, nil
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
