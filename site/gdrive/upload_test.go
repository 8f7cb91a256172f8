package gdrive

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
	"sitesync/site"
)

const mib = 1 << 20

// Small files take one request with their metadata, larger ones a session.
func TestRequests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ size, multipart, resumable int }{
		{0, 1, 0}, {1, 1, 0}, {testLimit, 1, 0}, {testLimit + 1, 0, 1},
	} {
		s := newStudio(t)
		s.AddFile(s.Mkdir(s.show, "pub"), "old", []byte("of another size"))
		d := s.open(t)
		put(t, d, "/SHOW/pub/new", large(test.size))
		put(t, d, "/SHOW/pub/old", large(test.size))
		for _, kind := range []string{"files.create", "files.update"} {
			s.wantCalls(t, kind+".multipart", test.multipart)
			s.wantCalls(t, kind+".resumable", test.resumable)
		}
		s.wantCalls(t, "upload.put", 2*test.resumable)
	}
}

// The time of the source is kept.
func TestModifiedTime(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	u := upload("/SHOW/pub/a", []byte("a"))
	u.ModTime = time.Date(2024, 5, 6, 7, 8, 9, 123_456_789, time.FixedZone("", 3600))
	obj, err := d.Put(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Get(obj.ID)
	if want := time.Date(2024, 5, 6, 6, 8, 9, 123_000_000, time.UTC); !f.ModifiedTime.Equal(want) {
		t.Errorf("modified %v, want %v", f.ModifiedTime, want)
	}
}

// A hundred files in a new folder cost hardly more than a request each, in a long row and at once.
func TestCallsPerFile(t *testing.T) {
	t.Parallel()
	for _, parallel := range []int{1, 8} {
		s := newStudio(t)
		d := s.open(t)
		work := make(chan int)
		done := make(chan error)
		for range parallel {
			go func() {
				var failed error
				for i := range work {
					if _, err := d.Put(t.Context(), upload(fmt.Sprintf("/SHOW/pub/shot/v001/%d.exr", i),
						[]byte("frame"))); err != nil {
						failed = err
					}
				}
				done <- failed
			}()
		}
		for i := range 100 {
			work <- i
		}
		close(work)
		for range parallel {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		calls := 0
		for _, n := range s.Calls() {
			calls += n
		}
		if calls > 120 {
			t.Errorf("%d at once: %d calls, want at most 120: %v", parallel, calls, s.Calls())
		}
	}
}

// What is there already is not sent again.
func TestSameContent(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("content"))
	d := s.open(t)
	for range 2 {
		put(t, d, "/SHOW/pub/a", "content")
	}
	if f := s.wantOne(t, s.show, "pub/a", "content"); f.Revision != 1 {
		t.Errorf("written %d times", f.Revision)
	}
	put(t, d, "/SHOW/pub/a", "CONTENT")
	s.wantOne(t, s.show, "pub/a", "CONTENT")
}

// Other content of the same size is sent at once: the folder's listing says that it is another, and where the file is.
// What seems to be there is looked at, as somebody may have changed it since, and so is what was written by us.
func TestSameSize(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("content"))
	d := s.open(t)
	put(t, d, "/SHOW/pub/a", "CONTENT")
	s.wantCalls(t, "files.get", 0)
	put(t, d, "/SHOW/pub/a", "Content")
	s.wantCalls(t, "files.get", 1)
	put(t, d, "/SHOW/pub/a", "Content")
	s.wantCalls(t, "files.get", 2)
	s.wantCalls(t, "files.update.multipart", 2)

	put(t, s.openAs(t, s.account.Credentials(), "", "/SHOW/pub"), "/SHOW/pub/a", "changed")
	put(t, d, "/SHOW/pub/a", "Content")
	s.wantOne(t, s.show, "pub/a", "Content")
}

// Puts of one file wait for each other: the second finds what the first has made.
func TestPutsOfOneFile(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	fault := s.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectHang})
	done := make(chan error)
	for _, content := range []string{"first", "second"} {
		go func() {
			_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(content)))
			done <- err
		}()
		eventually(t, "the first is under way", func() bool { return fault.Hits() == 1 })
	}
	eventually(t, "the second waits", func() bool { return d.putting.Users() == 2 })
	fault.Remove()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.wantOne(t, s.show, "pub/a", "second")
	s.wantCalls(t, "files.update.multipart", 1)
}

// Comparing with what is there ends with the context, too.
func TestSameContentIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	content := []byte(large(testLimit + 1))
	s.AddFile(s.Mkdir(s.show, "pub"), "a", content)
	d := s.open(t)
	ctx, cancel := newCancel(t)
	u := upload("/SHOW/pub/a", content)
	reads := 0
	u.Content = readerAt(func(p []byte, at int64) (int, error) {
		cancel()
		reads++
		return bytes.NewReader(content).ReadAt(p, at)
	})
	if _, err := d.Put(ctx, u); !interrupted(err) || reads != 1 {
		t.Errorf("error %v after %d reads, want that of the context after 1", err, reads)
	}
}

// A create whose answer is lost is found to have done its work, and sends nothing twice.
func TestLostAnswer(t *testing.T) {
	for _, test := range []struct {
		kind string
		size int
	}{{"files.create.multipart", 10}, {"upload.put", testLimit + 1}, {"files.create", 10}, {"files.generateIds", 10}} {
		for name, fault := range map[string]drive.Fault{
			"reset":        {Effect: drive.EffectReset, When: drive.After},
			"error":        {Effect: drive.EffectStatus, Status: 500, When: drive.After},
			"truncated":    {Effect: drive.EffectTruncate},
			"invalid JSON": {Effect: drive.EffectInvalidJSON},
			"hang":         {Effect: drive.EffectHang, When: drive.After},
		} {
			t.Run(test.kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				if name == "hang" && (test.kind == "files.create" || test.kind == "files.generateIds") {
					return // these wait for metadataTimeout, not for the watchdog
				}
				s := newStudio(t)
				s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
				d := s.open(t)
				d.stall.Timeout = 500 * time.Millisecond
				fault.Kind, fault.Count = test.kind, 1
				active := s.AddFault(fault)
				content := large(test.size)
				put(t, d, "/SHOW/pub/new/a", content)
				if active.Hits() != 1 {
					t.Fatalf("%d hits", active.Hits())
				}
				if f := s.wantOne(t, s.show, "pub/new/a", content); f.Revision != 1 {
					t.Errorf("written %d times", f.Revision)
				}
				if dup := s.Duplicates(); len(dup) > 0 {
					t.Error("duplicates:", dup)
				}
				var received int64
				for _, e := range s.Log() {
					if e.Kind == "upload.put" {
						received += e.Received
					}
				}
				if received > int64(test.size) {
					t.Errorf("%d bytes sent of %d", received, test.size)
				}
			})
		}
	}
}

// Also when it is only the next Put that gets through, and content or folder were to be made.
func TestLostAnswerOfFailedPut(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"files.create", "files.create.multipart"} {
		for _, second := range []string{"content", "CONTENT", "other size"} {
			s := newStudio(t)
			s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
			d := s.open(t)
			lost := s.AddFault(drive.Fault{Kind: kind, Count: 1, Effect: drive.EffectReset, When: drive.After})
			// The work is done at the first attempt, and then there is an outage.
			s.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectStatus, Status: 503})
			_, err := d.Put(t.Context(), upload("/SHOW/pub/new/a", []byte("content")))
			wantClass(t, err, site.Transient)
			if lost.Hits() != 1 {
				t.Fatal("no answer was lost")
			}
			s.ClearFaults()
			put(t, d, "/SHOW/pub/new/a", second)
			s.wantOne(t, s.show, "pub/new/a", second)
			if dup := s.Duplicates(); len(dup) > 0 {
				t.Errorf("%s, then %q: duplicates: %v", kind, second, dup)
			}
		}
	}
}

// What was made by a create whose answer was lost may be gone again when it is asked for.
func TestLostAnswerOfWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, lost := range []struct{ kind, path string }{{"files.create.multipart", "pub/new/a"},
		{"files.create", "pub/new/folder"}} {
		for name, change := range map[string]func(s *studio, d *Site, id string){
			"trashed":        func(s *studio, _ *Site, id string) { s.Trash(id) },
			"deleted":        func(s *studio, _ *Site, id string) { s.Delete(id) },
			"moved":          func(s *studio, d *Site, id string) { s.move(t, d, id) },
			"parent trashed": func(s *studio, _ *Site, id string) { f, _ := s.Get(id); s.Trash(f.Parent) },
			"parent deleted": func(s *studio, _ *Site, id string) { f, _ := s.Get(id); s.Delete(f.Parent) },
		} {
			t.Run(lost.kind+"/"+name, func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				put(t, d, "/SHOW/pub/new/other", "x")
				file := lost.path
				if lost.kind == "files.create" {
					file += "/a"
				}
				ctx, cancel := newCancel(t)
				s.AddFault(drive.Fault{Kind: lost.kind, Count: 1, Effect: drive.EffectHang, When: drive.After})
				done := make(chan error)
				go func() {
					_, err := d.Put(ctx, upload("/SHOW/"+file, []byte("content")))
					done <- err
				}()
				eventually(t, "it is made", func() bool { return len(s.Find(s.show, lost.path)) == 1 })
				cancel()
				if err := <-done; !interrupted(err) {
					t.Fatal(err)
				}
				change(s, d, s.Find(s.show, lost.path)[0].ID)
				put(t, d, "/SHOW/"+file, "content")
				s.wantOne(t, s.show, file, "content")
			})
		}
	}
}

// A request that breaks in the middle is made again.
func TestBrokenMultipart(t *testing.T) {
	for _, fault := range []drive.Fault{
		{Effect: drive.EffectReset},
		{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: mib},
		{Effect: drive.EffectHang, When: drive.InBody, AfterBytes: mib},
		{Effect: drive.EffectStatus, Status: 503},
		{Effect: drive.EffectStatus, Status: 429},
		{Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"},
	} {
		s := newStudio(t)
		d := s.open(t)
		d.stall.Timeout = 500 * time.Millisecond
		content := large(testLimit)
		for i, kind := range []string{"files.create.multipart", "files.update.multipart"} {
			fault.Kind, fault.Count = kind, 1
			active := s.AddFault(fault)
			put(t, d, "/SHOW/pub/a", content[i:])
			if active.Hits() != 1 {
				t.Errorf("%+v: %d hits", fault, active.Hits())
			}
			s.wantOne(t, s.show, "pub/a", content[i:])
		}
	}
}

// What Drive says to have is compared with what was sent; the next Put repairs it.
func TestWrongMD5(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind string
		size int
	}{{"files.create.multipart", 10}, {"upload.put", testLimit + 1}} {
		s := newStudio(t)
		d := s.open(t)
		content := large(test.size)
		fault := s.AddFault(drive.Fault{Kind: test.kind, Effect: drive.EffectWrongMD5})
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(content)))
		wantClass(t, err, site.FileError, "MD5", md5Of(content))
		fault.Remove()
		put(t, d, "/SHOW/pub/a", content)
		s.wantOne(t, s.show, "pub/a", content)
	}
}

// A source that changes between two attempts is not taken for what was sent at the first.
func TestSourceChanges(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	// Drive keeps 4 MiB, so some of what the first attempt has read is read again by the second.
	s.AddFault(
		drive.Fault{
			Kind:       "upload.put",
			Count:      1,
			Effect:     drive.EffectReset,
			When:       drive.InBody,
			AfterBytes: 4*mib + 100_000,
		},
	)
	var furthest atomic.Int64
	var changed atomic.Bool
	u := upload("/SHOW/pub/a", nil)
	u.Size = 8 * mib
	u.Content = readerAt(func(p []byte, at int64) (int, error) {
		if at < furthest.Load() {
			changed.Store(true)
		}
		letter := "a"
		if changed.Load() {
			letter = "b"
		}
		n, err := strings.NewReader(strings.Repeat(letter, 8*mib)).ReadAt(p, at)
		furthest.Store(at + int64(n))
		return n, err
	})
	_, err := d.Put(t.Context(), u)
	wantClass(t, err, site.FileError, "MD5")
	if !changed.Load() {
		t.Error("nothing was read twice")
	}
	put(t, d, "/SHOW/pub/a", "content")
	s.wantOne(t, s.show, "pub/a", "content")
}

type readerAt func(p []byte, at int64) (int, error)

func (f readerAt) ReadAt(p []byte, at int64) (int, error) { return f(p, at) }

func TestContent(t *testing.T) {
	read := func(c *content, n int) string {
		b := make([]byte, n)
		m, err := io.ReadFull(c, b)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return err.Error()
		}
		return string(b[:m])
	}
	c := newContent(upload("", []byte("0123456789")))
	got := []string{read(c, 4)}
	for _, offset := range []int64{2, 4, 0, 1} {
		c.seek(offset)
		got = append(got, read(c, 4))
	}
	got = append(got, read(c, 100), read(c, 1))
	if diff := cmp.Diff([]string{"0123", "2345", "4567", "0123", "1234", "56789", ""}, got); diff != "" {
		t.Error(diff)
	}
	if c.sum() != md5Of("0123456789") {
		t.Error("the sum is wrong after going back")
	}
}

// Large files are streamed: what an upload keeps in memory has nothing to do with the file's size.
func TestMemory(t *testing.T) {
	const size = 300 * mib
	s := &studio{Server: drive.StartTest(t, drive.Options{Discard: true})}
	s.account = s.AddServiceAccount("sync@studio.iam.example")
	s.show = s.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.ContentManager)
	d := s.open(t)
	put(t, d, "/SHOW/pub/first", large(testLimit+1)) // opens connections and fills pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	u := site.Incoming{Path: "/SHOW/pub/a", Size: size, Content: readerAt(func(p []byte, at int64) (int, error) {
		n := min(int64(len(p)), size-at)
		clear(p[:n])
		if n < int64(len(p)) {
			return int(n), io.EOF
		}
		return int(n), nil
	})}
	if _, err := d.Put(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// The emulator runs in this process too, so the bound is on both.
	if got := after.TotalAlloc - before.TotalAlloc; got > 16*mib {
		t.Errorf("%d MiB were allocated for %d MiB", got/mib, size/mib)
	}
}
