package gdrive

import (
	"fmt"
	"strings"
	"testing"

	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
	"sitesync/site"
)

// revisions are how often the content of each item was written.
func (s *studio) revisions() map[string]int64 {
	out := map[string]int64{}
	for _, f := range s.Files() {
		out[f.ID] = f.Revision
	}
	return out
}

// twin puts something of a name into a folder.
type twin struct {
	what string
	add  func(s *studio, folder, name string) (id string)
}

var (
	aFile     = twin{"file", func(s *studio, in, name string) string { return s.AddFile(in, name, []byte("theirs")) }}
	aFolder   = twin{"folder", func(s *studio, in, name string) string { return s.AddFolder(in, name) }}
	aDoc      = twin{"Doc", func(s *studio, in, name string) string { return s.AddDoc(in, name) }}
	toAFolder = twin{"shortcut to a folder", func(s *studio, in, name string) string {
		return s.AddShortcut(in, name, s.AddFolder(s.show.ID, "elsewhere"))
	}}
	toAFile = twin{"shortcut to a file", func(s *studio, in, name string) string {
		return s.AddShortcut(in, name, s.AddFile(s.show.ID, "elsewhere", []byte("kept")))
	}}
)

// A file is taken for a file and a folder for a folder, whatever else has the name and whichever is older, and nothing
// but a file is ever written to.
func TestTwins(t *testing.T) {
	t.Parallel()
	for _, first := range []twin{aFile, aFolder, aDoc, toAFolder, toAFile} {
		for _, second := range []twin{aFile, aFolder, aDoc, toAFolder, toAFile} {
			for _, how := range []string{"", ", long folder"} {
				t.Run(first.what+" and "+second.what+how, func(t *testing.T) {
					t.Parallel()
					s := newStudio(t)
					pub := s.Mkdir(s.show, "pub")
					ids := map[string]string{second.what: second.add(s, pub, "x")}
					ids[first.what] = first.add(s, pub, "x")
					if how != "" {
						s.makeLong(t, pub)
					}
					before := s.revisions()
					d := s.open(t)

					obj := put(t, d, "/SHOW/pub/x", "ours")
					if id, ok := ids["file"]; ok && first.what != second.what && obj.ID != id {
						t.Error("the file was not written to")
					}
					put(t, d, "/SHOW/pub/x", "ours again")
					if again := put(t, s.openAs(t, s.account.Credentials(), "", "/SHOW/pub"), "/SHOW/pub/x",
						"by the next"); again.ID != obj.ID {
						t.Error("the next process has made another file")
					}

					in := put(t, d, "/SHOW/pub/x/y", "in the folder")
					f, _ := s.Get(in.ID)
					folder, _ := s.Get(f.Parent)
					switch {
					case ids["folder"] != "" && first.what != second.what:
						if f.Parent != ids["folder"] {
							t.Errorf("it is in %+v", folder)
						}
					case ids["shortcut to a folder"] != "" && ids["folder"] == "":
						if folder.Path != "elsewhere" {
							t.Errorf("it is in %+v", folder)
						}
					case !folder.Folder || folder.Path != "pub/x":
						t.Errorf("it is in %+v", folder)
					}
					for id, revision := range s.revisions() {
						if was, ok := before[id]; ok && id != obj.ID && revision != was {
							got, _ := s.Get(id)
							t.Errorf("%+v was written to", got)
						}
					}
				})
			}
		}
	}
}

// makeLong fills a folder, so that its listing has too many pages to be read.
func (s *studio) makeLong(t *testing.T, folder string) {
	t.Helper()
	for i := range 150 {
		s.AddFile(folder, fmt.Sprintf("other %d", i), nil)
	}
	s.UpdateSettings(func(set *drive.Settings) { set.PageLimit = 1 })
}

// A shortcut to a folder is as good as the folder, wherever it is, also as a root.
func TestShortcuts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		root    string
		prepare func(s *studio) (at drive.Place, path string) // where the root is
	}{
		"root": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			s.AddShortcut(s.show.ID, "pub", s.Mkdir(s.show, "a/b"))
			return s.show, "a/b/"
		}},
		"above the root": {"/SHOW/short/pub", func(s *studio) (drive.Place, string) {
			s.Mkdir(s.show, "a/b/pub")
			s.AddShortcut(s.show.ID, "short", s.Mkdir(s.show, "a/b"))
			return s.show, "a/b/pub/"
		}},
		"below the root": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			s.AddShortcut(s.Mkdir(s.show, "pub"), "shot", s.Mkdir(s.show, "a/shot"))
			return s.show, "a/"
		}},
		"another drive": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			other := s.AddSharedDrive("OTHER")
			other.AddMember(s.account, drive.ContentManager)
			s.AddShortcut(s.show.ID, "pub", s.Mkdir(other, "a"))
			return other, "a/"
		}},
		"another drive as a whole": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			other := s.AddSharedDrive("OTHER")
			other.AddMember(s.account, drive.ContentManager)
			s.AddShortcut(s.show.ID, "pub", other.ID)
			return other, ""
		}},
		"a part of a drive that is shared with us": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			other := s.AddSharedDrive("OTHER")
			id := s.Mkdir(other, "a")
			s.Share(id, s.account, drive.Writer)
			s.AddShortcut(s.show.ID, "pub", id)
			return other, "a/"
		}},
		"My Drive": {"/My Drive/pub", func(s *studio) (drive.Place, string) {
			s.AddShortcut(s.account.RootID(), "pub", s.Mkdir(s.show, "a"))
			return s.show, "a/"
		}},
		"to what is above it": {"/SHOW/pub", func(s *studio) (drive.Place, string) {
			pub := s.Mkdir(s.show, "pub")
			s.AddShortcut(pub, "shot", pub)
			return s.show, "pub/"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			at, path := test.prepare(s)
			d := s.openAs(t, s.account.Credentials(), "", test.root)
			if err := d.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			place := path + "shot/a.exr"
			if name == "to what is above it" {
				place = path + "a.exr"
			}
			first := put(t, d, test.root+"/shot/a.exr", "a")
			s.wantOne(t, at, place, "a")
			s.doubtAll(d)
			if again := put(t, d, test.root+"/shot/a.exr", "bb"); again.ID != first.ID {
				t.Error("a second file was made")
			}
			s.wantOne(t, at, place, "bb")
			if f, err := s.openAs(t, s.account.Credentials(), "", test.root).Probe(t.Context(),
				test.root+"/shot/a.exr", first.ID); err != nil ||
				f.State != site.Present ||
				f.ID != first.ID {
				t.Errorf("looked, and found %+v, %v", f, err)
			}
			if dup := s.Duplicates(); len(dup) > 0 {
				t.Error("duplicates:", dup)
			}
		})
	}
}

// A shortcut that leads nowhere is told of.
func TestBrokenShortcuts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do   func(s *studio, id string)
		word string
	}{
		"trashed": {func(s *studio, id string) { s.Trash(id) }, "is in the trash"},
		"deleted": {func(s *studio, id string) { s.Delete(id) },
			"is gone, or is not shared with sync@studio.iam.example"},
		"not shared": {func(*studio, string) {}, "is gone, or is not shared with sync@studio.iam.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			pub := s.Mkdir(s.show, "pub")
			id := s.Mkdir(s.show, "target")
			if name == "not shared" {
				id = s.Mkdir(s.AddUser("owner@studio.example"), "target")
			}
			s.AddShortcut(pub, "shot", id)
			test.do(s, id)
			d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
			_, err := d.Put(t.Context(), upload("/SHOW/pub/shot/a", []byte("a")))
			wantClass(t, err, site.FileError, "/SHOW/pub/shot is a shortcut", test.word)
			root := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub/shot")
			_, err = root.Put(t.Context(), upload("/SHOW/pub/shot/a", []byte("a")))
			wantClass(t, err, site.Unavailable, "/SHOW/pub/shot is a shortcut", test.word)
			wantClass(t, root.Check(t.Context()), site.Unavailable, "/SHOW/pub/shot is a shortcut", test.word)
		})
	}
}

// A shortcut that is pointed elsewhere, or gives way to a folder, is followed anew.
func TestShortcutChanges(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	pub := s.Mkdir(s.show, "pub")
	old := s.AddShortcut(pub, "shot", s.Mkdir(s.show, "first"))
	d := s.open(t)
	put(t, d, "/SHOW/pub/shot/a", "1")
	s.Delete(old)
	s.AddShortcut(pub, "shot", s.Mkdir(s.show, "second"))
	s.doubtAll(d)
	put(t, d, "/SHOW/pub/shot/a", "22")
	s.wantOne(t, s.show, "first/a", "1")
	s.wantOne(t, s.show, "second/a", "22")
	s.Trash(s.Find(s.show, "second")[0].ID)
	s.Delete(s.Find(s.show, "pub/shot")[0].ID)
	put(t, d, "/SHOW/pub/shot/b", "b")
	s.wantOne(t, s.show, "pub/shot/b", "b")
}

// On Drive the composed and the decomposed form of a name are one, in new processes too, and of a folder whose names
// are asked for one by one.
func TestNameForms(t *testing.T) {
	t.Parallel()
	const composed, decomposed = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
	for _, old := range []string{composed, decomposed} {
		for _, long := range []bool{false, true} {
			for _, lag := range []bool{false, true} {
				t.Run(fmt.Sprintf("%+q, long %t, lag %t", old, long, lag), func(t *testing.T) {
					t.Parallel()
					s, j := newStudio(t), newKept()
					pub := s.Mkdir(s.show, "pub")
					if long {
						s.makeLong(t, pub)
					}
					if lag {
						s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = 1 << 50 })
					}
					other := strings.ReplaceAll(composed+decomposed, old, "")
					p := func(name string) string { return "/SHOW/pub/" + name + "/" + name + ".exr" }
					d := s.next(t, j)
					first := put(t, d, p(old), "1")
					if f, _ := s.Get(first.ID); f.Name != old+".exr" {
						t.Errorf("the file is called %+q", f.Name)
					}
					if obj := put(t, d, p(other), "22"); obj.ID != first.ID {
						t.Error("another form is another file")
					}
					d = s.next(t, j)
					if obj := put(t, d, p(other), "333"); obj.ID != first.ID {
						t.Error("the next process has made another one")
					}
					if n := len(s.Files()); n != 3 && !long {
						t.Errorf("%d files and folders", n)
					}
				})
			}
		}
	}
}

// A root below another is no more created than any, and what names like a root is none.
func TestNestedRoots(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.Mkdir(s.show, "pub")
	d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub", "/SHOW/pub/a/inner")
	for _, p := range []string{"/SHOW/pub/a/inner/x", "/SHOW/pub/a/x"} {
		_, err := d.Put(t.Context(), upload(p, []byte("x")))
		wantClass(t, err, site.Unavailable, "there is no folder /SHOW/pub/a ")
	}
	put(t, d, "/SHOW/pub/abc/x", "x")
	s.Mkdir(s.show, "pub/a")
	s.doubtAll(d)
	_, err := d.Put(t.Context(), upload("/SHOW/pub/a/inner/x", []byte("x")))
	wantClass(t, err, site.Unavailable, "there is no folder /SHOW/pub/a/inner ")
	wantClass(t, d.Check(t.Context()), site.Unavailable, "root /SHOW/pub/a/inner:")
	put(t, d, "/SHOW/pub/a/inner2/x", "x")
	put(t, d, "/SHOW/pub/a/x", "x")
	if len(s.Find(s.show, "pub/a/inner")) > 0 {
		t.Error("a root was made")
	}
}

// Publishers write {root[work]}jects/... where the text of a root is how another folder begins: that folder is made
// beside the root. Another root is not, nor a shared drive.
func TestFolderBesideARoot(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.Mkdir(s.show, "pro")
	d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pro", "/SHOW/productions")
	put(t, d, "/SHOW/projects/a/x", "x")
	if len(s.Find(s.show, "projects/a/x")) != 1 {
		t.Error("it is not beside the root")
	}
	for _, p := range []string{"/SHOW/productions/x", "/SHOW/other/x", "/SHOW2/x"} {
		_, err := d.Put(t.Context(), upload(p, []byte("x")))
		wantClass(t, err, site.Unavailable)
	}
}

// Names are what people type, on a listing as well as in queries for single names.
func TestOddNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"line\nbreak",
		"carriage\r\nreturn",
		"tab\t",
		`q"uo"te's`,
		`back\slash`,
		` blank `,
		"🎬",
		"%2F",
		"a' or name != 'b",
		"*?",
		"...",
	}
	for _, long := range []bool{false, true} {
		s, j := newStudio(t), newKept()
		pub := s.Mkdir(s.show, "pub")
		if long {
			s.makeLong(t, pub)
		}
		for i := range 3 {
			d := s.next(t, j)
			for _, name := range names {
				for _, p := range []string{name, name + "folder/" + name} {
					put(t, d, "/SHOW/pub/"+p, strings.Repeat("x", i))
					s.wantOne(t, s.show, "pub/"+p, strings.Repeat("x", i))
				}
			}
		}
		if dup := s.Duplicates(); len(dup) > 0 {
			t.Error("duplicates:", dup)
		}
	}
}

// Items of old may be in several folders, in whatever order Drive tells them.
func TestSeveralParents(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"pub/shot", "pub/shot/a"} {
		s := newStudio(t)
		user := s.AddUser("artist@studio.example")
		other := s.Mkdir(user, "other")
		s.Mkdir(user, "pub")
		d := s.openAs(t, user.Credentials(), "", "/My Drive/pub")
		first := put(t, d, "/My Drive/pub/shot/a", "1")
		s.AddParent(s.Find(user, what)[0].ID, other)
		for i := range 3 {
			if obj := put(t, d, "/My Drive/pub/shot/a", strings.Repeat("2", 2+i)); obj.ID != first.ID {
				t.Error("a second file was made")
			}
			s.doubtAll(d)
		}
	}
	f := &api.File{Name: "a", Parents: []string{"other", "pub"}}
	if !isAt(f, "pub", "a") || !isAt(f, "other", "a") || isAt(f, "third", "a") || isAt(f, "", "a") {
		t.Error("it is not where it is")
	}
}

// Drive may forget a listing between two pages.
func TestLostListing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404} {
		s := newStudio(t)
		pub := s.Mkdir(s.show, "pub")
		var ids []string
		for i := range 30 {
			ids = append(ids, s.AddFile(pub, fmt.Sprint(i), []byte("x")))
		}
		s.UpdateSettings(func(set *drive.Settings) { set.PageLimit = 10 })
		d := s.open(t)
		fault := s.AddFault(
			drive.Fault{Kind: "files.list", Skip: 3, Count: 1, Effect: drive.EffectStatus, Status: status},
		)
		for i, id := range ids {
			if obj := put(t, d, fmt.Sprint("/SHOW/pub/", i), "new"); obj.ID != id {
				t.Errorf("a second file %d", i)
			}
		}
		if fault.Hits() != 1 {
			t.Error("no listing was lost")
		}
		s.wantCalls(t, "files.list", 1+3+3)
	}
}

// What a person has renamed, moved or trashed since we wrote it keeps its content, as does what is in a folder that
// was.
func TestCopiesKeepTheirContent(t *testing.T) {
	t.Parallel()
	for how, take := range map[string]func(s *studio, d *Site, id string){
		"renamed": func(s *studio, _ *Site, id string) { s.Rename(id, "approved") },
		"moved":   func(s *studio, d *Site, id string) { s.move(t, d, id) },
		"trashed": func(s *studio, _ *Site, id string) { s.Trash(id) },
	} {
		for _, what := range []string{"pub/shot/v001/a.exr", "pub/shot/v001", "pub/shot"} {
			for size, content := range map[string]string{"same size": "dlo content", "other": "new",
				"large": large(testLimit + 1)} {
				for _, lag := range []bool{false, true} {
					t.Run(strings.Join([]string{what, how, size, fmt.Sprint(lag)}, " "), func(t *testing.T) {
						t.Parallel()
						s := newStudio(t)
						if lag {
							s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = 1 << 50 })
						}
						d := s.open(t)
						old := put(t, d, "/SHOW/pub/shot/v001/a.exr", "old content")
						take(s, d, s.Find(s.show, what)[0].ID)
						obj := put(t, d, "/SHOW/pub/shot/v001/a.exr", content)
						if f, _ := s.Get(old.ID); obj.ID == old.ID || f.MD5 != md5Of("old content") {
							t.Errorf("it was written to: %+v", f)
						}
						s.wantOne(t, s.show, "pub/shot/v001/a.exr", content)
						if again := put(t, d, "/SHOW/pub/shot/v001/a.exr", "again"); again.ID != obj.ID {
							t.Error("a third file was made")
						}
					})
				}
			}
		}
	}
}

// A file is written to at the cost of one request more, and of one more for each folder below the root, unless a
// listing has just shown it.
func TestCallsOfUpdates(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	pub := s.Mkdir(s.show, "pub")
	for i := range 20 {
		s.AddFile(pub, fmt.Sprint(i), []byte("old"))
	}
	d := s.open(t)
	put(t, d, "/SHOW/pub/0", "other")
	s.ResetCalls()
	for i := 1; i < 20; i++ {
		put(t, d, fmt.Sprint("/SHOW/pub/", i), "other")
	}
	if n := s.TotalCalls(); n != 19 {
		t.Errorf("%d calls for 19 files: %v", n, s.Calls())
	}
	s.ResetCalls()
	put(t, d, "/SHOW/pub/0", "another one")
	if n := s.TotalCalls(); n != 2 {
		t.Errorf("%d calls: %v", n, s.Calls())
	}
}
