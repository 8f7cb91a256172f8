//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs is whether a file belongs to the user that sitesync runs as.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(stat.Uid) == os.Geteuid()
}
