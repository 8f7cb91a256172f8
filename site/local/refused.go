package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/site"
)

var errNoRoom = errors.New("the storage is full")

// noSpace says that a storage is full, or why that is not known.
func noSpace(path string, why error) error {
	if why != nil {
		return fmt.Errorf("cannot find out how much room is left below %s: %w", path, why)
	}
	return fmt.Errorf("%w: nothing can be written below %s; free some space, or have the quota raised", errNoRoom, path)
}

// cannotWrite says that nothing can be written below a root.
func cannotWrite(root string, why error) error {
	switch {
	case isReadOnly(why):
		return fmt.Errorf("the storage is mounted read-only: %s (%w); mount it for writing", root, why)
	case errors.Is(why, os.ErrPermission):
		return fmt.Errorf("sitesync may not write to %s (%w); let the user that it runs as write there", root, why)
	}
	return fmt.Errorf("cannot write to %s: %w", root, why)
}

// failed is an error that is the file's own.
func (w *writing) failed(format string, args ...any) error {
	return site.Classed(site.FileError, fmt.Errorf("%s: %w", w, fmt.Errorf(format, args...)))
}

// isClassed reports whether an error has a class already, or is none of the file system's.
func isClassed(err error) bool {
	return errors.As(err, new(*site.Error)) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded)
}

// classify classes an error of the file system: whether it is of the storage, of a folder or of the file.
func (w *writing) classify(err error) error {
	folder := w.dirPath
	if folder == "" {
		folder = w.folder().String()
	}
	if err == nil || isClassed(err) {
		return err
	}
	err = reason(err)
	switch {
	case isFull(err):
		return site.UnavailableIn(site.LargeOnes,
			fmt.Errorf("%w: %s of %s cannot be written (%w); free some space, or "+
				"have the quota raised", errNoRoom, w, humanize.IBytes(uint64(w.Size)), err))
	case isReadOnly(err):
		if of := w.CheckRoot(context.Background(), w.root); of != nil { // it ends in time
			return of
		}
		return w.closed(folder,
			fmt.Errorf("the folder %s is on a storage that is mounted read-only (%w); mount that for "+
				"writing", folder, err))
	case isStale(err), errors.Is(err, os.ErrNotExist):
		return site.Classed(site.Transient, fmt.Errorf("%s was moved or removed while %s was written there: %w", folder,
			w.base(), err))
	case isStorages(err):
		if w.ill.again(w.Path, w.calls.lastWorked(w.root)) {
			return w.failed("its storage fails for it, while other files are written: %w", err)
		}
		return site.UnavailableIn(site.OneRoot, fmt.Errorf("the storage below %s fails: %w; look at the mount and its "+
			"server", w.root, err))
	case errors.Is(err, os.ErrPermission):
		return w.closed(folder,
			fmt.Errorf("sitesync may not write to the folder %s (%w); let the user that it runs as "+
				"write there", folder, err))
	case isInUse(err):
		return site.Classed(site.Transient, fmt.Errorf("%s is in use: %w", w, err))
	case isOutOfFiles(err):
		return &site.Error{Class: site.Transient, Shared: true, Err: fmt.Errorf("this machine is short of files or "+
			"memory: %w", err)}
	case isRefusedName(err):
		return w.failed("the file system refuses the name: %w; rename it where it was published", err)
	}
	return w.failed("%w", err)
}

// reason is an error of the file system without the path that it names: mostly that of a partial file, below a number
// of an open folder, which means nothing to people.
func reason(err error) error {
	switch of := err.(type) {
	case *os.PathError:
		return of.Err
	case *os.LinkError:
		return of.Err
	}
	return err
}

// closed is an error of a folder that nothing can be written to.
func (w *writing) closed(folder string, err error) error {
	return &site.Error{Class: site.Unavailable, Scope: site.Creations, Folder: folder, Err: err}
}

// isFullDisk reports whether an error is that of a storage without room.
func isFullDisk(err error) bool { return errors.Is(err, errNoRoom) }

// illFiles are files whose storage has failed.
type illFiles struct {
	mu sync.Mutex
	at map[string]time.Time // when, by path
}

// mostIll bounds how many are remembered.
const mostIll = 1000

// again registers that the storage has failed for a file, and reports whether it is that file's own failure: it has
// failed for it before, and others were written since.
func (i *illFiles) again(path string, others time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if before, ok := i.at[path]; ok && others.After(before) {
		return true
	}
	if i.at == nil || len(i.at) >= mostIll {
		i.at = map[string]time.Time{}
	}
	i.at[path] = time.Now()
	return false
}
