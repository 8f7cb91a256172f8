package local

import (
	"errors"

	"golang.org/x/sys/windows"
)

// nonblock is nothing: a file below a root is no FIFO here.
const nonblock = 0

func leased(error) bool { return false }

func isStale(error) bool { return false }

// isStorages reports whether an error is what a network storage or a drive answers that has gone.
func isStorages(err error) bool {
	for _, number := range []error{windows.ERROR_BAD_NETPATH, windows.ERROR_BAD_NET_NAME, windows.ERROR_NETNAME_DELETED,
		windows.ERROR_UNEXP_NET_ERR, windows.ERROR_NETWORK_UNREACHABLE, windows.ERROR_NOT_READY,
		windows.ERROR_IO_DEVICE,
		windows.ERROR_SEM_TIMEOUT} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
