// Package local is a site on storages that are mounted on this machine. It reads and writes what is below their roots,
// and below the folders that symbolic links may lead to; it distinguishes a file's own failure from a storage that is
// away, and never waits for one that hangs.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sitesync/cond"
	"sitesync/site"
)

// Options are the settings of a [Site]. All may be left out.
type Options struct {
	Roots   []string      // that [Site.Check] checks
	Links   []string      // folders outside of the roots that symbolic links may lead to
	Timeout time.Duration // after which a call of the file system is given up, more than slowCall; default 15 s

	// AvoidStalled has nothing asked of a root one of whose calls hangs: the storage is waited for once.
	AvoidStalled bool

	// Fence is asked before each step that others see. Its error means that another process may be at work.
	Fence func() error

	// Before is called before each call of the file system, for tests: it may hang as a storage does.
	Before func(root, path string)
}

// Site reads and writes files below roots that are folders of this machine.
type Site struct {
	roots   []string
	links   []string
	fence   func() error // nil if there is none
	calls   *fileCalls
	ill     illFiles
	putting cond.KeyedMutex // by path: one Put at a time
	sweeper sweeper

	// Calls of the file system that tests have fail.
	lock       func(*os.File) (held bool, err error)
	syncFile   func(*os.File) error
	syncFolder func(*os.Root) error
}

var _ interface {
	site.Backend
	site.Source
	site.Staller
} = (*Site)(nil)

// New returns a site.
func New(o Options) *Site {
	s := &Site{roots: o.Roots, links: o.Links, fence: o.Fence, calls: newFileCalls(), lock: lock,
		syncFile: (*os.File).Sync, syncFolder: syncFolder}
	s.sweeper.sweep = s.sweep
	s.calls.avoidStalled = o.AvoidStalled
	if o.Timeout > 0 {
		s.calls.timeout = o.Timeout
	}
	if o.Before != nil {
		s.calls.before = o.Before
	}
	return s
}

// OnStall is part of [site.Staller].
func (s *Site) OnStall(slow func(root string, more int), returned func(root string)) {
	s.calls.slow, s.calls.returned = slow, returned
}

// Stalled is part of [site.Staller].
func (s *Site) Stalled() int { return s.calls.count() }

// Avoid is part of [site.Staller].
func (s *Site) Avoid(root string) {
	s.calls.isGone(&site.StallError{Root: root, Path: root, Timeout: s.calls.timeout, Began: time.Now()})
}

// Open is part of [site.Source].
func (s *Site) Open(ctx context.Context, at site.Location, want site.OpenOptions) (site.SourceFile,
	error) {
	type opened struct {
		*File
		err error
	}
	o, err := answer(ctx, s.calls, at.Root, at.Root+at.Rel, func() (o opened, _ error) {
		o.File = &File{ctx: ctx, calls: s.calls, key: at.Root + at.Rel, reading: readingOf(at.Root, at.Rel)}
		if o.location, o.err = s.locate(at, o.reading); o.err != nil {
			return o, nil
		}
		o.location = o.location.spelled()
		o.file, o.info, o.err = o.location.open(want.Size)
		return o, nil
	}, func(o opened) {
		if o.err == nil {
			o.file.Close()
		}
	})
	switch {
	case err != nil:
		return nil, s.calls.whose(err)
	case o.err != nil:
		return nil, o.err
	}
	return o.File, nil
}

// Resolve is part of [site.Source]. It makes no call where the text of the path can be read in one way only.
func (s *Site) Resolve(ctx context.Context, at site.Location) (site.Resolved, error) {
	all := site.Readings(at.Rel, backslashes)
	read, err := all[0], error(nil)
	if len(all) > 1 {
		// All files of a root share the name of this call: many may be resolved one after the other, and of a storage
		// that hangs only the first one is waited for.
		read, err = answer(ctx, s.calls, at.Root, "files below "+at.Root, func() (site.Reading, error) {
			return readingOf(at.Root, at.Rel), nil
		}, nil)
		if err != nil {
			return site.Resolved{}, s.calls.whose(err)
		}
	}
	l, err := s.locate(at, read)
	if err != nil {
		return site.Resolved{}, err
	}
	folder, _ := l.projectFolder()
	return site.Resolved{Path: l.String(), Reading: read, Folder: folder}, nil
}

// locate returns where a file is on this machine, in the document's own spelling.
func (s *Site) locate(at site.Location, r site.Reading) (location, error) {
	rel, err := r(at.Rel)
	return location{at.Root, rel, s.links}, err
}

// CheckReadable is part of [site.Source].
func (s *Site) CheckReadable(ctx context.Context, root string) error {
	return s.calls.mounted(ctx, root)
}

// CheckFolder is part of [site.Source]. The error of a project folder that is a symbolic link to where the settings
// allow none is of scope [site.Settings].
func (s *Site) CheckFolder(ctx context.Context, root, folder string) error {
	rel, err := filepath.Rel(root, folder)
	if err != nil {
		return err
	}
	l := location{root, filepath.ToSlash(rel) + "/.", s.links} // what is in the folder
	return s.calls.does(ctx, root, folder, func() error {
		if err := l.there(folder); err != nil {
			return err
		}
		if _, _, err := l.resolve(); site.ClassOf(err) == site.Unavailable {
			return err
		}
		return nil
	})
}

// location is where a file is on this machine.
type location struct {
	root  string   // folder that it must be in
	rel   string   // path below the root, with slashes
	links []string // folders outside of the root that symbolic links may lead to
}

// String is the path on this machine.
func (l location) String() string { return filepath.Join(l.root, filepath.FromSlash(l.rel)) }

// open opens the file if it is the one that was published: of that size, unless it is negative.
func (l location) open(size int64) (*os.File, os.FileInfo, error) {
	// Stat first: opening a device may do something to it.
	info, err := os.Stat(l.String())
	if err != nil {
		return nil, nil, l.classify(err)
	}
	if err := l.checkRegular(info); err != nil {
		return nil, nil, err
	}
	f, err := openBelow(l.root, filepath.FromSlash(l.rel))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		// A Root takes no absolute symbolic link, not even one that stays inside of it.
		var root, rel string
		if root, rel, err = l.resolve(); err == nil {
			f, err = openBelow(root, rel)
		}
	}
	if err != nil {
		return nil, nil, l.classify(err)
	}
	if info, err = f.Stat(); err != nil {
		err = l.classify(err)
	} else {
		err = l.matches(info, size)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openInRoot opens a file below a root for reading. What is opened stays inside of it, symbolic links included. It does
// not wait: the file may be a FIFO, which may never be written to.
func openInRoot(root, rel string) (*os.File, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.OpenFile(rel, os.O_RDONLY|nonblock, 0)
}

// classify says why the file could not be found, opened or read, and classes that error.
func (l location) classify(err error) error {
	if away := l.away(err); away != nil {
		return away
	}
	switch {
	case site.ClassOf(err) == site.Unavailable: // the settings do not fit
		return err
	case errors.Is(err, os.ErrNotExist):
		return site.Classed(site.NotReady, fmt.Errorf("the source %s is not there", l))
	case leased(err):
		return site.Classed(site.NotReady, fmt.Errorf("the source %s is still locked by the program that wrote it: %w",
			l, err))
	case isStale(err): // the folder works, so it was replaced on the server
		return site.Classed(site.NotReady, fmt.Errorf("the source %s was replaced while it was read: %w", l, err))
	}
	return fmt.Errorf("the source %s: %w", l, err)
}

// checkRegular returns an error if what was found is no file.
func (l location) checkRegular(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the source %s is not a regular file but %s", l, kind(info.Mode()))
	}
	return nil
}

// matches returns an error if what was found is not what was published.
func (l location) matches(info os.FileInfo, size int64) error {
	if err := l.checkRegular(info); err != nil {
		return err
	}
	if size >= 0 && info.Size() != size {
		return site.Classed(site.NotReady, fmt.Errorf("the source %s has %d bytes, %d were published", l, info.Size(),
			size))
	}
	return nil
}

// resolve returns where symbolic links lead to: a folder that they may lead to, which is the root or one of the
// settings, and the path below it. Opening that follows no link out of it any more.
func (l location) resolve() (folder, rel string, err error) {
	target, err := filepath.EvalSymlinks(l.String())
	if err != nil {
		return "", "", err
	}
	for i, folder := range append([]string{l.root}, l.links...) {
		if folder, err = filepath.EvalSymlinks(folder); err != nil {
			if i == 0 {
				return "", "", err
			}
			continue // a folder that is not there is none that the link leads to
		}
		if rel, err := filepath.Rel(folder, target); err == nil && filepath.IsLocal(rel) {
			return folder, rel, nil
		}
	}
	const fix = "add its target, or a folder above that, to local_root_links of config.json"
	if folder, ok := l.projectFolder(); ok {
		if to, err := filepath.EvalSymlinks(folder); err == nil && !within(to, l.root) && within(target, to) {
			return "", "", site.UnavailableIn(site.Settings,
				fmt.Errorf("the folder %s is a symbolic link out of the root, to %s; %s", folder, to, fix))
		}
	}
	return "", "", fmt.Errorf("a symbolic link leads out of the root; %s", fix)
}

// within reports whether a path without symbolic links is in a folder.
func within(target, folder string) bool {
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(folder, target)
	return err == nil && filepath.IsLocal(rel)
}

func exists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}

func kind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&os.ModeNamedPipe != 0:
		return "a FIFO"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
