package gdrive

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
)

// Uploads that race for new folders make each of them once.
func TestFolderRace(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := d.Put(t.Context(), upload(fmt.Sprintf("/SHOW/pub/a/b/%d", i), []byte("x"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.wantCalls(t, "files.create", 2)
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

// Whoever gives up finding a folder does not take those along who wait for it too.
func TestFolderRaceAbandoned(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	ctx, cancel := newCancel(t)
	fault := s.AddFault(drive.Fault{Kind: "files.create", Count: 1, Effect: drive.EffectHang, When: drive.After})
	first, second := make(chan error), make(chan error)
	go func() {
		_, err := d.Put(ctx, upload("/SHOW/pub/a/1", []byte("1")))
		first <- err
	}()
	eventually(t, "the folder is made", func() bool { return fault.Hits() == 1 })
	go func() {
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a/2", []byte("2")))
		second <- err
	}()
	cancel()
	if err := <-first; !interrupted(err) {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	s.wantOne(t, s.show, "pub/a/2", "2")
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

func TestKnownFolderIsNotListed(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.AddFile(s.Mkdir(s.show, "pub/old"), "a", nil)
	put(t, d, "/SHOW/pub/new/0", "0")
	put(t, d, "/SHOW/pub/old/0", "0")
	s.ResetCalls()
	for i := 1; i < 10; i++ {
		put(t, d, fmt.Sprintf("/SHOW/pub/new/%d", i), "x")
		put(t, d, fmt.Sprintf("/SHOW/pub/old/%d", i), "x")
	}
	if got := s.TotalCalls(); got != 18 {
		t.Errorf("%d calls for 18 files: %v", got, s.Calls())
	}
}

// A folder that we made is known to be empty.
func TestNewFolderIsNotListed(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/a/0", "0")
	s.ResetCalls()
	put(t, d, "/SHOW/pub/b/c/0", "0")
	if diff := cmp.Diff(map[string]int{"files.create": 2, "files.create.multipart": 1}, s.Calls()); diff != "" {
		t.Error(diff)
	}
}

// What a person does to a folder that we know is found out with the next file, before it is taken for
// granted.
func TestFolderChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(s *studio, d *Site, top, folder string)
		later  bool // found out only when what we know is no longer fresh
	}{
		{"folder trashed", func(s *studio, _ *Site, _, folder string) { s.Trash(folder) }, false},
		{"folder deleted", func(s *studio, _ *Site, _, folder string) { s.Delete(folder) }, false},
		{"folder above trashed", func(s *studio, _ *Site, top, _ string) { s.Trash(top) }, false},
		{"folder above deleted", func(s *studio, _ *Site, top, _ string) { s.Delete(top) }, false},
		{"folder renamed", func(s *studio, _ *Site, _, folder string) { s.Rename(folder, "other") }, true},
		{"folder above renamed", func(s *studio, _ *Site, top, _ string) { s.Rename(top, "other") }, true},
		{"folder moved", func(s *studio, d *Site, _, folder string) { s.move(t, d, folder) }, true},
		{"folder above moved", func(s *studio, d *Site, top, _ string) { s.move(t, d, top) }, true},
	} {
		for _, file := range []string{"folder/b", "new/b"} {
			t.Run(test.name+"/"+file, func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				put(t, d, "/SHOW/pub/top/folder/a", "1")
				test.change(s, d, s.Find(s.show, "pub/top")[0].ID, s.Find(s.show, "pub/top/folder")[0].ID)
				if test.later {
					s.doubtAll(d)
				}
				put(t, d, "/SHOW/pub/top/"+file, "small")
				s.wantOne(t, s.show, "pub/top/"+file, "small")
				put(t, d, "/SHOW/pub/top/"+file+" large", large(testLimit+1))
				s.wantOne(t, s.show, "pub/top/"+file+" large", large(testLimit+1))
				if dup := s.Duplicates(); len(dup) > 0 {
					t.Error("duplicates:", dup)
				}
			})
		}
	}
}

// move puts an item into another folder, as a person does in the browser.
func (s *studio) move(t *testing.T, d *Site, id string) {
	t.Helper()
	f, _ := s.Get(id)
	_, err := d.api.Files.Update(id, nil).AddParents(s.Mkdir(s.show, "elsewhere")).RemoveParents(f.Parent).
		SupportsAllDrives(true).Do()
	if err != nil {
		t.Fatal(err)
	}
}

// The same for a file that is to be written again.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(s *studio, file string)
		later  bool
	}{
		{"trashed", func(s *studio, file string) { s.Trash(file) }, false},
		{"deleted", func(s *studio, file string) { s.Delete(file) }, false},
		{"renamed", func(s *studio, file string) { s.Rename(file, "other") }, true},
	} {
		for _, content := range []string{"same size", "other"} {
			t.Run(test.name+"/"+content, func(t *testing.T) {
				s := newStudio(t)
				s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("size same"))
				d := s.open(t)
				old := put(t, d, "/SHOW/pub/a", "size  was")
				test.change(s, old.ID)
				if test.later {
					s.forgetWritten(d)
					s.doubtAll(d)
				}
				put(t, d, "/SHOW/pub/a", content)
				if got := s.wantOne(t, s.show, "pub/a", content); got.ID == old.ID {
					t.Error("the old file was written to")
				}
			})
		}
	}
}

// forgetWritten lets everything have been written so long ago that a listing must have it.
func (s *studio) forgetWritten(d *Site) {
	d.folders.mu.Lock()
	defer d.folders.mu.Unlock()
	for _, f := range d.folders.folders {
		for name, e := range f.entries {
			e.written = e.written.Add(-listingLag)
			f.entries[name] = e
		}
	}
}

// What others put into a folder is found, if not at once.
func TestOthersFiles(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/a", "1")
	id := s.AddFile(s.Mkdir(s.show, "pub"), "b", []byte("theirs"))
	s.doubtAll(d)
	if obj := put(t, d, "/SHOW/pub/b", "ours"); obj.ID != id {
		t.Error("a second file was made")
	}
	s.wantOne(t, s.show, "pub/b", "ours")
}

// Of several of one name the oldest is taken, whatever order they are listed in.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	pub := s.Mkdir(s.show, "pub")
	var files, folders []string
	for range 3 {
		files = append(files, s.AddFile(pub, "a", []byte("x")))
		folder := s.AddFolder(pub, "folder")
		folders = append(folders, folder)
		eventually(t, "the next millisecond", func() bool {
			f, _ := s.Get(folder)
			return time.Since(f.CreatedTime) > time.Millisecond
		})
	}
	for range 3 {
		d := s.open(t)
		if obj := put(t, d, "/SHOW/pub/a", "new"); obj.ID != files[0] {
			t.Errorf("wrote to %s, want the oldest of %v", obj.ID, files)
		}
		obj := put(t, d, "/SHOW/pub/folder/b", "new")
		if f, _ := s.Get(obj.ID); f.Parent != folders[0] {
			t.Errorf("wrote into %s, want the oldest of %v", f.Parent, folders)
		}
	}
}

// The same goes for folders that are shared with us.
func TestDuplicateSharedFolders(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	var shared []string
	for i := range 3 {
		owner := s.AddUser(fmt.Sprintf("owner%d@studio.example", i))
		id := s.AddFolder(owner.RootID(), "pub")
		s.Share(id, user, drive.Writer)
		shared = append(shared, id)
		eventually(t, "the next millisecond", func() bool {
			f, _ := s.Get(id)
			return time.Since(f.CreatedTime) > time.Millisecond
		})
	}
	d := s.openAs(t, user.Credentials(), "", "/My Drive/pub")
	obj := put(t, d, "/My Drive/pub/a", "a")
	if f, _ := s.Get(obj.ID); f.Parent != shared[0] {
		t.Errorf("wrote into %s, want the oldest of %v", f.Parent, shared)
	}
}

// A listing that lags behind does not make us forget what we did.
func TestListingLag(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
	d := s.open(t)
	for i := range 3 {
		for _, name := range []string{"a", "folder/a", "folder/large"} {
			content := fmt.Sprint(name, i)
			if name == "folder/large" {
				content = large(testLimit + 1 + i)
			}
			put(t, d, "/SHOW/pub/"+name, content)
			s.wantOne(t, s.show, "pub/"+name, content)
		}
		s.doubtAll(d)
	}
}

// A folder is listed page by page, however short they are; one that is too long for that is asked for single names.
func TestLongFolder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		files, perPage, lists int
	}{
		{30, 0, 1 + 1},    // the roots' parent, and all in one page
		{30, 1000, 1 + 1}, // the same
		{30, 10, 1 + 3},
		{30, 1, 1 + 30},
		{150, 1, 1 + sparePages + 13 + 4}, // too many pages, and each name by itself
	} {
		s := newStudio(t)
		pub := s.Mkdir(s.show, "pub")
		var ids []string
		for i := range test.files {
			ids = append(ids, s.AddFile(pub, fmt.Sprint(i), []byte("x")))
		}
		s.UpdateSettings(func(set *drive.Settings) { set.PageLimit = test.perPage })
		d := s.open(t)
		for _, name := range []int{0, 15, 29} {
			if obj := put(t, d, fmt.Sprintf("/SHOW/pub/%d", name), "new"); obj.ID != ids[name] {
				t.Errorf("%d a page: a second file %d", test.perPage, name)
			}
		}
		put(t, d, "/SHOW/pub/new", "new")
		if got := s.Calls()["files.list"]; got > test.lists {
			t.Errorf("%d files, %d a page: %d lists, want at most %d", test.files, test.perPage, got, test.lists)
		}
		if dup := s.Duplicates(); len(dup) > 0 {
			t.Error("duplicates:", dup)
		}
	}
}

// What was not used for long is forgotten, and found again.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	old := put(t, d, "/SHOW/pub/old/a", "1")
	put(t, d, "/SHOW/pub/used/a", "1")
	put(t, d, "/SHOW/pub/used/b", "1")
	d.folders.mu.Lock()
	long := 2 * listingLag
	used := d.folders.paths["/SHOW/pub/used"].folder
	b := used.entries[item{"b", fileItem}]
	b.seen, b.written = b.seen.Add(-long), b.written.Add(-long)
	used.entries[item{"b", fileItem}] = b
	used.listed = used.listed.Add(-long)
	l := d.folders.paths["/SHOW/pub/old"]
	l.seen = l.seen.Add(-long)
	l.folder.used = l.folder.used.Add(-long)
	d.folders.evicted = d.folders.evicted.Add(-long)
	d.folders.mu.Unlock()
	put(t, d, "/SHOW/pub/new/a", "1")
	d.folders.mu.Lock()
	if diff := cmp.Diff([]string{"/SHOW", "/SHOW/pub", "/SHOW/pub/new", "/SHOW/pub/used"},
		slices.Sorted(maps.Keys(d.folders.paths))); diff != "" {
		t.Error(diff)
	}
	if len(d.folders.folders) != 4 || len(used.entries) != 1 {
		t.Errorf("%d folders and %v are known", len(d.folders.folders), used.entries)
	}
	d.folders.mu.Unlock()
	if obj := put(t, d, "/SHOW/pub/old/a", "22"); obj.ID != old.ID {
		t.Error("a second file was made")
	}
	put(t, d, "/SHOW/pub/used/b", "22")
	s.wantOne(t, s.show, "pub/used/b", "22")
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a": `'a'`, "": `''`, "it's": `'it\'s'`, `a\b`: `'a\\b'`, `\'`: `'\\\''`, `"%`: `'"%'`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// memory is what is remembered, as the tree counts it, bytes.
func (t *folderCache) memory() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := folderCost * (len(t.paths) + len(t.folders))
	for _, f := range t.folders {
		known += f.cost()
	}
	return known
}

// Memory is bounded, however much is uploaded; what was forgotten is not made twice, also if listings don't show it.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	d := s.next(t, j)
	d.folders.maxBytes = 80 * folderCost
	path := func(i int) string { return fmt.Sprintf("/SHOW/pub/v%03d/a", i) }
	for range 2 {
		for i := range 100 {
			put(t, d, path(i), fmt.Sprint(i))
			if known := d.folders.memory(); known > d.folders.maxBytes+2*folderCost {
				t.Fatalf("%d bytes are remembered", known)
			}
		}
	}
	for i := range 100 {
		s.wantOne(t, s.show, strings.TrimPrefix(path(i), "/SHOW/"), fmt.Sprint(i))
	}
	if n := len(s.Find(s.show, "pub/v000")); n != 1 {
		t.Errorf("%d folders", n)
	}
}
