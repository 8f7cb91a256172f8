package local

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sitesync/site"
)

// Content is written to a partial file beside its destination, which is renamed when it is complete. Its name is short
// enough for every file system, hidden where a dot hides names, and has no extension that a publisher collects:
//
//	.sitesync-DESTINATION-CONTENT.part
//
// both hashed. Whoever writes it has it locked: it is continued, replaced and removed only by who has the lock, which
// ends with the process. If another one has it, or the storage knows no locks, a partial file with a random number in
// its name is written instead, which nobody continues.
var partialNames = regexp.MustCompile(`^\.sitesync-([0-9a-f]{16})-[0-9a-f]{8}(-[0-9a-f]{8})?\.part$`)

// anyContent stands in the name of a partial file that can't be continued.
const anyContent = "00000000"

// destinationKey is a destination in the names of its partial files.
func destinationKey(base string) string {
	sum := sha256.Sum256([]byte(base))
	return hex.EncodeToString(sum[:8])
}

// partialName is the name of the partial file of a file with the base name.
func partialName(base string, in site.Incoming) string {
	content := anyContent
	if resumable(in) {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", strings.ToLower(in.MD5), in.Size))
		content = hex.EncodeToString(sum[:4])
	}
	return fmt.Sprintf(".sitesync-%s-%s.part", destinationKey(base), content)
}

// randomName is a name of a partial file that no other has.
func randomName(name string) string {
	var number [4]byte
	_, _ = rand.Read(number[:]) // it never fails
	return strings.TrimSuffix(name, ".part") + "-" + hex.EncodeToString(number[:]) + ".part"
}

// resumable reports whether what was written of a file is worth to be continued, and can be: the MD5 shows whether it
// still fits.
func resumable(in site.Incoming) bool { return in.MD5 != "" && in.Size > minSegment }

// partial is a partial file that is locked, or that nobody else knows.
type partial struct {
	*os.File
	name string
	size int64 // that it had

	renamed  atomic.Bool // it is the file now, or is about to be
	unsynced atomic.Bool // the disk has refused some of it, though it may look whole until that is read from there
}

// sync waits until what was written to a partial file is on the disk.
func (s *Site) sync(p *partial) error {
	err := s.syncFile(p.File)
	if err != nil {
		p.unsynced.Store(true)
	}
	return err
}

// removeOthers removes the partial files of the destination's other contents, when a large one begins: nobody will
// continue them.
func (w *writing) removeOthers(ctx context.Context, name string) error {
	dir := w.dir
	begun, err := ask(ctx, w, func() (bool, error) { return isThere(dir, name), nil }, nil)
	if begun || err != nil {
		return err
	}
	err = w.eachPartial(w.ending, w.root, w.Path, dir, func(other string) {
		if ctx.Err() == nil && partialNames.FindStringSubmatch(name)[1] == partialNames.FindStringSubmatch(other)[1] {
			w.removeAbandoned(dir, other)
		}
	})
	if site.IsStall(err) {
		return err
	}
	return ctx.Err() // a folder may be closed to those who list it
}

// openPartial opens a partial file in a folder for writing.
func (s *Site) openPartial(folder *os.Root, name string) (*partial, error) {
	for range 3 {
		p, again, err := s.openLocked(folder, name)
		if p != nil || err != nil {
			return p, err
		}
		if !again {
			break
		}
	}
	random := randomName(name)
	f, err := folder.OpenFile(random, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	_, _ = s.lock(f) // for those who look for abandoned ones
	return &partial{File: f, name: random}, nil
}

// openLocked opens a partial file and locks it. It returns none if that can't be; again says whether the reason is that
// it was just replaced.
func (s *Site) openLocked(folder *os.Root, name string) (p *partial, again bool, err error) {
	if info, err := folder.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := folder.Remove(name); err != nil { // not ours; nothing is written through a link
			return nil, false, err
		}
	}
	f, err := folder.OpenFile(name, os.O_RDWR|os.O_CREATE|nonblock, 0o666)
	if errors.Is(err, os.ErrPermission) && isThere(folder, name) {
		return nil, false, nil // another user has written it
	}
	if err != nil {
		return nil, false, err
	}
	held, err := s.lock(f)
	if err == nil {
		var opened, named os.FileInfo
		if opened, err = f.Stat(); err == nil {
			named, err = folder.Lstat(name)
			switch {
			case err != nil || !os.SameFile(opened, named) || !opened.Mode().IsRegular():
			case hasOtherNames(f): // such as in a backup, or what somebody wants overwritten
				_ = folder.Remove(name)
			default:
				return &partial{File: f, name: name, size: opened.Size()}, false, nil
			}
		}
		return nil, true, f.Close()
	}
	if !held { // the storage has no locks, so nobody writes to a file of this name
		err = folder.Remove(name)
	} else {
		err = nil
	}
	return nil, false, errors.Join(err, f.Close())
}

// isThere reports whether something of a name is in a folder.
func isThere(folder *os.Root, name string) bool {
	_, err := folder.Lstat(name)
	return err == nil
}

// namesAtOnce is how many names of a folder are read by one call of the file system: a folder may have so many that
// reading all of them takes longer than a call may.
const namesAtOnce = 1000

// eachPartial calls a function with the names of the partial files in a folder, as a call for a path of a root.
func (s *Site) eachPartial(ctx context.Context, root, path string, folder *os.Root, each func(name string)) error {
	list, err := answer(ctx, s.calls, root, path, func() (*os.File, error) { return folder.Open(".") },
		func(f *os.File) { f.Close() })
	if err != nil {
		return err
	}
	var reading sync.Mutex // by a call that was given up perhaps: a folder must not be closed meanwhile
	defer func() {
		if !reading.TryLock() {
			go func() { reading.Lock(); list.Close() }()
			return
		}
		list.Close()
	}()
	for {
		names, err := answer(ctx, s.calls, root, path, func() ([]string, error) {
			reading.Lock()
			defer reading.Unlock()
			return list.Readdirnames(namesAtOnce)
		}, nil)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !partialNames.MatchString(name) })
		if len(names) == 0 {
			continue
		}
		if err := s.calls.does(ctx, root, path, func() error {
			for _, name := range names {
				each(name)
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// removeAbandoned removes a partial file if nobody writes it, and reports whether it has.
func (s *Site) removeAbandoned(folder *os.Root, name string) bool {
	info, err := folder.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := folder.OpenFile(name, os.O_RDWR|nonblock, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if held, err := s.lock(f); held || err != nil && time.Since(info.ModTime()) <= abandonedAfter {
		return false // without locks, a process that writes it shows by its time only
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return false
	}
	return folder.Remove(name) == nil
}
