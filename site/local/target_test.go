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
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/site"
)

// usedRoot is a root with something in it, without which it would be taken for a mount point.
func usedRoot(t testing.TB) string {
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "other"), 0o755))
	return root
}

func newTarget(t testing.TB, o Options) *Site {
	s := New(o)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// incoming is a file whose MD5 its site knows.
func incoming(root, rel, content string) site.Incoming {
	return site.Incoming{Root: root, Path: root + "/" + rel, Content: strings.NewReader(content),
		Size: int64(len(content)), MD5: sumOf(content), ModTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
}

func sumOf(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

// wantOnly checks that there are exactly these files below a folder, by their paths, hidden ones too.
func wantOnly(t testing.TB, root string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var content []byte
			content, err = os.ReadFile(path)
			rel, _ := filepath.Rel(root, path)
			got[filepath.ToSlash(rel)] = string(content)
		}
		return err
	}))
	for path, content := range want {
		if there, ok := got[path]; !ok || there != content {
			t.Errorf("%s has %d bytes, %v: want %d of the right content", path, len(there), ok, len(content))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is left", path)
		}
	}
}

func partialsIn(t testing.TB, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		if partialNames.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// unreadable is content that must not be read.
type unreadable struct{ t *testing.T }

func (u unreadable) ReadAt([]byte, int64) (int, error) {
	u.t.Error("the content was read")
	return 0, errors.New("it must not be read")
}

func TestPutMakesFile(t *testing.T) {
	root := usedRoot(t)
	in := incoming(root, "show/publish/v001/a.exr", "content")
	var created []string
	in.MayCreate = func(folder string) error { created = append(created, folder); return nil }
	obj, err := newTarget(t, Options{}).Put(t.Context(), in)
	if err != nil || obj != (site.Object{ID: "a.exr", MD5: in.MD5}) {
		t.Fatalf("%+v, %v", obj, err)
	}
	wantOnly(t, root, map[string]string{"show/publish/v001/a.exr": "content"})
	info, err := os.Stat(in.Path)
	must(t, err)
	if !info.ModTime().Equal(in.ModTime) {
		t.Errorf("it is of %v", info.ModTime())
	}
	want := []string{root, root + "/show", root + "/show/publish", root + "/show/publish/v001"}
	if !slices.Equal(created, want) {
		t.Errorf("asked for %q, want %q", created, want)
	}
}

// What may not be created in a folder is not.
func TestPutMayNotCreate(t *testing.T) {
	held := site.UnavailableIn(site.Creations, errors.New("held"))
	for _, refused := range []string{"", "/show"} {
		root := usedRoot(t)
		in := incoming(root, "show/a.exr", "content")
		in.MayCreate = func(folder string) error {
			if folder == root+refused {
				return held
			}
			return nil
		}
		if _, err := newTarget(t, Options{}).Put(t.Context(), in); !errors.Is(err, held) {
			t.Errorf("%v", err)
		}
		wantOnly(t, root, nil)
		if refused == "" && exists(filepath.Join(root, "show")) {
			t.Error("the folder was made")
		}
	}
}

func TestPutLeavesSameContent(t *testing.T) {
	root := usedRoot(t)
	writeBelow(t, root, "show/a.exr")
	before, err := os.Stat(filepath.Join(root, "show", "a.exr"))
	must(t, err)
	in := incoming(root, "show/a.exr", "12345")
	in.MD5 = strings.ToUpper(in.MD5)
	in.Content = unreadable{t}
	must(t, os.WriteFile(filepath.Join(root, "show", partialName("a.exr", in)), []byte("1"), 0o600))
	sent := int64(0)
	in.OnProgress = func(n int64) { sent = n }
	obj, err := newTarget(t, Options{}).Put(t.Context(), in)
	if err != nil || obj != (site.Object{ID: "a.exr", MD5: strings.ToLower(in.MD5)}) || sent != 5 {
		t.Errorf("%+v, %v, %d bytes", obj, err, sent)
	}
	after, err := os.Stat(filepath.Join(root, "show", "a.exr"))
	must(t, err)
	if !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Error("it was touched")
	}
	wantOnly(t, root, map[string]string{"show/a.exr": "12345"})
}

// Without an MD5 the contents are compared.
func TestPutWithoutMD5(t *testing.T) {
	root := usedRoot(t)
	s := newTarget(t, Options{})
	for _, step := range []struct {
		content  string
		replaced bool
	}{{"12345", false}, {"12345", false}, {"12346", true}, {"123467", true}, {"", true}, {"", false}} {
		in := incoming(root, "show/a.exr", step.content)
		in.MD5 = ""
		obj, err := s.Put(t.Context(), in)
		if want := (site.Object{ID: "a.exr", MD5: sumOf(step.content), Replaced: step.replaced}); err != nil ||
			obj != want {
			t.Errorf("%q: %+v, %v, want %+v", step.content, obj, err, want)
		}
		wantOnly(t, root, map[string]string{"show/a.exr": step.content})
	}
}

// Other content is replaced at once: whoever has the file open goes on with the old one.
func TestPutReplaces(t *testing.T) {
	root := usedRoot(t)
	writeBelow(t, root, "show/a.exr")
	old, err := os.Open(filepath.Join(root, "show", "a.exr"))
	must(t, err)
	defer old.Close()
	obj, err := newTarget(t, Options{}).Put(t.Context(), incoming(root, "show/a.exr", "other"))
	if err != nil || !obj.Replaced {
		t.Errorf("%+v, %v", obj, err)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": "other"})
	if content, err := io.ReadAll(old); string(content) != "12345" || err != nil {
		t.Errorf("the old file has %q, %v", content, err)
	}
}

// What has arrived is not what was to arrive.
func TestPutOfDamagedContent(t *testing.T) {
	for _, size := range []int{5, 6 << 20} {
		root := usedRoot(t)
		in := incoming(root, "show/a.exr", strings.Repeat("a", size))
		in.Content = strings.NewReader(strings.Repeat("b", size))
		_, err := newTarget(t, Options{}).Put(t.Context(), in)
		if err == nil || site.ClassOf(err) != site.FileError || !errors.Is(err, errDamaged) {
			t.Errorf("%v of class %s", err, site.ClassOf(err))
		}
		wantOnly(t, root, nil)
	}
}

// The path of a file may not leave its root, nor be the root.
func TestPutOutside(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "other"), 0o755))
	for _, path := range []string{root, root + "/", root + "/../a", root + "/other/../../a", dir + "/a", root + "2/a",
		"a", "", root + `\a`, root + "/" + partialName("a", site.Incoming{}), root + "/a\x00b", root + "/\xff"} {
		in := incoming(root, "", "content")
		in.Path = path
		if _, err := newTarget(t, Options{}).Put(t.Context(), in); err == nil || site.ClassOf(err) != site.FileError {
			t.Errorf("%q: %v", path, err)
		}
	}
	wantOnly(t, dir, nil)
}

func TestPutThroughLinks(t *testing.T) {
	dir := t.TempDir()
	root, outside, allowed := filepath.Join(dir, "root"), filepath.Join(dir, "outside"), filepath.Join(dir, "allowed")
	for _, folder := range []string{filepath.Join(root, "folder", "sub"), outside, allowed} {
		must(t, os.MkdirAll(folder, 0o755))
	}
	for link, target := range map[string]string{
		"inside": "folder", "absolute": filepath.Join(root, "folder"), "folder/up": "..", "out": outside,
		"relative": "../outside", "folder/deep": "../../outside", "allowed": allowed, "nowhere": "missing",
		"loop": "loop",
		"gone": filepath.Join(dir, "gone"), "proc": "/proc/self/cwd",
	} {
		must(t, os.Symlink(target, filepath.Join(root, link)))
	}
	must(t, os.Symlink(outside, filepath.Join(allowed, "out")))
	s := newTarget(t, Options{Links: []string{allowed}})
	for rel, where := range map[string]string{
		"inside/a": "root/folder/a", "absolute/b": "root/folder/b", "folder/up/folder/c": "root/folder/c",
		"absolute/new/d": "root/folder/new/d", "allowed/e": "allowed/e", "allowed/new/f": "allowed/new/f",
		"out/g": "", "relative/h": "", "folder/deep/new/i": "", "allowed/out/j": "", "nowhere/k": "", "loop/l": "",
		"gone/m": "", "proc/n": "",
	} {
		_, err := s.Put(t.Context(), incoming(root, rel, rel))
		switch {
		case (err == nil) != (where != ""):
			t.Errorf("%s: %v", rel, err)
		case err == nil:
			if content, err := os.ReadFile(filepath.Join(dir, where)); string(content) != rel || err != nil {
				t.Errorf("%s: %s has %q, %v", rel, where, content, err)
			}
		}
	}
	wantOnly(t, outside, nil)
	if exists(filepath.Join(dir, "gone")) || exists(filepath.Join(root, "missing")) {
		t.Error("a folder was made through a link that leads nowhere")
	}
}

// What is no file is not replaced, and a link is not followed, wherever it leads.
func TestPutWhereSomethingElseIs(t *testing.T) {
	root := usedRoot(t)
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("outside"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "file"), []byte("inside"), 0o600))
	for name, make := range map[string]func(string) error{
		"a folder":   func(at string) error { return os.Mkdir(at, 0o755) },
		"a FIFO":     makeFIFO,
		"to outside": func(at string) error { return os.Symlink(outside, at) },
		"to inside":  func(at string) error { return os.Symlink("file", at) },
		"dangling":   func(at string) error { return os.Symlink("missing", at) },
	} {
		at := filepath.Join(root, name)
		must(t, make(at))
		before, err := os.Lstat(at)
		must(t, err)
		_, err = newTarget(t, Options{}).Put(t.Context(), incoming(root, name, "content"))
		if err == nil || site.ClassOf(err) != site.FileError ||
			!strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
		after, err := os.Lstat(at)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", name, err)
		}
	}
	in := incoming(root, "file/below", "content")
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); err == nil || site.ClassOf(err) != site.FileError ||
		!strings.Contains(err.Error(), "a folder has to be there") {
		t.Errorf("below a file: %v", err)
	}
	wantOnly(t, root, map[string]string{"file": "inside"})
	if content, _ := os.ReadFile(outside); string(content) != "outside" {
		t.Errorf("outside is %q", content)
	}
}

// Nothing is written into what may be a mount point, and both ways out are named.
func TestPutIntoEmptyRoot(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	s := newTarget(t, Options{Roots: []string{empty}})
	for root, text := range map[string]string{empty: "mount it, or, if it is a new storage",
		filepath.Join(empty, "missing"): "not mounted", file: "no folder"} {
		for _, rel := range []string{"a.exr", "show/a.exr"} {
			_, err := s.Put(t.Context(), incoming(root, rel, "content"))
			scope, _ := site.ScopeOf(err)
			if site.ClassOf(err) != site.Unavailable || scope != site.OneRoot || !strings.Contains(err.Error(), text) {
				t.Errorf("%s in %s: %v", rel, root, err)
			}
		}
		if err := s.CheckRoot(t.Context(), root); site.ClassOf(err) != site.Unavailable ||
			!strings.Contains(err.Error(), text) {
			t.Errorf("CheckRoot: %v", err)
		}
	}
	if err := s.Check(t.Context()); site.ClassOf(err) != site.Unavailable {
		t.Errorf("Check: %v", err)
	}
	wantOnly(t, empty, nil)
	must(t, os.Mkdir(filepath.Join(empty, "show"), 0o755))
	must(t, s.Check(t.Context()))
}

// A process that has lost its lease changes nothing that others see.
func TestPutIsFenced(t *testing.T) {
	lost := errors.New("the lease is lost")
	for after := range 4 {
		root := usedRoot(t)
		asked := 0
		s := newTarget(t, Options{Fence: func() error {
			if asked++; asked > after {
				return lost
			}
			return nil
		}})
		_, err := s.Put(t.Context(), incoming(root, "show/sub/a.exr", "content"))
		if !errors.Is(err, lost) || site.ClassOf(err) != site.Transient || !site.IsShared(err) {
			t.Errorf("after %d: %v", after, err)
		}
		wantOnly(t, root, nil)
	}
}

// ranged is content of a network: it is read in ranges, any of which may break.
type ranged struct {
	content string
	onRange func(offset, n int64) error // may be nil
	onRead  func(offset int64) error    // may be nil; called for each part
	read    atomic.Int64                // bytes
}

func (r *ranged) ReadAt([]byte, int64) (int, error) { panic("it is read in ranges") }

func (r *ranged) ReadRange(_ context.Context, offset, n int64) (io.ReadCloser, error) {
	if r.onRange != nil {
		if err := r.onRange(offset, n); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&rangeReader{r, offset, offset + n}), nil
}

type rangeReader struct {
	*ranged
	at, end int64
}

func (r *rangeReader) Read(p []byte) (int, error) {
	if r.at == r.end {
		return 0, io.EOF
	}
	if r.onRead != nil {
		if err := r.onRead(r.at); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.content[r.at:r.end])
	r.at += int64(n)
	r.read.Add(int64(n))
	return n, nil
}

// largeContent is content no two segments of which are the same.
func largeContent(size int) string {
	b := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	for i := 0; i+8 <= size; i += 1 << 16 {
		copy(b[i:], fmt.Sprintf("%08x", i))
	}
	return string(b)
}

func large(root, content string) (site.Incoming, *ranged) {
	in := incoming(root, "show/a.exr", content)
	r := &ranged{content: content}
	in.Content = r
	return in, r
}

func TestPutInSegments(t *testing.T) {
	for _, size := range []int{minSegment + 1, 3 * minSegment, 70<<20 + 12345} {
		root := usedRoot(t)
		in, r := large(root, largeContent(size))
		var sent atomic.Int64
		var reports atomic.Int64
		in.OnProgress = func(n int64) {
			if reports.Add(1) > 1 || n < sent.Load() {
				t.Error("the number does not only increase")
			}
			runtime.Gosched()
			sent.Store(n)
			reports.Add(-1)
		}
		var open, most atomic.Int64
		r.onRange = func(int64, int64) error { most.Store(max(open.Add(1), most.Load())); return nil }
		if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		wantOnly(t, root, map[string]string{"show/a.exr": r.content})
		if r.read.Load() != in.Size || sent.Load() != in.Size {
			t.Errorf("%d bytes were read and %d reported of %d", r.read.Load(), sent.Load(), in.Size)
		}
	}
}

// Where only whole files get through, what is missing is read in one go.
func TestPutWithoutRanges(t *testing.T) {
	for _, first := range []int64{0, 5 * minSegment} {
		root := usedRoot(t)
		in, r := large(root, largeContent(20*minSegment+5))
		r.onRange = func(at, n int64) error {
			if at > first && at+n < in.Size {
				return site.ErrNoRanges
			}
			return nil
		}
		if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		wantOnly(t, root, map[string]string{"show/a.exr": r.content})
	}
}

// A segment begins only while the length of the partial file says what of it is there.
func TestSegmentsAreInAWindow(t *testing.T) {
	const segments = 30
	size := int64(segments * minSegment)
	in, r := large(usedRoot(t), largeContent(int(size)))
	first := make(chan struct{})
	begun := make(chan int64, segments)
	r.onRange = func(at, _ int64) error { begun <- at / minSegment; return nil }
	r.onRead = func(at int64) error {
		if at == 0 {
			<-first
		}
		return nil
	}
	done := make(chan error)
	go func() { _, err := newTarget(t, Options{}).Put(t.Context(), in); done <- err }()
	seen := map[int64]bool{}
	for range segmentsAtOnce {
		seen[<-begun] = true
	}
	for n := range int64(segmentsAtOnce) {
		if !seen[n] {
			t.Errorf("segment %d has not begun", n)
		}
	}
	select {
	case n := <-begun:
		t.Errorf("segment %d has begun before the first is complete", n)
	default:
	}
	close(first)
	must(t, <-done)
}

func TestComplete(t *testing.T) {
	const size = 100*minSegment + 5
	segment := segmentSize(size)
	for length, want := range map[int64]int64{
		0: 0, 1: 0, 8 * segment: 0, 8*segment + 1: segment, 9 * segment: segment, 20*segment - 1: 12 * segment,
		size: (size/segment + 1 - 8) * segment, size + 100*segment: size / segment * segment,
	} {
		if got := complete(size, length); got != want {
			t.Errorf("of a length of %d is complete %d, want %d", length, got, want)
		}
	}
	for n := range size/segment + 1 {
		if got := complete(size, lengthFor(size, n*segment)); got != n*segment {
			t.Errorf("of %d segments are complete %d bytes", n, got)
		}
	}
	for _, size := range []int64{1, minSegment, 1 << 30, 1 << 40} {
		if s := segmentSize(size); s < minSegment || s > maxSegment || s%(1<<20) != 0 {
			t.Errorf("segments of %d have %d bytes", size, s)
		}
	}
}

// breaking is content that can be read up to an offset.
type breaking struct {
	*strings.Reader
	end, begin int64 // where reading fails, and where it has begun
}

var errBroken = errors.New("it broke")

func (b *breaking) ReadAt(p []byte, at int64) (int, error) {
	b.begin = min(b.begin, at)
	if at+int64(len(p)) > b.end {
		return 0, errBroken
	}
	return b.Reader.ReadAt(p, at)
}

// After a break that is no crash, all complete segments are continued, as often as it breaks.
func TestPutContinuesAtTheBreak(t *testing.T) {
	root := usedRoot(t)
	text := largeContent(5*minSegment + 5)
	content := &breaking{Reader: strings.NewReader(text)}
	in := incoming(root, "show/a.exr", text)
	in.Content = content
	s := newTarget(t, Options{})
	for _, test := range []struct{ end, begin int64 }{{minSegment - 1, 0}, {2*minSegment + 1, 0},
		{2*minSegment + 1, 2 * minSegment}, {4*minSegment + 2<<20, 2 * minSegment},
		{5*minSegment + 1, 4 * minSegment}} {
		content.end, content.begin = test.end, in.Size
		if _, err := s.Put(t.Context(), in); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		if content.begin != test.begin {
			t.Errorf("until %d: it was read from %d on, want %d", test.end, content.begin, test.begin)
		}
		if n, want := len(partialsIn(t, root+"/show")), int(min(test.end/minSegment, 1)); n != want {
			t.Errorf("until %d: %d partial files are left", test.end, n)
		}
	}
	content.end, content.begin = in.Size, in.Size
	_, err := s.Put(t.Context(), in)
	must(t, err)
	if content.begin != 5*minSegment {
		t.Errorf("at the end it was read from %d on", content.begin)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": text})
}

// After a break in the middle, a file is continued, by another process too.
func TestPutContinues(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(80 << 20)
	broken := site.Classed(site.Transient, errors.New("the line broke"))
	in, r := large(root, content)
	r.onRead = func(at int64) error {
		if at >= 60<<20 {
			return broken
		}
		return nil
	}
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if names := partialsIn(t, root+"/show"); len(names) != 1 {
		t.Fatalf("%q are left", names)
	}
	in, r = large(root, content)
	var first int64 = -1
	in.OnProgress = func(n int64) {
		if first < 0 {
			first = n
		}
	}
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if read := r.read.Load(); read > 60<<20 || first != in.Size-read {
		t.Errorf("%d MiB were read again, progress began at %d MiB", read>>20, first>>20)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": content})
}

// What is not whole any more, such as after a loss of power, is begun anew.
func TestPutContinuesWhatIsDamaged(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(80 << 20)
	in, r := large(root, content)
	must(t, os.Mkdir(filepath.Join(root, "show"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "show", partialName("a.exr", in)), make([]byte, 90<<20), 0o600))
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if r.read.Load() <= in.Size {
		t.Errorf("%d bytes were read", r.read.Load())
	}
	wantOnly(t, root, map[string]string{"show/a.exr": content})
}

// A partial file of other content is no beginning of this one.
func TestPutAfterTheSourceChanged(t *testing.T) {
	root := usedRoot(t)
	old, _ := large(root, largeContent(80<<20))
	must(t, os.Mkdir(filepath.Join(root, "show"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "show", partialName("a.exr", old)), make([]byte, 70<<20), 0o600))
	content := largeContent(80<<20 + 1)
	in, r := large(root, content)
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if r.read.Load() != in.Size {
		t.Errorf("%d bytes were read", r.read.Load())
	}
	wantOnly(t, root, map[string]string{"show/a.exr": content})
}

// Of two representations that share a file, the second finds it there.
func TestPutOfSharedFile(t *testing.T) {
	root := usedRoot(t)
	synctest.Test(t, func(t *testing.T) {
		s := newTarget(t, Options{})
		content := &gated{Reader: strings.NewReader("content"), gate: make(chan bool)}
		var puts sync.WaitGroup
		for range 2 {
			puts.Go(func() {
				in := incoming(root, "a.tif", "content")
				in.Content = content
				if obj, err := s.Put(t.Context(), in); err != nil || obj.Replaced {
					t.Errorf("replaced %t, %v", obj.Replaced, err)
				}
			})
		}
		synctest.Wait()
		close(content.gate)
		puts.Wait()
		if n := content.reads.Load(); n != 1 {
			t.Errorf("it was read %d times", n)
		}
	})
	wantOnly(t, root, map[string]string{"a.tif": "content"})
}

// gated is a content that is read when its gate opens.
type gated struct {
	*strings.Reader
	gate  chan bool
	reads atomic.Int64 // from the start
}

func (g *gated) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		g.reads.Add(1)
	}
	<-g.gate
	return g.Reader.ReadAt(p, off)
}

// Two processes write one file: neither sees anything of the other's, and one content stands in the end.
func TestTwoWriters(t *testing.T) {
	for name, contents := range map[string][2]string{
		"the same":  {largeContent(20 << 20), largeContent(20 << 20)},
		"different": {largeContent(20 << 20), largeContent(20<<20 - 1)},
		"small":     {"first", "second"},
	} {
		t.Run(name, func(t *testing.T) {
			root := usedRoot(t)
			var both, wrote sync.WaitGroup
			both.Add(2)
			for _, content := range contents {
				in, r := large(root, content)
				r.onRange = func(at, _ int64) error {
					if at == 0 {
						both.Done()
						both.Wait() // each has a partial file
					}
					return nil
				}
				wrote.Go(func() {
					if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
						t.Error(err)
					}
				})
			}
			wrote.Wait()
			got, err := os.ReadFile(filepath.Join(root, "show", "a.exr"))
			must(t, err)
			if !slices.Contains(contents[:], string(got)) {
				t.Error("it is neither of the two contents")
			}
			wantOnly(t, root, map[string]string{"show/a.exr": string(got)})
		})
	}
}

// stepsOfPut counts the calls of the file system that a Put makes.
func stepsOfPut(t *testing.T) int {
	root := usedRoot(t)
	in := incoming(root, "show/a.exr", "content")
	var steps atomic.Int64
	_, err := newTarget(t, Options{Before: func(_, path string) {
		if path == in.Path {
			steps.Add(1)
		}
	}}).Put(t.Context(), in)
	must(t, err)
	return int(steps.Load())
}

// A call that was given up, whichever it is, and returns late, spoils nothing that another process writes.
func TestPutOnAStorageThatHangs(t *testing.T) {
	steps := stepsOfPut(t)
	for step := 1; step <= steps; step++ {
		root := usedRoot(t)
		synctest.Test(t, func(t *testing.T) {
			in := incoming(root, "show/a.exr", "content")
			gate := make(chan struct{})
			var n atomic.Int64
			s := New(Options{Before: func(_, path string) {
				if path == in.Path && n.Add(1) == int64(step) {
					<-gate
				}
			}})
			_, err := s.Put(t.Context(), in)
			scope, _ := site.ScopeOf(err)
			if step == steps { // it closes the file, which is of no more use
				must(t, err)
			} else if site.ClassOf(err) != site.Unavailable || scope != site.OneRoot || !site.IsStall(err) {
				t.Errorf("step %d: %v", step, err)
			}
			other := newTarget(t, Options{})
			if _, err := other.Put(t.Context(), incoming(root, "show/a.exr", "newer content")); err != nil {
				t.Errorf("step %d, another process: %v", step, err)
			}
			close(gate)
			synctest.Wait()
			if got, err := os.ReadFile(in.Path); err != nil || string(got) != "newer content" {
				t.Errorf("step %d: %q, %v", step, got, err)
			}
			must(t, s.Close())
		})
	}
}

func TestRefusedByWindows(t *testing.T) {
	for _, name := range []string{"con", "CON.exr", "nul", "aux .txt", "Com1", "LPT9.a.b", "com¹", "a:b", "a?", "a*",
		`a"b`, "a<b", "a>b", "a|b", "trailing.", "trailing ", "a\tb", `a\b`} {
		if refusedByWindows(name) == "" {
			t.Errorf("%q is allowed", name)
		}
	}
	for _, name := range []string{"a.exr", ".hidden", "console", "com", "com10", "lpt0", "a b", "Žluťoučký", "nul_a"} {
		if why := refusedByWindows(name); why != "" {
			t.Errorf("%q %s", name, why)
		}
	}
	if err := checkWindowsNames("show/aux/a.exr"); err == nil || !strings.Contains(err.Error(), `"aux"`) {
		t.Error(err)
	}
}

// On file systems that do not distinguish case, a name may stand for another one.
func TestInCase(t *testing.T) {
	for _, test := range []struct {
		names      []string
		asked, got string
	}{
		{[]string{"b", "A.exr"}, "a.exr", "A.exr"},
		{[]string{"A.exr", "a.exr"}, "a.exr", "a.exr"},
		{[]string{"Á.exr"}, "á.exr", "Á.exr"},
		{nil, "a.exr", "a.exr"},
	} {
		if got := inCase(test.names, test.asked); got != test.got {
			t.Errorf("%s among %q is %s, want %s", test.asked, test.names, got, test.got)
		}
	}
	root := t.TempDir()
	writeBelow(t, root, "Show/a.exr")
	must(t, os.Link(filepath.Join(root, "Show", "a.exr"), filepath.Join(root, "Show", "A.EXR")))
	if there, differs := (location{root: root, rel: "Show/a.exr"}).otherCase(); differs {
		t.Errorf("it stands for %s", there)
	}
}

// Names of partial files fit everywhere and are taken for nothing else.
func TestPartialNames(t *testing.T) {
	long := strings.Repeat("x", 255)
	seen := map[string]bool{}
	for _, in := range []site.Incoming{{Size: 5, MD5: sumOf("a")}, {Size: 1 << 30, MD5: sumOf("a")},
		{Size: 1<<30 + 1, MD5: sumOf("a")}, {Size: 1 << 30, MD5: sumOf("b")}} {
		for _, base := range []string{"a.exr", long} {
			name := partialName(base, in)
			if len(name) > 100 || !partialNames.MatchString(name) || !partialNames.MatchString(randomName(name)) ||
				seen[name] {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	}
	for _, name := range []string{".sitesync-0.part", "a.part", ".sitesync-0123456789abcdef-00000000.part.exr",
		"x.sitesync-0123456789abcdef-00000000.part"} {
		if partialNames.MatchString(name) {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

// Partial files that nobody continues are removed after a day, and nothing else is.
func TestAbandonedPartialFiles(t *testing.T) {
	root := usedRoot(t)
	must(t, os.Mkdir(filepath.Join(root, "show"), 0o755))
	in, _ := large(root, largeContent(20<<20))
	old, young := partialName("b.exr", in), partialName("c.exr", in)
	kept := map[string]string{young: "young", ".hidden.part": "hidden", "." + old: "other"}
	locked := partialName("d.exr", in)
	kept[locked] = "locked"
	for name, content := range map[string]string{old: "old", randomName(old): "random", young: "young",
		".hidden.part": "hidden", "." + old: "other", locked: "locked"} {
		at := filepath.Join(root, "show", name)
		must(t, os.WriteFile(at, []byte(content), 0o600))
		if name != young {
			past := time.Now().Add(-abandonedAfter - time.Minute)
			must(t, os.Chtimes(at, past, past))
		}
	}
	writer, err := os.OpenFile(filepath.Join(root, "show", locked), os.O_RDWR, 0)
	must(t, err)
	defer writer.Close()
	if _, err := lock(writer); err != nil {
		t.Fatal(err)
	}
	s := New(Options{})
	swept := make(chan struct{})
	s.sweeper.sweep = func(ctx context.Context, at folderKey) {
		s.sweep(ctx, at)
		close(swept)
	}
	_, err = s.Put(t.Context(), incoming(root, "show/a.exr", "content"))
	must(t, err)
	<-swept
	must(t, s.Close())
	want := map[string]string{"show/a.exr": "content"}
	for name, content := range kept {
		want["show/"+name] = content
	}
	wantOnly(t, root, want)
}
