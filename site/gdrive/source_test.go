package gdrive

import (
	"errors"
	"fmt"
	"io"
	"path"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
	"sitesync/site"
)

// at is where a file is below the root of the tests' site.
func at(rel, id string) site.Location { return site.Location{Root: "/SHOW/pub", Rel: rel, ID: id} }

// readAll opens a file and reads all of it, which must work.
func readAll(t *testing.T, d *Site, l site.Location, o site.OpenOptions) string {
	t.Helper()
	f := open(t, d, l, o)
	defer f.Close()
	got, err := readRange(t, f, 0, f.Size())
	if err != nil || f.ReadError(t.Context(), nil) != nil {
		t.Fatalf("%v, %v", err, f.ReadError(t.Context(), nil))
	}
	if err := f.Changed(t.Context()); err != nil {
		t.Fatal(err)
	}
	return got
}

func open(t *testing.T, d *Site, l site.Location, o site.OpenOptions) site.SourceFile {
	t.Helper()
	f, err := d.Open(t.Context(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readRange(t *testing.T, f site.SourceFile, offset, n int64) (string, error) {
	t.Helper()
	r, err := f.(site.Ranger).ReadRange(t.Context(), offset, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	return string(got), err
}

// A file is what has its id, wherever it is and whatever it is called now. Where that is gone, it is what is at its
// path.
func TestOpenFindsTheFile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rel     string
		prepare func(s *studio, pub string) (id string)
		want    string // content; empty for an error
		class   site.Class
		words   string
		reading string // of the path; empty for the usual
	}{
		"by id": {rel: "/a/b.exr", want: "one", prepare: func(s *studio, pub string) string {
			return s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
		}},
		"by path": {rel: "/a/b.exr", want: "one", prepare: func(s *studio, _ string) string {
			s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
			return ""
		}},
		"moved and renamed": {rel: "/a/b.exr", want: "one", prepare: func(s *studio, _ string) string {
			return s.AddFile(s.Mkdir(s.show, "other"), "c.exr", []byte("one"))
		}},
		"trashed, and another one at the path": {rel: "/a/b.exr", want: "two",
			prepare: func(s *studio, _ string) string {
				id := s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
				s.Trash(id)
				s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("two"))
				return id
			}},
		"deleted, and another one at the path": {rel: "/a/b.exr", want: "two",
			prepare: func(s *studio, _ string) string {
				id := s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
				s.Delete(id)
				s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("two"))
				return id
			}},
		"trashed with its folder": {rel: "/a/b.exr", class: site.NotReady, words: "trash",
			prepare: func(s *studio, _ string) string {
				folder := s.Mkdir(s.show, "pub/a")
				id := s.AddFile(folder, "b.exr", []byte("one"))
				s.Trash(folder)
				return id
			}},
		"deleted": {rel: "/a/b.exr", class: site.NotReady, words: "not on google drive",
			prepare: func(s *studio, _ string) string {
				id := s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
				s.Delete(id)
				return id
			}},
		"no folder": {rel: "/a/b.exr", class: site.NotReady, words: "not on google drive",
			prepare: func(*studio, string) string { return "" }},
		"a Google document": {rel: "/b.exr", class: site.FileError, words: "no content",
			prepare: func(s *studio, pub string) string { return s.AddDoc(pub, "b.exr") }},
		"a folder": {rel: "/b.exr", class: site.FileError, words: "no content",
			prepare: func(s *studio, pub string) string { return s.AddFolder(pub, "b.exr") }},
		"another size": {rel: "/b.exr", class: site.NotReady, words: "4 bytes",
			prepare: func(s *studio, pub string) string { return s.AddFile(pub, "b.exr", []byte("four")) }},
		"backslashes": {rel: `\a\b.exr`, want: "one", prepare: func(s *studio, _ string) string {
			return s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
		}},
		"backslashes, by path": {rel: `\a\b.exr`, want: "one", prepare: func(s *studio, _ string) string {
			s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("one"))
			return ""
		}},
		"a backslash in the name": {rel: `/a\b.exr`, want: "one", reading: `a\b.exr`,
			prepare: func(s *studio, pub string) string { return s.AddFile(pub, `a\b.exr`, []byte("one")) }},
		"a backslash in the name, by path": {rel: `/a\b.exr`, want: "one", reading: `a\b.exr`,
			prepare: func(s *studio, pub string) string {
				s.AddFile(pub, `a\b.exr`, []byte("one"))
				return ""
			}},
		"braces": {rel: "/{{b}}.exr", want: "one", reading: "{b}.exr",
			prepare: func(s *studio, pub string) string { return s.AddFile(pub, "{b}.exr", []byte("one")) }},
		"braces, by path": {rel: "/{{b}}.exr", want: "one", reading: "{b}.exr",
			prepare: func(s *studio, pub string) string {
				s.AddFile(pub, "{b}.exr", []byte("one"))
				return ""
			}},
		"out of the root": {rel: "/../b.exr", class: site.FileError, words: "leaves its root",
			prepare: func(s *studio, pub string) string { return s.AddFile(pub, "b.exr", []byte("one")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			l := at(test.rel, test.prepare(s, s.Mkdir(s.show, "pub")))
			before := len(s.Files())
			o := site.OpenOptions{Size: 3, WillRead: true}
			f, err := d.Open(t.Context(), l, o)
			if after := len(s.Files()); after != before {
				t.Errorf("%d files and folders, there were %d", after, before)
			}
			if test.want == "" {
				wantClass(t, err, test.class, test.words)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got, err := readRange(t, f, 0, 3); err != nil || got != test.want {
				t.Errorf("read %q, %v", got, err)
			}
			if f.Size() != 3 || f.MD5() != md5Of(test.want) || f.ModTime().IsZero() {
				t.Errorf("%d bytes, MD5 %s, %v", f.Size(), f.MD5(), f.ModTime())
			}
			reading := test.reading
			if reading == "" {
				reading, _ = site.UsualReading(test.rel)
			}
			if got, err := f.Reading()(test.rel); err != nil || got != reading || f.String() != "/SHOW/pub/"+got {
				t.Errorf("read as %q, %v, want %q; path %s", got, err, reading, f)
			}
			r, err := d.Resolve(t.Context(), l)
			if err != nil || r.Path != f.String() {
				t.Errorf("resolved to %q, %v, want %s", r.Path, err, f)
			}
		})
	}
}

// Where the path can be read in one way only, no request is made to resolve it.
func TestResolveAsksNothing(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	r, err := d.Resolve(t.Context(), at("/a/b/c.exr", "1id"))
	if err != nil || r.Path != "/SHOW/pub/a/b/c.exr" || r.Folder != "/SHOW/pub/a" {
		t.Errorf("%+v, %v", r, err)
	}
	if n := s.TotalCalls(); n != 0 {
		t.Errorf("%d calls: %v", n, s.Calls())
	}
}

// A path with backslashes is looked for with them as separators before what seems not to be there is asked for again.
func TestBackslashesTakeNoRequest(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.AddFile(s.Mkdir(s.show, "pub/a"), "b.exr", []byte("content"))
	readAll(t, d, at(`\a\b.exr`, ""), site.OpenOptions{Size: 7})
	s.wantCalls(t, "files.list", 3) // of the drive, of pub, and of a
	s.wantCalls(t, "files.get", 1)
}

// What is put at a path is found there at once, also if it was looked for before.
func TestFoundAtOnce(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.AddFile(s.Mkdir(s.show, "pub/other"), "a", []byte("content"))
	for _, rel := range []string{"/new/v001/a", "/new/v001/b", `/new\v001\c`, `/new/{{d}}`} {
		_, err := d.Open(t.Context(), at(rel, ""), site.OpenOptions{Size: 7})
		wantClass(t, err, site.NotReady, "not on google drive")
		p, _ := readingOf(rel, "{d}")(rel)
		s.AddFile(s.Mkdir(s.show, "pub/"+path.Dir(p)), path.Base(p), []byte("content"))
		if got := readAll(t, d, at(rel, ""), site.OpenOptions{Size: 7}); got != "content" {
			t.Errorf("%s: read %q", rel, got)
		}
	}
}

// The metadata of a sequence comes with one listing.
func TestSequenceTakesOneListing(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	const frames = 1000
	all := s.sequence(frames)
	for i, l := range all {
		o := site.OpenOptions{Size: 8, WillRead: true, Siblings: func() []site.Location { return all[i:] }}
		if got, want := readAll(t, d, l, o), fmt.Sprintf("%04d.exr", i); got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
	s.wantCalls(t, "files.list", 1)
	s.wantCalls(t, "files.get", 1)
	s.wantCalls(t, "files.download", frames)
	if n := s.TotalCalls(); float64(n) > 1.05*frames {
		t.Errorf("%d calls: %v", n, s.Calls())
	}
}

// A stream that breaks goes on where it was.
func TestStreamGoesOn(t *testing.T) {
	t.Parallel()
	content := large(3 << 20)
	for name, fault := range map[string]drive.Fault{
		"truncated":  {Effect: drive.EffectTruncate, AfterBytes: 1 << 20, Count: 2},
		"reset":      {Effect: drive.EffectReset, Count: 2},
		"error":      {Effect: drive.EffectStatus, Status: 503, Count: 2},
		"rate limit": {Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded", Count: 2},
		"token":      {Effect: drive.EffectStatus, Status: 401, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
			fault.Kind = "files.download"
			active := s.AddFault(fault)
			if got := readAll(t, d, at("/a", id), site.OpenOptions{Size: -1}); got != content {
				t.Errorf("%d bytes with MD5 %s, want %d with %s", len(got), md5Of(got), len(content), md5Of(content))
			}
			if active.Hits() != fault.Count {
				t.Errorf("%d hits", active.Hits())
			}
		})
	}
}

// Parts of a file are read at once, and by ReadAt.
func TestRanges(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	content := large(3 << 20)
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
	f := open(t, d, at("/a", id), site.OpenOptions{Size: int64(len(content))})
	defer f.Close()
	s.ResetCalls()
	for i := range int64(3) {
		if got, err := readRange(t, f, i<<20, 1<<20); err != nil || got != content[i<<20:(i+1)<<20] {
			t.Errorf("range %d: %d bytes, %v", i, len(got), err)
		}
	}
	s.wantCalls(t, "files.download", 3)
	s.ResetCalls()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.wantCalls(t, "files.download", 1)
	buf := make([]byte, 10)
	if n, err := f.ReadAt(buf, f.Size()-4); n != 4 || err != io.EOF || string(buf[:n]) != content[len(content)-4:] {
		t.Errorf("%d bytes at the end, %v", n, err)
	}
	if n, err := f.ReadAt(buf, f.Size()); n != 0 || err != io.EOF {
		t.Errorf("%d bytes behind the end, %v", n, err)
	}
	if _, err := f.(site.Ranger).ReadRange(t.Context(), 1, f.Size()); err == nil {
		t.Error("a range out of the file")
	}
}

// Where only whole files get through, parts far from the start are not read at the price of all that is before them.
func TestRangesThatAreIgnored(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	content := large(20 << 20)
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
	f := open(t, d, at("/a", id), site.OpenOptions{Size: int64(len(content))})
	defer f.Close()
	s.AddFault(drive.Fault{Kind: "files.download", Effect: drive.EffectIgnoreRange})
	for offset, want := range map[int64]error{1 << 20: nil, maxSkipped: nil, maxSkipped + 1: site.ErrNoRanges} {
		got, err := readRange(t, f, offset, 100)
		if err != want || err == nil && got != content[offset:offset+100] {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	if got, err := readRange(t, f, 19<<20, 1<<20); err != nil || got != content[19<<20:] {
		t.Errorf("the end: %d bytes, %v", len(got), err)
	}
	if err := f.ReadError(t.Context(), errors.New("of the target")); err != nil {
		t.Errorf("it is said not to be readable: %v", err)
	}
}

// A file that has become shorter is asked for anew.
func TestBecameShorter(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	all := s.sequence(2 * listFrom)
	o := site.OpenOptions{Size: 8, Siblings: func() []site.Location { return all }}
	readAll(t, d, all[0], o)
	f := open(t, d, all[1], o)
	defer f.Close()
	s.AddFault(drive.Fault{Kind: "files.download", Effect: drive.EffectStatus, Status: 416,
		Reason: "requestedRangeNotSatisfiable", Count: 1})
	_, err := readRange(t, f, 4, 4)
	wantClass(t, err, site.NotReady, "became shorter on google drive while it was read")
	s.ResetCalls()
	open(t, d, all[1], o).Close()
	s.wantCalls(t, "files.get", 1)
}

// Who reads as many bytes as there are, and not on to the end, has had them compared too.
func TestReadFull(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("content"))
	read := func(f site.SourceFile) error {
		r, err := f.(site.Ranger).ReadRange(t.Context(), 0, 7)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = io.ReadFull(r, make([]byte, 7))
		return err
	}
	f := open(t, d, at("/a", id), site.OpenOptions{Size: 7})
	defer f.Close()
	if err := read(f); err != nil {
		t.Error(err)
	}
	s.wantCalls(t, "files.get", 1)
	if err := f.Changed(t.Context()); err != nil {
		t.Error(err)
	}
	s.wantCalls(t, "files.get", 1)
	s.Write(id, []byte("CONTENT"))
	wantClass(t, read(f), site.NotReady, "replaced")
}

// What is replaced while it is read is noticed, and what is remembered of it is dropped.
func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	content := large(2 << 20)
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
	f := open(t, d, at("/a", id), site.OpenOptions{Size: int64(len(content))})
	defer f.Close()
	if _, err := readRange(t, f, 0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Changed(t.Context()); err != nil {
		t.Error(err)
	}
	s.Write(id, []byte(content[1:]+"x"))
	wantClass(t, f.Changed(t.Context()), site.NotReady, "replaced")
	_, err := readRange(t, f, 0, f.Size())
	wantClass(t, err, site.NotReady, "replaced")
	wantClass(t, f.ReadError(t.Context(), errors.New("of the reader")), site.NotReady, "replaced")
	s.Write(id, []byte("short"))
	_, err = readRange(t, f, 0, f.Size())
	wantClass(t, err, site.NotReady, "replaced")
	_, err = readRange(t, f, 1<<20, 10)
	wantClass(t, err, site.NotReady)
	s.Delete(id)
	_, err = readRange(t, f, 0, f.Size())
	wantClass(t, err, site.NotReady, "deleted")
	wantClass(t, f.Changed(t.Context()), site.NotReady, "deleted")
}

// A small file comes with its metadata in the time of one request.
func TestSmallFileComesAtOnce(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("content"))
	fault := s.AddFault(drive.Fault{Kind: "files.get", Count: 1, Effect: drive.EffectHang})
	done := make(chan string)
	go func() { done <- readAll(t, d, at("/a", id), site.OpenOptions{Size: 7, WillRead: true}) }()
	eventually(t, "the content is asked for before the metadata has come", func() bool {
		return s.Calls()["files.download"] == 1
	})
	fault.Remove()
	if got := <-done; got != "content" {
		t.Errorf("read %q", got)
	}
	s.wantCalls(t, "files.download", 1)
}

// A root that is gone is not the fault of each file in it.
func TestSourceRoot(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	pub := s.Mkdir(s.show, "pub")
	id := s.AddFile(pub, "a", []byte("content"))
	reader := s.AddServiceAccount("reader@studio.iam.example")
	s.show.AddMember(reader, drive.Viewer)
	for _, d := range []*Site{d, s.openAs(t, reader.Credentials(), "", "/SHOW/pub")} {
		if err := d.CheckReadable(t.Context(), "/SHOW/pub"); err != nil {
			t.Error(err)
		}
		if err := d.CheckFolder(t.Context(), "/SHOW/pub", "/SHOW/pub/new"); err != nil {
			t.Error(err)
		}
		readAll(t, d, at("/a", id), site.OpenOptions{Size: 7})
	}
	s.Trash(pub)
	for _, err := range []error{
		// The file is in the trash too, which is not its own fault.
		func() error { _, err := d.Open(t.Context(), at("/a", id), site.OpenOptions{Size: 7}); return err }(),
		d.CheckReadable(t.Context(), "/SHOW/pub"),
	} {
		wantClass(t, err, site.Unavailable, "no folder /SHOW/pub")
		if scope, _ := site.ScopeOf(err); scope != site.OneRoot {
			t.Errorf("scope %v", scope)
		}
	}
	if len(s.Find(s.show, "pub")) > 0 {
		t.Error("the root was made")
	}
}

// sequence makes frames in the folder pub/v001 and returns where they are. The content of each is its name.
func (s *studio) sequence(frames int) (all []site.Location) {
	folder := s.Mkdir(s.show, "pub/v001")
	for i := range frames {
		name := fmt.Sprintf("%04d.exr", i)
		all = append(all, at("/v001/"+name, s.AddFile(folder, name, []byte(name))))
	}
	return all
}

// Content is asked for before its file is opened, once for each, however many are read at once.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	all := s.sequence(200)
	siblings := func() []site.Location { return all }
	o := site.OpenOptions{Size: 8, WillRead: true, Siblings: siblings}
	f := open(t, d, all[0], o)
	eventually(t, "as many more are asked for as are read at once", func() bool {
		return s.Calls()["files.download"] == 1+d.ahead.most
	})
	if got, err := readRange(t, f, 0, 8); err != nil || got != "0000.exr" {
		t.Errorf("read %q, %v", got, err)
	}
	f.Close()
	var g errgroup.Group
	g.SetLimit(d.ahead.most)
	for i, l := range all[1:] {
		g.Go(func() error {
			if got, want := readAll(t, d, l, o), fmt.Sprintf("%04d.exr", i+1); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			return nil
		})
	}
	_ = g.Wait()
	s.wantCalls(t, "files.download", len(all))
	s.wantCalls(t, "files.get", 1)
	s.wantCalls(t, "files.list", 1)
}

// ... also where each file has a folder of its own: then the metadata is asked for with it.
func TestReadAheadElsewhere(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	var all []site.Expected
	for i := range 40 {
		name := fmt.Sprintf("%04d.exr", i)
		id := s.AddFile(s.Mkdir(s.show, "pub/"+name), name, []byte(name))
		all = append(all, site.Expected{Location: at("/"+name+"/"+name, id), Size: 8})
	}
	from := func(i int) site.OpenOptions {
		return site.OpenOptions{Size: 8, WillRead: true, Next: func() []site.Expected { return all[i+1:] }}
	}
	f := open(t, d, all[0].Location, from(0))
	eventually(t, "the next ones are asked for", func() bool {
		return s.Calls()["files.download"] == 1+d.ahead.most && s.Calls()["files.get"] == 1+d.ahead.most
	})
	f.Close()
	for i, l := range all[1:] {
		if got, want := readAll(t, d, l.Location, from(1+i)), fmt.Sprintf("%04d.exr", 1+i); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	s.wantCalls(t, "files.download", len(all))
	s.wantCalls(t, "files.get", len(all))
}

// What was asked for in advance and has changed since is found out.
func TestReadAheadOfWhatChanges(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	pub := s.Mkdir(s.show, "pub")
	var ids []string
	var next []site.Expected
	for _, name := range []string{"a", "b", "c"} {
		id := s.AddFile(pub, name, []byte("content"))
		ids, next = append(ids, id), append(next, site.Expected{Location: at("/"+name, id), Size: 7})
	}
	o := site.OpenOptions{Size: 7, WillRead: true, Next: func() []site.Expected { return next[1:] }}
	hang := s.AddFault(drive.Fault{Kind: "files.download", Effect: drive.EffectHang})
	f := open(t, d, next[0].Location, o)
	eventually(t, "the next ones are asked for", func() bool { return hang.Hits() == 3 })
	for _, id := range ids[1:] {
		begun := d.ahead.begun[id]
		if _, ok := begun.info(t.Context()); !ok {
			t.Fatal("no metadata has come")
		}
	}
	s.Write(ids[1], []byte("CONTENT"))
	s.Delete(ids[2])
	hang.Remove()
	f.Close()
	for _, l := range next[1:] {
		f := open(t, d, l.Location, o)
		_, err := readRange(t, f, 0, 7)
		wantClass(t, err, site.NotReady)
		f.Close()
	}
	if got := readAll(t, d, next[1].Location, o); got != "CONTENT" {
		t.Errorf("read %q", got)
	}
	_, err := d.Open(t.Context(), next[2].Location, o)
	wantClass(t, err, site.NotReady, "not on google drive")
}

// What nobody opens is given up, and what is not read in the end is not asked for in advance.
func TestReadAheadInVain(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	d.ahead.patience = time.Millisecond
	all := s.sequence(100)
	o := site.OpenOptions{Size: 8, WillRead: true, Siblings: func() []site.Location { return all }}
	for _, l := range all[:maxUnread] {
		open(t, d, l, o).Close()
	}
	eventually(t, "all are given up", func() bool {
		d.ahead.mu.Lock()
		defer d.ahead.mu.Unlock()
		return len(d.ahead.begun) == 0
	})
	for _, l := range all[maxUnread:90] {
		open(t, d, l, o).Close()
	}
	before := s.Calls()["files.download"]
	if most := maxUnread * d.ahead.most; before > most {
		t.Errorf("%d were asked for, want %d at most", before, most)
	}
	d.ahead.patience = time.Minute
	readAll(t, d, all[90], o)
	open(t, d, all[91], o).Close()
	eventually(t, "more are asked for again", func() bool { return s.Calls()["files.download"] > before+1 })
}

// Where Drive limits requests nothing is asked for that may not be needed.
func TestNoReadAheadAtALimit(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	all := s.sequence(20)
	s.AddFault(drive.Fault{Kind: "files.get", Count: 1, Effect: drive.EffectStatus, Status: 403,
		Reason: "userRateLimitExceeded"})
	o := site.OpenOptions{Size: 8, WillRead: true, Siblings: func() []site.Location { return all }}
	for i, l := range all[:5] {
		readAll(t, d, l, o)
		s.wantCalls(t, "files.download", i+1)
	}
}

// The metadata that is remembered may be out of date. What is read is never wrong.
func TestStaleMetadata(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	all := s.sequence(3 * listFrom)
	o := site.OpenOptions{Size: 8, Siblings: func() []site.Location { return all }}
	readAll(t, d, all[0], o)
	s.wantCalls(t, "files.list", 1)

	// Of the same size: that it is not the same shows in the end, and the next look is at what is there now.
	s.Write(all[1].ID, []byte("replaced"))
	f := open(t, d, all[1], o)
	_, err := readRange(t, f, 0, 8)
	wantClass(t, err, site.NotReady, "replaced")
	f.Close()
	if got := readAll(t, d, all[1], o); got != "replaced" {
		t.Errorf("read %q", got)
	}
	// ... also where nothing was read, as the target has the content.
	s.Write(all[2].ID, []byte("replaced"))
	f = open(t, d, all[2], o)
	wantClass(t, f.Changed(t.Context()), site.NotReady, "replaced")
	f.Close()
	// What was opened is asked for anew: it is opened again because it was published again.
	readAll(t, d, all[5], o)
	s.Write(all[5].ID, []byte("replaced"))
	f = open(t, d, all[5], o)
	if f.MD5() != "91bb248359043fe98416e259c9bdf10d" {
		t.Errorf("its MD5 is %s", f.MD5())
	}
	if err := f.Changed(t.Context()); err != nil {
		t.Error(err)
	}
	f.Close()

	// Of another size: it is asked for at once.
	s.Write(all[3].ID, []byte("longer than that"))
	bigger := o
	bigger.Size = 16
	if got := readAll(t, d, all[3], bigger); got != "longer than that" {
		t.Errorf("read %q", got)
	}
	// Gone, and put there again.
	s.Delete(all[4].ID)
	s.AddFile(s.Mkdir(s.show, "pub/v001"), "0004.exr", []byte("againnew"))
	f = open(t, d, all[4], o)
	_, err = readRange(t, f, 0, 8)
	wantClass(t, err, site.NotReady, "deleted")
	f.Close()
	if got := readAll(t, d, all[4], o); got != "againnew" {
		t.Errorf("read %q", got)
	}
}

// What is remembered of files is bounded.
func TestKnownFilesAreBounded(t *testing.T) {
	var k knownFiles
	var files []*api.File
	for i := range maxKnown + 10 {
		files = append(files, &api.File{Id: fmt.Sprint(i), MimeType: contentType})
	}
	k.add(files, time.Now(), "")
	if n := len(k.files); n != maxKnown {
		t.Errorf("%d are remembered, want %d", n, maxKnown)
	}
}
