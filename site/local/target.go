package local

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/site"
)

const (
	// largeFile is from which size on room is asked for before a file is written, bytes.
	largeFile = 64 << 20

	// roomMargin is how much must be left then, bytes: others write too.
	roomMargin = 16 << 20

	// syncPatience is how many times as long as other calls one may take that waits for the disk: much that others have
	// written may be before it.
	syncPatience = 4
)

// Put is part of [site.Backend]. Everything that is changed is below the root, or a folder that symbolic links may lead
// to. A symbolic link at the destination itself is neither followed nor replaced.
func (s *Site) Put(ctx context.Context, in site.Incoming) (site.Object, error) {
	w := &writing{Site: s, Incoming: in}
	var end context.CancelFunc
	w.ending, end = context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(slowCall, end) })()
	obj, err := w.put(ctx)
	return obj, s.calls.whose(err)
}

// Check is part of [site.Backend].
func (s *Site) Check(ctx context.Context) error {
	for _, root := range s.roots {
		if err := s.CheckRoot(ctx, root); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// CheckRoot is part of [site.Backend].
func (s *Site) CheckRoot(ctx context.Context, root string) error {
	err := s.calls.does(ctx, root, root, func() error {
		if err := mountedForWriting(root); err != nil {
			return site.UnavailableIn(site.OneRoot, err)
		}
		if err := writable(root); err != nil {
			return site.UnavailableIn(site.OneRoot, cannotWrite(root, err))
		}
		if left, err := spaceIn(root); err != nil || left <= 0 {
			return site.UnavailableIn(site.OneRoot, noSpace(root, err))
		}
		return nil
	})
	return s.calls.whose(err)
}

// Left is part of [site.Backend].
func (s *Site) Left(ctx context.Context, root string) (bytes int64, known bool, err error) {
	bytes, err = answer(ctx, s.calls, root, root, func() (int64, error) { return spaceIn(root) }, nil)
	return bytes, err == nil, s.calls.whose(err)
}

// Close is part of [site.Backend].
func (s *Site) Close() error {
	s.sweeper.stop()
	return nil
}

// writing is a file that is written.
type writing struct {
	*Site
	site.Incoming
	location // of the destination

	// ending ends some time after the context of Put: a call of the file system that is under way then is mostly done
	// in no time, and what is left can be removed.
	ending context.Context

	slow atomic.Int64 // calls that take long

	dir     *os.Root    // folder of it
	dirPath string      // for people, and as breakers are named
	there   os.FileInfo // what is at the destination, nil if nothing is
}

func (w *writing) put(ctx context.Context) (obj site.Object, err error) {
	if err := w.locate(); err != nil {
		return obj, err
	}
	obj.ID = w.base() // as it was published, in whatever form the storage has it
	// Representations share files: who comes second finds the content there.
	unlock, err := w.putting.Lock(ctx, w.location.String())
	if err != nil {
		return obj, err
	}
	defer unlock()
	if err := w.fence(); err != nil {
		return obj, err
	}
	if err := w.openFolder(ctx); err != nil {
		return obj, err
	}
	defer w.dir.Close()
	if err := w.look(ctx); err != nil {
		return obj, err
	}
	if obj.MD5, err = w.same(ctx); obj.MD5 != "" || err != nil {
		if err == nil && w.OnProgress != nil {
			w.OnProgress(w.Size)
		}
		return obj, err
	}
	if w.MayCreate != nil {
		if err := w.MayCreate(w.dirPath); err != nil {
			return obj, err
		}
	}
	obj.MD5, err = w.write(ctx)
	obj.Replaced = err == nil && w.there != nil
	if err == nil {
		w.sweeper.visited(folderKey{w.root, w.folder().rel})
	}
	return obj, err
}

// locate finds out where the file goes, by the text of its path.
func (w *writing) locate() error {
	rel, ok := strings.CutPrefix(w.Path, w.Root)
	if !ok || !strings.HasPrefix(rel, "/") && !strings.HasSuffix(w.Root, "/") {
		return fmt.Errorf("path %q is not below its root %q", w.Path, w.Root)
	}
	rel, err := site.Readings(rel, true)[0](rel) // the literal one: the path was read already
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		if err := checkWindowsNames(rel); err != nil {
			return err
		}
	}
	w.location = location{w.Root, rel, w.Site.links}
	if partialNames.MatchString(w.base()) {
		return w.failed("that is the name of a partial file of sitesync, which would be removed after a day; rename " +
			"it where it was published")
	}
	return nil
}

// openFolder opens the folder of the file, and makes what is missing of it.
func (w *writing) openFolder(ctx context.Context) error {
	type opened struct {
		location          // of the file
		at       location // of the deepest folder that is there
		folder   *os.Root
		missing  []string
	}
	o, err := ask(ctx, w, func() (o opened, err error) {
		o.location = w.forWriting()
		o.at, o.folder, o.missing, err = o.openDeepest()
		return o, err
	}, func(o opened) { o.folder.Close() })
	if err != nil {
		return err
	}
	w.location = o.location
	w.dir, w.dirPath = o.folder, o.at.String()
	for _, name := range o.missing {
		next, err := w.make(ctx, name)
		w.dir.Close()
		if err != nil {
			return err
		}
		w.dir, w.dirPath = next, filepath.Join(w.dirPath, name)
	}
	return nil
}

// make makes a folder in the one that is open.
func (w *writing) make(ctx context.Context, name string) (*os.Root, error) {
	if w.MayCreate != nil {
		if err := w.MayCreate(w.dirPath); err != nil {
			return nil, err
		}
	}
	if err := w.fence(); err != nil {
		return nil, err
	}
	in := w.dir
	return ask(ctx, w, func() (*os.Root, error) { return w.makeFolder(in, name) }, func(r *os.Root) { r.Close() })
}

// look finds out what is at the destination.
func (w *writing) look(ctx context.Context) error {
	dir, base := w.dir, w.base()
	there, err := ask(ctx, w, func() (os.FileInfo, error) { return lstat(dir, base) }, nil)
	if err == nil {
		err = w.mayReplace(there)
	}
	w.there = there
	return err
}

// lstat returns nothing for what is not there.
func lstat(dir *os.Root, name string) (os.FileInfo, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// mayReplace returns an error if what is at the destination is no file.
func (w *writing) mayReplace(there os.FileInfo) error {
	switch {
	case there == nil || there.Mode().IsRegular():
		return nil
	case there.Mode()&os.ModeSymlink != 0:
		return w.failed("a symbolic link is there, which is neither followed nor replaced; move it away")
	}
	return w.failed("%s is there, which is not replaced by a file; move it away", kind(there.Mode()))
}

// same returns the MD5 of what is at the destination if that is the content already, and else "".
func (w *writing) same(ctx context.Context) (sum string, err error) {
	if w.there == nil || w.there.Size() != w.Size {
		return "", nil
	}
	dir, base := w.dir, w.base()
	f, err := ask(ctx, w, func() (*os.File, error) {
		f, err := dir.OpenFile(base, os.O_RDONLY|nonblock, 0)
		if err != nil {
			return nil, nil // it can't be read, so it is replaced
		}
		return f, nil
	}, func(f *os.File) { f.Close() })
	if f == nil || err != nil {
		return "", err
	}
	defer w.close(f)
	h := md5.New()
	var into io.Writer = h
	if w.MD5 == "" {
		into = io.MultiWriter(h, &comparison{with: w.Content})
	}
	err = w.readInto(ctx, f, 0, w.Size, into, make([]byte, min(w.Size, readSize)))
	sum = hex.EncodeToString(h.Sum(nil))
	switch {
	case errors.Is(err, errDiffers), errors.Is(err, io.EOF): // it is being changed
		return "", nil
	case err != nil:
		return "", err
	case w.MD5 != "" && !strings.EqualFold(sum, w.MD5):
		return "", nil
	}
	// Whoever was interrupted before may have left a partial file that nobody will continue.
	name := partialName(base, w.Incoming)
	_ = w.does(ctx, func() error { w.removeAbandoned(dir, name); return nil })
	return sum, nil
}

var errDiffers = errors.New("the content differs")

// comparison is written to with what another content may be.
type comparison struct {
	with io.ReaderAt
	at   int64
	buf  []byte
}

func (c *comparison) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := c.with.ReadAt(c.buf[:len(p)], c.at)
	switch {
	case n < len(p) && err != io.EOF:
		return 0, err
	case !bytes.Equal(p, c.buf[:n]):
		return 0, errDiffers
	}
	c.at += int64(n)
	return n, nil
}

// write writes the content to a partial file and renames that.
func (w *writing) write(ctx context.Context) (sum string, err error) {
	dir, name := w.dir, partialName(w.base(), w.Incoming)
	if resumable(w.Incoming) {
		if err := w.removeOthers(ctx, name); err != nil {
			return "", err
		}
	}
	p, err := ask(ctx, w, func() (*partial, error) { return w.openPartial(dir, name) },
		func(p *partial) { p.Close() })
	if err != nil {
		return "", err
	}
	defer w.close(p.File)
	from := int64(0)
	if name == p.name && resumable(w.Incoming) {
		from = complete(w.Size, p.size)
	}
	t := &transfer{writing: w, to: p, hash: md5.New(), whole: from}
	if sum, err = t.write(ctx, from); err == nil {
		return sum, nil
	}
	segment := segmentSize(w.Size)
	whole := t.whole / segment * segment
	switch {
	case p.renamed.Load(): // it is the file itself
	case whole == 0, isFullDisk(err), errors.Is(err, errDamaged), p.unsynced.Load(), name != p.name,
		!resumable(w.Incoming):
		// What is left of a large file would keep a full disk full, on which others work too.
		_ = w.calls.does(w.ending, w.root, w.Path, func() error { return dir.Remove(p.name) })
	default:
		w.sweeper.left(folderKey{w.root, w.folder().rel})
		_ = w.calls.does(w.ending, w.root, w.Path, func() error { return p.Truncate(lengthFor(w.Size, whole)) })
	}
	return "", err
}

// write fills the partial file, which is complete up to an offset, and publishes it.
func (t *transfer) write(ctx context.Context, from int64) (sum string, err error) {
	w, p := t.writing, t.to
	if err := w.checkRoom(ctx, from); err != nil {
		return "", err
	}
	for ; ; from = 0 {
		if from == 0 && p.size > 0 {
			if err := w.does(ctx, func() error { return p.Truncate(0) }); err != nil {
				return "", err
			}
		}
		if err := t.fill(ctx, from); err != nil {
			return "", err
		}
		sum = hex.EncodeToString(t.hash.Sum(nil))
		if w.MD5 == "" || strings.EqualFold(sum, w.MD5) {
			break
		}
		if from == 0 {
			return "",
				w.failed("%w: the MD5 of what has arrived is %s, that of the source is %s", errDamaged, sum, w.MD5)
		}
		p.size = from // what was there was damaged, such as by a loss of power
	}
	return sum, w.publish(ctx, t)
}

var errDamaged = errors.New("the content has changed on the way")

// publish renames a complete partial file.
func (w *writing) publish(ctx context.Context, t *transfer) error {
	if err := w.patiently(ctx, func() error {
		if err := t.to.Truncate(w.Size); err != nil { // an earlier one may have been longer
			return err
		}
		return w.sync(t.to)
	}); err != nil {
		return err
	}
	if err := w.checkCase(ctx); err != nil {
		return err
	}
	if err := w.fence(); err != nil {
		return err
	}
	var there os.FileInfo
	dir, base, to, modTime := w.dir, w.base(), t.to, w.ModTime
	err := w.patiently(ctx, func() (err error) {
		if !modTime.IsZero() {
			if err := dir.Chtimes(to.name, modTime, modTime); err != nil && !keepsNoTimes(err) {
				return err
			}
		}
		if there, err = lstat(dir, base); err != nil {
			return err
		}
		if err := w.mayReplace(there); err != nil {
			return err
		}
		to.renamed.Store(true) // before it is, as this call may be given up meanwhile
		if err := dir.Rename(to.name, base); err != nil {
			to.renamed.Store(false)
			return w.cannotRename(err)
		}
		return w.syncFolder(dir)
	})
	if err == nil {
		w.there = there // else the call may still be running
	}
	return err
}

// cannotRename is why a complete file could not take its place, though files can be written to the folder.
func (w *writing) cannotRename(err error) error {
	if errors.Is(err, os.ErrPermission) && w.there != nil {
		return w.failed("the file that is there cannot be replaced: it is open in another program, or only its owner "+
			"may do that (%w)", err)
	}
	return err
}

// base is the name of the file.
func (w *writing) base() string { return path.Base(w.rel) }

// checkCase returns an error if what would be replaced has another name: on a file system that does not distinguish
// the case of letters.
func (w *writing) checkCase(ctx context.Context) error {
	if w.there == nil {
		return nil
	}
	return w.does(ctx, func() error {
		if there, differs := w.otherCase(); differs {
			return w.failed("%s is there, which is the same name on this file system; rename one of them where it was "+
				"published", there)
		}
		return nil
	})
}

// checkRoom returns an error if a large file does not fit.
func (w *writing) checkRoom(ctx context.Context, have int64) error {
	if w.Size < largeFile {
		return nil
	}
	left, err := ask(ctx, w, func() (int64, error) { return spaceIn(w.dirPath) }, nil)
	if err != nil {
		return err
	}
	if need := w.Size - have + roomMargin; left < need {
		return site.UnavailableIn(site.LargeOnes, fmt.Errorf("%w: %s more is needed for %s, and there is room for %s "+
			"only; free some space",
			errNoRoom, humanize.IBytes(uint64(need)), w, humanize.IBytes(uint64(max(left, 0)))))
	}
	return nil
}

// readInto reads a part of a file of the storage and writes it to something in memory. Nothing else may use buf then,
// as after an error a call may still write to it.
func (w *writing) readInto(ctx context.Context, f *os.File, at, n int64, into io.Writer, buf []byte) error {
	for end := at + n; at < end; {
		part := buf[:min(end-at, int64(len(buf)))]
		err := w.does(ctx, func() error {
			_, err := f.ReadAt(part, at)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := into.Write(part); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

// close closes a file, without waiting for a storage that hangs.
func (w *writing) close(f *os.File) {
	if _, stalls := w.calls.stalls(w.root, w.Path); stalls || w.ending.Err() != nil {
		go f.Close() //nolint:errcheck // what was written was synced, or is dropped
		return
	}
	_ = w.calls.does(w.ending, w.root, w.Path, f.Close)
}

// fence returns an error if another process may be at work.
func (w *writing) fence() error {
	if w.Site.fence == nil {
		return nil
	}
	if err := w.Site.fence(); err != nil {
		return &site.Error{Class: site.Transient, Shared: true, Err: err}
	}
	return nil
}

// ask makes a call of the file system for a file, unless ctx has ended. Its errors are classed.
func ask[T any](ctx context.Context, w *writing, call func() (T, error), drop func(T)) (T, error) {
	return askWithin(ctx, w, 1, call, drop)
}

// askWithin is ask for a call that may take several times as long as others.
func askWithin[T any](ctx context.Context, w *writing, times time.Duration, call func() (T, error),
	drop func(T)) (value T, err error) {
	if err := ctx.Err(); err != nil {
		return value, err
	}
	p := patience{times * w.calls.timeout, times * slowCall, w.isSlow}
	value, err = answerPatiently(w.ending, w.calls, p, w.root, w.Path, call, drop)
	return value, w.classify(err)
}

// isSlow counts the calls that take long. It is one transfer, however many they are.
func (w *writing) isSlow(root string, n int) {
	if sum := w.slow.Add(int64(n)); sum == int64(max(n, 0)) {
		w.calls.slow(root, n)
	}
}

// does is ask for a call without a value.
func (w *writing) does(ctx context.Context, call func() error) error {
	_, err := ask(ctx, w, func() (struct{}, error) { return struct{}{}, call() }, nil)
	return err
}

// patiently is does for a call that waits for the disk. Only such a one shows that the storage works: what is written
// may stay in the memory of this machine.
func (w *writing) patiently(ctx context.Context, call func() error) error {
	began := time.Now()
	_, err := askWithin(ctx, w, syncPatience, func() (struct{}, error) { return struct{}{}, call() }, nil)
	if err == nil {
		w.calls.worked(w.root, began)
	}
	return err
}
