package gdrive

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
	"sitesync/site"
)

func TestLook(t *testing.T) {
	t.Parallel()
	const at = "/SHOW/pub/a/b.ma"
	there := func(id string) site.Found {
		return site.Found{
			Object: site.Object{ID: id, MD5: md5Of("content")},
			State:  site.Present,
			Name:   "b.ma",
			Size:   7,
		}
	}
	for name, test := range map[string]struct {
		do   func(s *studio, id string)
		want func(s *studio, id string) site.Found
	}{
		"untouched": {func(*studio, string) {}, func(_ *studio, id string) site.Found { return there(id) }},
		"deleted": {func(s *studio, id string) { s.Delete(id) }, func(*studio, string) site.Found {
			return site.Found{}
		}},
		"in the trash": {func(s *studio, id string) { s.Trash(id) }, func(_ *studio, id string) site.Found {
			f := there(id)
			f.State = site.Trashed
			return f
		}},
		"in the trash with its folder": {func(s *studio, id string) { s.Trash(s.Find(s.show, "pub/a")[0].ID) },
			func(_ *studio, id string) site.Found {
				f := there(id)
				f.State = site.Trashed
				return f
			}},
		"renamed": {func(s *studio, id string) { s.Rename(id, "c.ma") }, func(_ *studio, id string) site.Found {
			f := there(id)
			f.State, f.Name, f.CurrentFolder = site.Moved, "c.ma", "a"
			return f
		}},
		"its folder is renamed": {func(s *studio, id string) { s.Rename(s.Find(s.show, "pub/a")[0].ID, "old") },
			func(_ *studio, id string) site.Found {
				f := there(id)
				f.State, f.CurrentFolder = site.Moved, "old"
				return f
			}},
		"another one in its place": {func(s *studio, id string) {
			s.Delete(id)
			s.AddFile(s.Find(s.show, "pub/a")[0].ID, "b.ma", []byte("other"))
		},
			func(s *studio, _ string) site.Found {
				return site.Found{Object: site.Object{ID: s.Find(s.show, "pub/a/b.ma")[0].ID, MD5: md5Of("other")},
					State: site.Present, Name: "b.ma", Size: 5}
			}},
		"a folder in its place": {func(s *studio, id string) { s.Delete(id); s.Mkdir(s.show, "pub/a/b.ma") },
			func(s *studio, _ string) site.Found {
				return site.Found{Object: site.Object{ID: s.Find(s.show, "pub/a/b.ma")[0].ID}, State: site.Present,
					Name: "b.ma", Folder: true}
			}},
		// Which of the two is the oldest does not matter to whoever looks for one of them.
		"an older one beside it": {func(s *studio, id string) { s.Rename(s.Find(s.show, "pub/a/older")[0].ID, "b.ma") },
			func(_ *studio, id string) site.Found { return there(id) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			s.AddFile(s.Mkdir(s.show, "pub/a"), "older", []byte("other"))
			obj := put(t, s.open(t), at, "content")
			test.do(s, obj.ID)
			looks := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
			before := len(s.Files())
			got, err := looks.Probe(t.Context(), at, obj.ID)
			want := test.want(s, obj.ID)
			want.ByID = name != "untouched"
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if after := len(s.Files()); after != before {
				t.Errorf("%d files and folders have come to Drive", after-before)
			}
		})
	}
}

// Of 1,000 frames each is looked for in one listing. What a listing lacks still is found by its id.
func TestLookIsCheap(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.open(t)
	folder := s.Mkdir(s.show, "pub/a/b")
	for i := range 1000 {
		s.AddFile(folder, fmt.Sprintf("f.%04d.exr", i), nil)
	}
	d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
	s.ResetCalls()
	for i := range 1000 {
		if f, err := d.Probe(t.Context(), fmt.Sprintf("/SHOW/pub/a/b/f.%04d.exr", i), ""); err != nil ||
			f.State != site.Present {
			t.Fatal(f, err)
		}
	}
	if n := s.TotalCalls(); n > 10 {
		t.Errorf("%d calls: %v", n, s.Calls())
	}
	if f, err := d.Probe(t.Context(), "/SHOW/pub/a/elsewhere/f", ""); err != nil || f.State != site.NotFound {
		t.Errorf("%+v, %v", f, err)
	}

	s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
	obj := put(t, s.openAs(t, s.account.Credentials(), "", "/SHOW/pub"), "/SHOW/pub/a/b/new.ma", "content")
	f, err := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub").Probe(t.Context(), "/SHOW/pub/a/b/new.ma", obj.ID)
	if err != nil || f.State != site.Present || f.ID != obj.ID || f.MD5 != md5Of("content") {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestLookWithoutARoot(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
	_, err := d.Probe(t.Context(), "/SHOW/pub/a/b.ma", "id")
	wantClass(t, err, site.Unavailable, "/SHOW/pub", "create or share it")
	if files := s.Files(); len(files) != 0 {
		t.Errorf("it has made %v", files)
	}
	s.Mkdir(s.show, "pub")
	s.AddFault(drive.Fault{Kind: "files.get", Effect: drive.EffectStatus, Status: 500})
	_, err = s.openAs(t, s.account.Credentials(), "", "/SHOW/pub").Probe(t.Context(), "/SHOW/pub/a/b.ma", "id")
	wantClass(t, err, site.Transient, "500")
}
