package local

import "golang.org/x/sys/windows"

// storageFails is what a storage answers that fails.
const storageFails = windows.ERROR_IO_DEVICE
