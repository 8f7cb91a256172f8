package sitetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"sitesync/site"
)

// Source is a site to be read from and what the suite must be able to do with it.
type Source struct {
	Site site.Source
	Root string // of the site, that is there and has something in it, but nothing that the tests use

	// Write puts a file on the site, at a path below its root, or writes it anew, and returns the site's id of it, if
	// it has ids.
	Write func(t *testing.T, rel, content string) (id string)

	// Remove removes one.
	Remove func(t *testing.T, rel string)
}

// RunSource tests a site that is read from. open is called for each test.
func RunSource(t *testing.T, open func(t *testing.T) Source) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Source)
	}{
		{"Open and read", testOpen},
		{"Open of what is not there yet", testNotReady},
		{"Open honours its context", testOpenContext},
		{"paths that can be read in several ways", testReadings},
		{"paths that leave the root", testLeaving},
		{"read by many at once", testReadAtOnce},
		{"changed while it is read", testChanged},
		{"roots that can be read", testReadable},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func (s Source) at(rel, id string) site.Location {
	return site.Location{Root: s.Root, Rel: rel, ID: id}
}

// open opens a file, which must work.
func (s Source) open(t *testing.T, at site.Location, size int) site.SourceFile {
	t.Helper()
	f, err := s.Site.Open(t.Context(), at, site.OpenOptions{Size: int64(size), WillRead: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// readAll reads a file, which must work.
func readAll(t *testing.T, f site.SourceFile) string {
	t.Helper()
	content, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()+1))
	if readErr := f.ReadError(t.Context(), nil); err != nil || readErr != nil {
		t.Fatalf("%v, %v", err, readErr)
	}
	return string(content)
}

// readRange reads a range of a file, if it is a [site.Ranger].
func readRange(t *testing.T, f site.SourceFile, offset, n int64) (content string, ok bool) {
	ranger, ok := f.(site.Ranger)
	if !ok {
		return "", false
	}
	r, err := ranger.ReadRange(t.Context(), offset, n)
	if err != nil {
		t.Error(err)
		return "", true
	}
	defer r.Close()
	read, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(read), true
}

func testOpen(t *testing.T, s Source) {
	for _, size := range sizes {
		want := content(size, 0)
		rel := fmt.Sprintf("/shot/publish/%d.exr", size)
		id := s.Write(t, rel, want)
		for _, known := range []int{size, -1} {
			for _, id := range []string{id, ""} {
				f := s.open(t, s.at(rel, id), known)
				if f.Size() != int64(size) || f.ModTime().IsZero() || f.MD5() != "" && f.MD5() != sumOf(want) {
					t.Errorf("%d bytes, of %v, with the MD5 %s", f.Size(), f.ModTime(), f.MD5())
				}
				if readAll(t, f) != want {
					t.Errorf("%d bytes are read wrong", size)
				}
				testParts(t, f, want)
				if err := f.Changed(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// testParts reads parts of a file.
func testParts(t *testing.T, f site.SourceFile, want string) {
	size := int64(len(want))
	for _, offset := range []int64{0, 1, size / 2, size - 1} {
		n := min(1000, size-offset)
		if offset < 0 || n <= 0 {
			continue
		}
		p := make([]byte, n)
		if m, err := f.ReadAt(p, offset); int64(m) != n || err != nil && err != io.EOF ||
			string(p) != want[offset:offset+n] {
			t.Errorf("%d of %d bytes at %d, %v", m, n, offset, err)
		}
		for _, n := range []int64{0, 1, n, size - offset} {
			if got, ok := readRange(t, f, offset, n); ok && got != want[offset:offset+n] {
				t.Errorf("%d of %d bytes in the range from %d, or others", len(got), n, offset)
			}
		}
	}
	if n, err := f.ReadAt(make([]byte, 10), size); n != 0 || err != io.EOF {
		t.Errorf("%d bytes behind the end, %v", n, err)
	}
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, max(size-5, 0)); n != int(min(size, 5)) || err != io.EOF {
		t.Errorf("%d bytes at the end, %v", n, err)
	}
}

func testNotReady(t *testing.T, s Source) {
	s.Write(t, "/shot/other.exr", "other")
	id := s.Write(t, "/shot/a.exr", "12345")
	for name, open := range map[string]struct {
		at   site.Location
		size int64
	}{
		"not there": {s.at("/shot/b.exr", ""), 5}, "without its folder": {s.at("/shot/publish/v001/b.exr", ""), 5},
		"of another size": {s.at("/shot/a.exr", id), 6},
	} {
		_, err := s.Site.Open(t.Context(), open.at, site.OpenOptions{Size: open.size})
		if err == nil || site.ClassOf(err) != site.NotReady {
			t.Errorf("%s: %v of class %s", name, err, site.ClassOf(err))
		}
	}
	s.Remove(t, "/shot/a.exr")
	_, err := s.Site.Open(t.Context(), s.at("/shot/a.exr", id), site.OpenOptions{Size: 5})
	wantClass(t, err, site.NotReady)
	s.open(t, s.at("/shot/a.exr", s.Write(t, "/shot/a.exr", "12345")), 5)
}

func testOpenContext(t *testing.T, s Source) {
	id := s.Write(t, "/shot/a.exr", "12345")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Site.Open(ctx, s.at("/shot/a.exr", id), site.OpenOptions{Size: 5})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func testReadings(t *testing.T, s Source) {
	s.Write(t, "/shot/publish/a.exr", "separators")
	s.Write(t, `/shot/back\slash.exr`, "literal")
	s.Write(t, "/shot/{b}.exr", "one brace")
	s.Write(t, "/shot/{{c}}.exr", "two braces")
	for rel, want := range map[string][2]string{ // content and path
		`\shot\publish\a.exr`:    {"separators", "shot/publish/a.exr"},
		`/shot/back\slash.exr`:   {"literal", `shot/back\slash.exr`},
		"/shot/{{b}}.exr":        {"one brace", "shot/{b}.exr"},
		"/shot/{{c}}.exr":        {"two braces", "shot/{{c}}.exr"},
		"/shot//publish/./a.exr": {"separators", "shot/publish/a.exr"},
	} {
		f := s.open(t, s.at(rel, ""), -1)
		if got := readAll(t, f); got != want[0] {
			t.Errorf("%q is read as %q", rel, got)
		}
		path, err := f.Reading()(rel)
		if err != nil || path != want[1] {
			t.Errorf("%q is read as %q, %v", rel, path, err)
		}
		r, err := s.Site.Resolve(t.Context(), s.at(rel, ""))
		if err != nil {
			t.Error(err)
			continue
		}
		if path, err := r.Reading(rel); err != nil || path != want[1] || !strings.Contains(r.Path, "shot") {
			t.Errorf("%q is resolved to %q, %q, %v", rel, r.Path, path, err)
		}
	}
}

func testLeaving(t *testing.T, s Source) {
	s.Write(t, "/a.exr", "12345")
	for _, rel := range []string{"/../a.exr", "/shot/../a.exr", "/", "", "/.", "/shot/a\x00.exr", "/shot/\xff.exr"} {
		_, err := s.Site.Open(t.Context(), s.at(rel, ""), site.OpenOptions{Size: 5})
		if err == nil || site.ClassOf(err) != site.FileError {
			t.Errorf("%q: %v of class %s", rel, err, site.ClassOf(err))
		}
	}
}

func testReadAtOnce(t *testing.T, s Source) {
	want := content(6<<20, 0)
	f := s.open(t, s.at("/shot/a.exr", s.Write(t, "/shot/a.exr", want)), len(want))
	var wg sync.WaitGroup
	const parts = 12
	part := len(want) / parts
	for i := range parts {
		wg.Go(func() {
			p := make([]byte, part)
			n, err := f.ReadAt(p, int64(i*part))
			if n != part || err != nil && err != io.EOF || string(p) != want[i*part:(i+1)*part] {
				t.Errorf("part %d: %d of %d bytes, %v", i, n, part, err)
			}
		})
		wg.Go(func() {
			if got, ok := readRange(t, f, int64(i*part), int64(part)); ok && got != want[i*part:(i+1)*part] {
				t.Errorf("range %d: %d of %d bytes, or others", i, len(got), part)
			}
		})
	}
	wg.Wait()
}

func testChanged(t *testing.T, s Source) {
	id := s.Write(t, "/shot/a.exr", "12345")
	read := func(f site.SourceFile) {
		if n, err := f.ReadAt(make([]byte, 1), 0); n != 1 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	f := s.open(t, s.at("/shot/a.exr", id), 5)
	read(f)
	if err := f.Changed(t.Context()); err != nil {
		t.Error(err)
	}
	s.Write(t, "/shot/a.exr", "123456")
	wantClass(t, f.Changed(t.Context()), site.NotReady)
	removed := s.open(t, s.at("/shot/b.exr", s.Write(t, "/shot/b.exr", "12345")), 5)
	read(removed)
	s.Remove(t, "/shot/b.exr")
	wantClass(t, removed.Changed(t.Context()), site.NotReady)
}

func testReadable(t *testing.T, s Source) {
	s.Write(t, "/shot/a.exr", "12345")
	if err := s.Site.CheckReadable(t.Context(), s.Root); err != nil {
		t.Error(err)
	}
	if err := s.Site.CheckReadable(t.Context(), s.Root+"/missing"); err == nil {
		t.Error("a root that is missing can be read")
	}
	r, err := s.Site.Resolve(t.Context(), s.at("/shot/a.exr", ""))
	if err != nil || r.Folder == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := s.Site.CheckFolder(t.Context(), s.Root, r.Folder); err != nil {
		t.Error(err)
	}
}
