//go:build unix

package local

import "syscall"

// storageFails is what a storage answers that fails.
const storageFails = syscall.EIO
