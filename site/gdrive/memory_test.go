package gdrive

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sitesync/integration/drive"
)

// callsAFile uploads n files, several at once, and returns how many requests Drive got for one, and how much memory is
// remembered at the most, bytes, as the tree counts it.
func (s *studio) callsAFile(t *testing.T, d *Site, n int, path func(int) string) (calls float64, memory int) {
	t.Helper()
	s.ResetCalls()
	var g errgroup.Group
	g.SetLimit(8)
	var most atomic.Int64
	for i := range n {
		g.Go(func() error {
			_, err := d.Put(t.Context(), upload(path(i), []byte("x")))
			if i%100 == 0 {
				most.Store(max(most.Load(), int64(d.folders.memory())))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return float64(s.TotalCalls()) / float64(n), int(most.Load())
}

func newQuiet(t *testing.T) *studio {
	s := &studio{Server: drive.StartTest(t, drive.Options{Discard: true})}
	s.account = s.AddServiceAccount("sync@studio.iam.example")
	s.show = s.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.ContentManager)
	return s
}

// A new file in a folder of many costs one request, and little memory.
func TestCallsInALargeFolder(t *testing.T) {
	s := newQuiet(t)
	pub := s.Mkdir(s.show, "pub")
	for i := range 20_000 {
		s.AddFile(pub, fmt.Sprintf("old%05d", i), nil)
	}
	d := s.open(t)
	calls, memory := s.callsAFile(t, d, 3000, func(i int) string { return fmt.Sprintf("/SHOW/pub/new%05d", i) })
	t.Logf("%.3f calls a file, %d bytes", calls, memory)
	if calls > 1.05 || memory > maxCacheBytes {
		t.Errorf("%.3f calls a file, %d bytes", calls, memory)
	}
	// The uploader tells what comes next into the folder.
	old := make([]string, 300)
	for i := range old {
		old[i] = fmt.Sprintf("/SHOW/pub/old%05d", i)
	}
	s.ResetCalls()
	for i, p := range old {
		u := upload(p, []byte("changed"))
		u.Upcoming = func() []string { return old[i:] }
		if _, err := d.Put(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if calls := float64(s.TotalCalls()) / float64(len(old)); calls > 1.1 {
		t.Errorf("%.3f calls a file that is there: %v", calls, s.Calls())
	}
}

// So does one in each of many folders that are in use in turns.
func TestCallsInManyFolders(t *testing.T) {
	s := newQuiet(t)
	d := s.open(t)
	const folders = 3000
	path := func(i int) string { return fmt.Sprintf("/SHOW/pub/v%04d/%d", i%folders, i) }
	s.callsAFile(t, d, folders, path)
	calls, memory := s.callsAFile(t, d, folders, func(i int) string { return path(folders + i) })
	t.Logf("%.3f calls a file, %d bytes", calls, memory)
	if calls > 1.05 || memory > maxCacheBytes {
		t.Errorf("%.3f calls a file, %d bytes: %v", calls, memory, s.Calls())
	}
}

// What is remembered takes as much as the tree counts, or less.
func TestCostsAreTrue(t *testing.T) {
	var s Site
	s.folders = newFolderCache(&s)
	s.ids = newIDPool(noopJournal{}, "", nil)
	s.folders.maxBytes = 1 << 40
	heap := func() int {
		runtime.GC()
		runtime.GC() // also what was to be finalized
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	id := func(i int) string { return fmt.Sprintf("1%032d", i) }
	measure := func(what string, do func()) {
		before, counted := heap(), s.folders.memory()
		do()
		took, counted := heap()-before, s.folders.memory()-counted
		t.Logf("%s: %d bytes, counted as %d", what, took, counted)
		if took > counted*3/2 {
			t.Errorf("%s: %d bytes, counted as %d", what, took, counted)
		}
	}
	measure("2000 folders of 4 files", func() {
		for i := range 2000 {
			f := s.folders.found(
				fmt.Sprintf("/SHOW/pub/shots/%04d/publish/render/v001", i),
				&location{folder: s.folders.folder(id(i), id(0)), item: id(i)},
			)
			for k := range 4 {
				s.folders.put(f, fmt.Sprintf("show_seq_shot_render_v001.%04d.exr", k), entry{id: id(i*10 + k)})
			}
		}
	})
	measure("40000 names in a folder", func() {
		f := s.folders.folder(id(1), "")
		for i := range uint64(40_000) {
			f.addName(i*0x9e3779b97f4a7c15, 0)
		}
	})
	runtime.KeepAlive(&s)
}

// A folder that is forgotten while uploads into it run is not forgotten what they did to it: no second file comes to
// be, also if listings do not show the first.
func TestForgottenWhileUploading(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	d := s.next(t, j)
	forget := func() {
		d.folders.mu.Lock()
		for _, f := range d.folders.folders {
			f.used = f.used.Add(-2 * listingLag)
		}
		d.folders.evict()
		d.folders.mu.Unlock()
	}
	put(t, d, "/SHOW/pub/v001/first", "1")
	for i, kind := range []string{"files.create.multipart", "files.generateIds"} {
		// The upload of one file runs, or gets an id, the folder is forgotten, another upload finds it again, and the
		// first ends.
		m := &meanwhile{authTransport: d.client.Transport.(*authTransport), kind: kind}
		m.do = func() {
			d.client.Transport = m.authTransport // it comes once, and the upload in between must not wait for it
			forget()
			if kind == "files.create.multipart" {
				put(t, d, "/SHOW/pub/v001/between", "1")
			}
		}
		d.client.Transport = m
		d.ids.mu.Lock()
		d.ids.free = nil
		d.ids.mu.Unlock()
		put(t, d, fmt.Sprintf("/SHOW/pub/v001/a%d", i), "1")
		d.client.Transport = m.authTransport
	}
	for range 2 {
		for _, name := range []string{"first", "a0", "a1", "between"} {
			put(t, d, "/SHOW/pub/v001/"+name, "22")
		}
		forget()
	}
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

// A folder is found again when the one above it was moved, and not where it went with that one, however fresh what we
// know of it is.
func TestLeafOfAMovedParent(t *testing.T) {
	t.Parallel()
	for _, expire := range []string{"seen", "forgotten"} {
		s := newStudio(t)
		d := s.open(t)
		put(t, d, "/SHOW/pub/shot/v001/a", "1")
		s.Rename(s.Find(s.show, "pub/shot")[0].ID, "omitted")
		d.folders.mu.Lock()
		if expire == "seen" {
			l := d.folders.paths["/SHOW/pub/shot"]
			l.seen = l.seen.Add(-folderTTL)
		} else {
			delete(d.folders.paths, "/SHOW/pub/shot")
			for _, f := range d.folders.folders {
				f.listed = time.Time{}
				f.entries = nil
			}
		}
		d.folders.mu.Unlock()
		put(t, d, "/SHOW/pub/shot/v001/b", "1")
		s.wantOne(t, s.show, "pub/shot/v001/b", "1")
	}
}
