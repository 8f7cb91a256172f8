package local

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock locks a file for this handle, until that is closed or the process ends. held reports that another one has it.
// The byte that is locked is behind all that a file can hold, as others may not even read what is locked.
func lock(f *os.File) (held bool, err error) {
	behind := &windows.Overlapped{OffsetHigh: 1 << 30}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, behind)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}

// hasOtherNames reports whether a file has hard links.
func hasOtherNames(f *os.File) bool {
	var info windows.ByHandleFileInformation
	return windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info) == nil && info.NumberOfLinks > 1
}

// syncFolder is not needed: NTFS keeps a journal of names.
func syncFolder(*os.Root) error { return nil }

// writable is not known before something is written.
func writable(string) error { return nil }

func isFull(err error) bool {
	return isAny(err, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func isInUse(err error) bool {
	return isAny(err, windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION, windows.ERROR_USER_MAPPED_FILE)
}

func isOutOfFiles(err error) bool {
	return isAny(err, windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NOT_ENOUGH_MEMORY)
}

func isRefusedName(err error) bool {
	return isAny(err, windows.ERROR_INVALID_NAME, windows.ERROR_FILENAME_EXCED_RANGE, windows.ERROR_BAD_PATHNAME,
		windows.ERROR_INVALID_PARAMETER)
}

// keepsNoTimes reports that a storage does not let the time of modification be set.
func keepsNoTimes(err error) bool {
	return isAny(err, windows.ERROR_NOT_SUPPORTED, windows.ERROR_INVALID_FUNCTION, windows.ERROR_INVALID_PARAMETER)
}

func isAny(err error, numbers ...error) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// spaceIn returns how many bytes this user can still write to the storage of a folder.
func spaceIn(folder string) (int64, error) {
	name, err := windows.UTF16PtrFromString(folder)
	if err != nil {
		return 0, err
	}
	var left uint64
	if err := windows.GetDiskFreeSpaceEx(name, &left, nil, nil); err != nil {
		return 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: folder, Err: err}
	}
	return int64(left), nil
}
