// Package sitetest is the conformance suite of sites: whatever implements [site.Backend] and [site.Source] as their
// comments promise passes it. What belongs here is what every site promises; what one site does beyond is tested beside
// it.
package sitetest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/site"
)

// Backend is a site to be tested and what the suite must be able to see of it.
type Backend struct {
	Site site.Backend
	Root string // of the site, that is there and can be written to; nothing that the tests use is in it

	// Read lists the contents of all files at a path, with the site's root: none if there is no such file.
	Read func(t *testing.T, path string) []string

	// Forbid takes the right to write to Root away from the site, and Allow gives it back.
	Forbid, Allow func(t *testing.T)
}

// Run tests a site. open is called for each test and opens one with nothing in it.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Backend)
	}{
		{"Put makes the file", testPut},
		{"Put makes the folders", testFolders},
		{"Put takes every name", testNames},
		{"Put updates in place", testOverwrite},
		{"Put is idempotent", testIdempotent},
		{"Put honours its context", testContext},
		{"Put of a bad source is a file error", testBadSource},
		{"Put without rights makes the site unavailable", testForbidden},
		{"Puts of many files at once", testConcurrent},
		{"Puts of one file at once", testSameFile},
		{"Put reports progress", testProgress},
		{"Check changes nothing", testCheck},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// sizes are of contents that a site may treat differently, in bytes.
var sizes = []int{0, 1, 1 << 10, 6 << 20}

func content(size int, seed byte) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i^i>>8^i>>16) + seed
	}
	return string(b)
}

func sumOf(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

func (b Backend) incoming(path, content string) site.Incoming {
	return site.Incoming{Root: b.Root, Path: path, Content: strings.NewReader(content), Size: int64(len(content)),
		ModTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
}

// put writes the content, which must work, and checks what is there then.
func (b Backend) put(t *testing.T, path, content string) site.Object {
	t.Helper()
	obj, err := b.Site.Put(t.Context(), b.incoming(path, content))
	if err != nil {
		t.Fatal(err)
	}
	if want := sumOf(content); obj.MD5 != want || obj.ID == "" {
		t.Fatalf("Put returned %+v, want an id and the MD5 %s", obj, want)
	}
	b.want(t, path, content)
	return obj
}

// want checks that there are exactly these files at the path.
func (b Backend) want(t *testing.T, path string, contents ...string) {
	t.Helper()
	got := b.Read(t, path)
	if len(got) != len(contents) {
		t.Fatalf("%d files at %s, want %d", len(got), path, len(contents))
	}
	for i, want := range contents {
		if got[i] != want {
			t.Fatalf("%s has other content: %d bytes, want %d", path, len(got[i]), len(want))
		}
	}
}

func wantClass(t *testing.T, err error, want site.Class) {
	t.Helper()
	if err == nil || site.ClassOf(err) != want {
		t.Fatalf("error %v of class %s, want class %s", err, site.ClassOf(err), want)
	}
}

func testPut(t *testing.T, b Backend) {
	for _, size := range sizes {
		b.put(t, fmt.Sprintf("%s/%d.exr", b.Root, size), content(size, 0))
	}
}

func testFolders(t *testing.T, b Backend) {
	b.put(t, b.Root+"/shot/publish/v001/a.exr", "a")
	b.put(t, b.Root+"/shot/publish/v002/a.exr", "b")
	b.want(t, b.Root+"/shot/publish/v001/a.exr", "a")
}

func testNames(t *testing.T, b Backend) {
	for _, name := range []string{"it's", `a"b`, `back\slash`, "50%", "%2F", "100%25",
		"a+b&c=d?e#f", "Žluťoučký kůň", "日本語", "e\u0301",
		" leading", "trailing ", "a  b", "...", "-", "UPPER", "upper"} {
		file := b.Root + "/" + name + "/" + name
		obj := b.put(t, file, name)
		if again := b.put(t, file, name+" again"); again.ID != obj.ID {
			t.Errorf("%q was made a second time", name)
		}
	}
}

func testOverwrite(t *testing.T, b Backend) {
	file := b.Root + "/a.exr"
	for _, size := range sizes {
		first := b.put(t, file, content(size, 1))
		for _, c := range []string{content(size, 2), content(size+1, 3)} {
			if again := b.put(t, file, c); again.ID != first.ID {
				t.Errorf("the id was %s and is %s", first.ID, again.ID)
			}
		}
	}
}

func testIdempotent(t *testing.T, b Backend) {
	for _, size := range sizes {
		file := fmt.Sprintf("%s/%d.exr", b.Root, size)
		first := b.put(t, file, content(size, 0))
		if diff := cmp.Diff(first, b.put(t, file, content(size, 0))); diff != "" {
			t.Error(diff)
		}
	}
}

func testContext(t *testing.T, b Backend) {
	for _, size := range sizes {
		file := fmt.Sprintf("%s/%d.exr", b.Root, size)
		ctx, cancel := context.WithCancel(t.Context())
		u := b.incoming(file, content(size, 0))
		u.Content = readerAt(func(p []byte, at int64) (int, error) {
			cancel() // in the middle of it
			return strings.NewReader(content(size, 0)).ReadAt(p, at)
		})
		_, err := b.Site.Put(ctx, u)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
		b.put(t, file, content(size, 0))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Site.Put(ctx, b.incoming(b.Root+"/never", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	b.want(t, b.Root+"/never")
	if err := b.Site.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of Check, want that of the context", err)
	}
}

type readerAt func(p []byte, at int64) (int, error)

func (f readerAt) ReadAt(p []byte, at int64) (int, error) { return f(p, at) }

func testBadSource(t *testing.T, b Backend) {
	broken := errors.New("the disk is broken")
	for _, size := range sizes[1:] {
		old := content(size, 1)
		whole := content(size, 2)
		for name, source := range map[string]io.ReaderAt{
			"truncated":  strings.NewReader(whole[:size/2]),
			"empty":      strings.NewReader(""),
			"grown":      strings.NewReader(whole + "x"),
			"unreadable": readerAt(func([]byte, int64) (int, error) { return 0, broken }),
		} {
			overwritten := fmt.Sprintf("%s/%s %d", b.Root, name, size)
			made := overwritten + " new"
			b.put(t, overwritten, old)
			for _, file := range []string{made, overwritten} {
				u := b.incoming(file, whole)
				u.Content = source
				_, err := b.Site.Put(t.Context(), u)
				wantClass(t, err, site.FileError)
				if name == "unreadable" && !errors.Is(err, broken) {
					t.Errorf("error %v, want that of the source", err)
				}
			}
			b.want(t, made)
			b.want(t, overwritten, old)
		}
	}
}

func testForbidden(t *testing.T, b Backend) {
	b.put(t, b.Root+"/old", "old")
	b.Forbid(t)
	wantClass(t, b.Site.Check(t.Context()), site.Unavailable)
	for _, file := range []string{"/old", "/new", "/folder/new"} {
		_, err := b.Site.Put(t.Context(), b.incoming(b.Root+file, "content"))
		wantClass(t, err, site.Unavailable)
	}
	b.Allow(t)
	if err := b.Site.Check(t.Context()); err != nil {
		t.Error(err)
	}
	b.want(t, b.Root+"/old", "old")
	b.put(t, b.Root+"/new", "content")
}

func testConcurrent(t *testing.T, b Backend) {
	file := func(i int) string { return fmt.Sprintf("%s/folder %d/sub/file %d", b.Root, i%3, i) }
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if _, err := b.Site.Put(t.Context(), b.incoming(file(i), file(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 24 {
		b.want(t, file(i), file(i))
	}
}

func testSameFile(t *testing.T, b Backend) {
	file := b.Root + "/new/a.exr"
	var wg sync.WaitGroup
	objects := make([]site.Object, 8)
	for i := range objects {
		wg.Go(func() {
			var err error
			if objects[i], err = b.Site.Put(t.Context(), b.incoming(file, fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, obj := range objects {
		if obj.ID != objects[0].ID {
			t.Errorf("ids %s and %s of one file", obj.ID, objects[0].ID)
		}
	}
	if got := b.Read(t, file); len(got) != 1 {
		t.Errorf("%d files, want 1", len(got))
	}
}

func testProgress(t *testing.T, b Backend) {
	for _, size := range sizes[1:] {
		var sent atomic.Int64
		u := b.incoming(fmt.Sprintf("%s/%d.exr", b.Root, size), content(size, 0))
		u.OnProgress = sent.Store
		if _, err := b.Site.Put(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got := sent.Load(); got != u.Size {
			t.Errorf("%d bytes sent at the end, want %d", got, u.Size)
		}
	}
}

func testCheck(t *testing.T, b Backend) {
	b.put(t, b.Root+"/a", "a")
	for range 2 {
		if err := b.Site.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.want(t, b.Root+"/a", "a")
	u := b.incoming(b.Root+"/a", "b")
	u.ModTime = time.Time{}
	if _, err := b.Site.Put(t.Context(), u); err != nil {
		t.Error("without a time:", err)
	}
	b.want(t, b.Root+"/a", "b")
}
