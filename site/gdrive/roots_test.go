package gdrive

import (
	"strings"
	"testing"

	"sitesync/integration/drive"
	"sitesync/site"
)

// A root may be any folder of My Drive, of a shared drive, or shared with the account.
func TestRoots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, root string
		prepare    func(s *studio, user *drive.Account) (at drive.Place, path string) // where the root is
	}{
		{"My Drive", "/My Drive", func(s *studio, user *drive.Account) (drive.Place, string) {
			return user, ""
		}},
		{"folder of My Drive", "/My Drive/a/b", func(s *studio, user *drive.Account) (drive.Place, string) {
			s.Mkdir(user, "a/b")
			return user, "a/b/"
		}},
		{"shared drive", "/SHOW", func(s *studio, user *drive.Account) (drive.Place, string) {
			return s.show, ""
		}},
		{"folder of a shared drive", "/SHOW/a/b/", func(s *studio, user *drive.Account) (drive.Place, string) {
			s.Mkdir(s.show, "a/b")
			return s.show, "a/b/"
		}},
		{"shared folder", "/My Drive/theirs", func(s *studio, user *drive.Account) (drive.Place, string) {
			owner := s.AddUser("owner@studio.example")
			s.Share(s.Mkdir(owner, "deep/theirs"), user, drive.Writer)
			return owner, "deep/theirs/"
		}},
		{"folder of a shared folder", "/My Drive/theirs/b", func(s *studio, user *drive.Account) (drive.Place, string) {
			owner := s.AddUser("owner@studio.example")
			s.Mkdir(owner, "deep/theirs/b")
			s.Share(s.Mkdir(owner, "deep/theirs"), user, drive.Writer)
			return owner, "deep/theirs/b/"
		}},
		{"own folder before a shared one", "/My Drive/name", func(s *studio,
			user *drive.Account) (drive.Place, string) {
			owner := s.AddUser("owner@studio.example")
			s.Share(s.Mkdir(owner, "name"), user, drive.Writer)
			s.Mkdir(user, "name")
			return user, "name/"
		}},
		{"shared folder of a shared drive", "/My Drive/part", func(s *studio,
			user *drive.Account) (drive.Place, string) {
			other := s.AddSharedDrive("OTHER")
			s.Share(s.Mkdir(other, "a/part"), user, drive.Writer)
			return other, "a/part/"
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStudio(t)
			user := s.AddUser("artist@studio.example")
			s.show.AddMember(user, drive.ContentManager)
			at, path := test.prepare(s, user)
			d := s.openAs(t, user.Credentials(), "", test.root)
			if err := d.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			root := strings.TrimSuffix(test.root, "/")
			put(t, d, root+"/shot/a.exr", "a")
			s.wantOne(t, at, path+"shot/a.exr", "a")
			put(t, d, root+"/shot/a.exr", "bb")
			s.wantOne(t, at, path+"shot/a.exr", "bb")
			s.doubtAll(d)
			put(t, d, root+"/shot/b.exr", "b")
			s.wantOne(t, at, path+"shot/b.exr", "b")
		})
	}
}

// doubtAll makes the site look at every folder again.
func (s *studio) doubtAll(d *Site) {
	d.folders.mu.Lock()
	defer d.folders.mu.Unlock()
	for _, l := range d.folders.paths {
		l.seen = l.seen.Add(-folderTTL)
	}
	for _, f := range d.folders.folders {
		f.listed, f.stays = f.listed.Add(-folderTTL), 0
		f.asked = nil
		for name, e := range f.entries {
			e.seen = e.seen.Add(-folderTTL)
			f.entries[name] = e
		}
	}
}

// What is wrong with a root is the site's trouble, and no root is ever created.
func TestBadRoots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, root string
		prepare    func(*studio)
		words      []string
	}{
		{"no such shared drive", "/NONE/pub", nil, []string{`"NONE"`, "sync@studio.iam.example",
			"add it as Content manager"}},
		{"two shared drives of a name", "/TWIN/pub", func(s *studio) {
			for range 2 {
				d := s.AddSharedDrive("TWIN")
				d.AddMember(s.account, drive.ContentManager)
			}
		}, []string{`2 shared drives are called "TWIN"`, "rename"}},
		{"no such folder", "/SHOW/none/pub", nil, []string{"no folder /SHOW/none ", "create or share it, or fix root"}},
		{"no such folder in My Drive", "/My Drive/none", nil, []string{"no folder /My Drive/none ",
			"shared with sync@"}},
		{"in the trash", "/SHOW/gone", func(s *studio) { s.Trash(s.Mkdir(s.show, "gone")) },
			[]string{"no folder /SHOW/gone "}},
		{"a file", "/SHOW/file", func(s *studio) { s.AddFile(s.show.ID, "file", nil) },
			[]string{"/SHOW/file is a file on Drive", "fix root"}},
		{"below a file", "/SHOW/file/pub", func(s *studio) { s.AddFile(s.show.ID, "file", nil) },
			[]string{"/SHOW/file is a file on Drive"}},
		{"only readable", "/READ/pub", func(s *studio) {
			d := s.AddSharedDrive("READ")
			s.Mkdir(d, "pub")
			d.AddMember(s.account, drive.Reader)
		}, []string{"can't be written to by sync@studio.iam.example", "Content manager"}},
		{"no storage", "/My Drive/theirs", func(s *studio) {
			s.Share(s.Mkdir(s.AddUser("owner@studio.example"), "theirs"), s.account, drive.Writer)
		}, []string{"service accounts own none", "shared drive", `"subject"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStudio(t)
			if test.prepare != nil {
				test.prepare(s)
			}
			before := len(s.Files())
			d := s.openAs(t, s.account.Credentials(), "", test.root)
			wantClass(t, d.Check(t.Context()), site.Unavailable, append(test.words, "root "+test.root)...)
			_, err := d.Put(t.Context(), upload(test.root+"/a.exr", []byte("a")))
			wantClass(t, err, site.Unavailable, test.words...)
			if got := len(s.Files()); got != before {
				t.Errorf("%d files and folders, were %d", got, before)
			}
		})
	}
}

func TestFullStorage(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	d := s.openAs(t, user.Credentials(), "", "/My Drive")
	s.UpdateSettings(func(set *drive.Settings) { set.UserStorage = 10 })
	put(t, d, "/My Drive/a.exr", "0123456789")
	_, err := d.Put(t.Context(), upload("/My Drive/b.exr", []byte("b")))
	wantClass(t, err, site.Unavailable, "there is no storage left")
	wantClass(t, d.Check(t.Context()), site.Unavailable, "there is no storage left")
	s.UpdateSettings(func(set *drive.Settings) { set.UserStorage = 20 })
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every root is checked, and told of.
func TestSeveralRoots(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.Mkdir(s.show, "a")
	s.Mkdir(s.show, "b/c")
	d := s.openAs(t, s.account.Credentials(), "", "/SHOW/a", "/SHOW/x", "/SHOW/b/c", "/SHOW/y")
	wantClass(t, d.Check(t.Context()), site.Unavailable, "root /SHOW/x:", "root /SHOW/y:")
	put(t, d, "/SHOW/a/f", "1")
	put(t, d, "/SHOW/b/c/f", "2")
	_, err := d.Put(t.Context(), upload("/SHOW/b/f/f", []byte("3")))
	wantClass(t, err, site.Unavailable, "no folder /SHOW/b/f ")
	s.wantOne(t, s.show, "a/f", "1")
	s.wantOne(t, s.show, "b/c/f", "2")
}

// A root that comes back, also another one of that name, is found by Check.
func TestRootComesBack(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/a", "1")
	s.Delete(s.Find(s.show, "pub")[0].ID)
	_, err := d.Put(t.Context(), upload("/SHOW/pub/b", []byte("2")))
	wantClass(t, err, site.Unavailable, "no folder /SHOW/pub ")
	s.Mkdir(s.show, "pub")
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, d, "/SHOW/pub/b", "2")
	s.wantOne(t, s.show, "pub/b", "2")
}

// A single file or folder that can't be written to is no reason to hold the site.
func TestForbiddenFile(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("old"))
	d := s.open(t)
	s.AddFault(
		drive.Fault{
			Kind:   "files.update*",
			Effect: drive.EffectStatus,
			Status: 403,
			Reason: "insufficientFilePermissions",
		},
	)
	_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte("content")))
	wantClass(t, err, site.FileError, "insufficientFilePermissions")
}
