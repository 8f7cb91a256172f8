package gdrive

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/site"
)

// kept is a journal in memory, which several sites use one after the other, as the processes of a route do.
type kept struct {
	mu       sync.Mutex
	writes   int
	claims   map[nameKey]site.Claim
	older    map[nameKey]site.Reservation
	sessions map[string]keptSession
}

type keptSession struct {
	size    int64
	modTime time.Time
	uri     string
}

var _ site.Journal = (*kept)(nil)

func newKept() *kept {
	return &kept{claims: map[nameKey]site.Claim{}, older: map[nameKey]site.Reservation{},
		sessions: map[string]keptSession{}}
}

// Claim lets other accounts replace a claim at any time: no other process is at work.
func (k *kept) Claim(_ context.Context, account string, _ time.Duration,
	requests []site.ClaimRequest) (claims []site.Claim, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes++
	lost := map[string]bool{} // ids of folders
	for _, r := range requests {
		at := nameKey{r.Folder, r.Name}
		if lost[r.Folder] {
			claims = append(claims, site.Claim{})
			lost[r.ID] = true
			continue
		}
		c, ok := k.claims[at]
		if !ok || c.ID == r.Spent || c.ID == r.Stale.ID && c.At.Equal(r.Stale.At) {
			c = site.Claim{ID: r.ID, Account: r.Account, At: time.Now(), Replaceable: true}
		}
		if c.Account == account {
			c.At = time.Now()
		}
		k.claims[at] = c
		claims = append(claims, c)
		lost[r.ID] = c.ID != r.ID
	}
	return claims, nil
}

func (k *kept) Reserved(_ context.Context, folder string) (map[string]site.Reservation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]site.Reservation{}
	for at, r := range k.older {
		if at.folder == folder {
			out[at.name] = r
		}
	}
	return out, nil
}

func (k *kept) Session(_ context.Context, key string, size int64, modTime time.Time) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sessions[key]; s.size == size && s.modTime.Equal(modTime) {
		return s.uri, nil
	}
	return "", nil
}

func (k *kept) SaveSession(_ context.Context, key string, size int64, modTime time.Time, uri string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sessions[key] = keptSession{size, modTime, uri}
	return nil
}

func (k *kept) DropSession(_ context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sessions, key)
	return nil
}

// next is the site as the next process opens it: with the journal, and no other memory. Listings show nothing
// that was made.
func (s *studio) next(t *testing.T, j *kept) *Site {
	t.Helper()
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, s.account.Credentials(), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(
		t.Context(),
		Config{Credentials: file, Endpoint: s.URL, Roots: []string{"/SHOW/pub"}, Connections: 8, Journal: j},
	)
	if err != nil {
		t.Fatal(err)
	}
	d.wait = time.Millisecond
	t.Cleanup(func() { d.Close() })
	return d
}

func newLagging(t *testing.T) (*studio, *kept) {
	s := newStudio(t)
	s.Mkdir(s.show, "pub")
	s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
	return s, newKept()
}

// What one process has made the next one does not make again, also if a listing does not show it.
func TestNextProcessMakesNothingTwice(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	first := put(t, s.next(t, j), "/SHOW/pub/v001/a.exr", "content")
	d := s.next(t, j)
	if again := put(t, d, "/SHOW/pub/v001/a.exr", "content"); again.ID != first.ID {
		t.Errorf("%s, then %s", first.ID, again.ID)
	}
	put(t, d, "/SHOW/pub/v001/a.exr", "new content")
	s.wantOne(t, s.show, "pub/v001/a.exr", "new content")
	if n := len(s.Find(s.show, "pub/v001")); n != 1 {
		t.Errorf("%d folders", n)
	}
}

// ... whatever goes wrong with the folder before it is found again.
func TestNextProcessFindsAFolderLate(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	put(t, s.next(t, j), "/SHOW/pub/v001/a.exr", "content")
	d := s.next(t, j)
	fault := s.AddFault(drive.Fault{Kind: "files.create", Effect: drive.EffectStatus, Status: 503})
	_, err := d.Put(t.Context(), upload("/SHOW/pub/v001/a.exr", []byte("content")))
	wantClass(t, err, site.Transient)
	fault.Remove()
	put(t, d, "/SHOW/pub/v001/a.exr", "content")
	s.wantOne(t, s.show, "pub/v001/a.exr", "content")
}

// The files of a representation are reserved in one write, and what is there already is not among them.
func TestReservedAlong(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	d := s.next(t, j)
	frames := []string{
		"/SHOW/pub/v001/a.exr",
		"/SHOW/pub/v001/b.exr",
		"/SHOW/pub/v001/c.exr",
		"/SHOW/pub/elsewhere/d.exr",
	}
	asked := 0
	putFrame := func(path string) {
		u := upload(path, []byte(path))
		u.Upcoming = func() []string { asked++; return frames }
		if _, err := d.Put(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	putFrame(frames[0])
	written := j.writes
	putFrame(frames[1])
	putFrame(frames[2])
	if j.writes != written || asked != 1 {
		t.Errorf("%d more writes; asked %d times", j.writes-written, asked)
	}

	// While d was waiting for its turn, a was made and became known.
	folder, err := d.folders.resolve(t.Context(), "/SHOW/pub/v001")
	if err != nil {
		t.Fatal(err)
	}
	before := j.claims[nameKey{folder.id, "a.exr"}]
	u := upload("/SHOW/pub/v001/e.exr", nil)
	u.Upcoming = func() []string { return frames }
	if _, err := d.ids.reserve(t.Context(), nameKey{folder.id, "e.exr"}, func(reserved func(string) bool) []string {
		return d.unreservedSiblings(folder, u, reserved)
	}, nil); err != nil {
		t.Fatal(err)
	}
	if after := j.claims[nameKey{folder.id, "a.exr"}]; after != before {
		t.Errorf("a file that is there was reserved again: %v, then %v", before, after)
	}
}

// So are the folders that are made for them. Whoever comes after a crash finds all of it.
func TestReservedWithFolders(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	frames := []string{"/SHOW/pub/subset/v001/a.exr", "/SHOW/pub/subset/v001/b.exr"}
	putFrame := func(d *Site, path string) error {
		u := upload(path, []byte(path))
		u.Upcoming = func() []string { return frames }
		_, err := d.Put(t.Context(), u)
		return err
	}
	fault := s.AddFault(drive.Fault{Kind: "files.create", Effect: drive.EffectStatus, Status: 503, When: drive.After})
	wantClass(t, putFrame(s.next(t, j), frames[0]), site.Transient)
	fault.Remove()
	fault = s.AddFault(drive.Fault{Kind: "files.create.multipart", Effect: drive.EffectReset, When: drive.After})
	wantClass(t, putFrame(s.next(t, j), frames[0]), site.Transient)
	fault.Remove()
	d := s.next(t, j)
	for _, frame := range frames {
		if err := putFrame(d, frame); err != nil {
			t.Fatal(err)
		}
		s.wantOne(t, s.show, strings.TrimPrefix(frame, "/SHOW/"), frame)
	}
	if len(j.claims) != 4 || j.writes > 1+3+3 { // later processes claim folder by folder what is claimed
		t.Errorf("%d writes of %d claims", j.writes, len(j.claims))
	}
	written := j.writes
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}

	// The next version has a folder of its own, in one that is known.
	frames = []string{"/SHOW/pub/subset/v002/a.exr", "/SHOW/pub/subset/v002/b.exr"}
	for _, frame := range frames {
		if err := putFrame(d, frame); err != nil {
			t.Fatal(err)
		}
	}
	if j.writes != written+1 {
		t.Errorf("%d writes", j.writes-written)
	}
}

// What an older version has reserved, in folders too, is claimed under the same ids.
func TestReservedByAnOlderVersion(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	const file = "/SHOW/pub/subset/v001/a.exr"
	for _, kind := range []string{"files.create", "files.create.multipart"} {
		fault := s.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectReset, When: drive.After})
		_, err := s.next(t, j).Put(t.Context(), upload(file, []byte("content")))
		wantClass(t, err, site.Transient)
		fault.Remove()
		j.makeOlder(false)
	}
	put(t, s.next(t, j), file, "content")
	s.wantOne(t, s.show, "pub/subset/v001/a.exr", "content")
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
	if len(j.claims) != 3 {
		t.Errorf("%d claims: %v", len(j.claims), j.claims)
	}
}

// makeOlder makes it a journal as an older version has left it: with the accounts of the ids, or of a time when
// accounts were not told apart.
func (k *kept) makeOlder(withoutAccounts bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, c := range k.claims {
		r := site.Reservation{ID: c.ID, At: c.At, Account: c.Account}
		if withoutAccounts {
			r.Account, at.name = "", strings.TrimSuffix(at.name, "/")
		}
		k.older[at] = r
	}
	clear(k.claims)
}

// What a person has renamed, or moved, is no longer ours to write to.
func TestRenamedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, rename := range map[string]func(s *studio, obj site.Object) (kept string){
		"file": func(s *studio, obj site.Object) string {
			s.Rename(obj.ID, "a_keep.exr")
			return "pub/v001/a_keep.exr"
		},
		"folder": func(s *studio, obj site.Object) string {
			s.Rename(s.Find(s.show, "pub/v001")[0].ID, "v001_keep")
			return "pub/v001_keep/a.exr"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, j := newLagging(t)
			was := rename(s, put(t, s.next(t, j), "/SHOW/pub/v001/a.exr", "old content"))
			put(t, s.next(t, j), "/SHOW/pub/v001/a.exr", "the new one")
			s.wantOne(t, s.show, was, "old content")
			s.wantOne(t, s.show, "pub/v001/a.exr", "the new one")
		})
	}
}

// A session that takes nothing is not taken up for ever.
func TestSpoiledSession(t *testing.T) {
	t.Parallel()
	content := large(8 * mib)
	for name, faults := range map[string][]drive.Fault{
		"refused": {{Kind: "upload.put", Effect: drive.EffectStatus, Status: 400}},
		"broken":  {{Kind: "upload.put", Effect: drive.EffectStatus, Status: 500, Count: maxAttempts}},
		"impossible": {{Kind: "upload.put", Effect: drive.EffectReset, Count: 1},
			{Kind: "upload.status", Effect: drive.EffectStatus, Status: 400}},
	} {
		t.Run(name, func(t *testing.T) {
			s, j := newLagging(t)
			var active []*drive.ActiveFault
			for _, f := range faults {
				active = append(active, s.AddFault(f))
			}
			if _, err := s.next(t, j).Put(t.Context(), upload("/SHOW/pub/a", []byte(content))); err == nil {
				t.Fatal("it is uploaded")
			}
			for _, f := range active {
				f.Remove()
			}
			put(t, s.next(t, j), "/SHOW/pub/a", content)
			s.wantCalls(t, "files.create.resumable", 2)
			s.wantOne(t, s.show, "pub/a", content)
		})
	}
}

// What has arrived is not thrown away for an outage, or a limit that is used up for the day.
func TestSessionOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	content := large(8 * mib)
	for name, fault := range map[string]drive.Fault{
		"limit": {Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded",
			Message: "User rate limit exceeded."},
		"outage": {Effect: drive.EffectReset},
	} {
		t.Run(name, func(t *testing.T) {
			s, j := newLagging(t)
			s.AddFault(
				drive.Fault{
					Kind:       "upload.put",
					Count:      1,
					Effect:     drive.EffectReset,
					When:       drive.InBody,
					AfterBytes: 6 * mib,
				},
			)
			fault.Kind = "upload.put"
			active := s.AddFault(fault)
			_, err := s.next(t, j).Put(t.Context(), upload("/SHOW/pub/a", []byte(content)))
			wantClass(t, err, site.Transient)
			active.Remove()
			put(t, s.next(t, j), "/SHOW/pub/a", content)
			s.wantCalls(t, "files.create.resumable", 1)
			var last int64
			for _, e := range s.Log() {
				if e.Kind == "upload.put" {
					last = e.Received
				}
			}
			if last > 3*mib {
				t.Errorf("%d bytes were sent in the end, although 6 MiB had arrived", last)
			}
			if len(j.sessions) != 0 {
				t.Errorf("%d sessions are left", len(j.sessions))
			}
		})
	}
}

// Whoever can write to the journal's database can't have a token sent to a server of theirs.
func TestForeignSession(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = true
		http.NotFound(w, r)
	}))
	defer other.Close()
	d := s.next(t, j)
	folder, err := d.folders.resolve(t.Context(), "/SHOW/pub")
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.ids.reserve(t.Context(), nameKey{folder.id, "a"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	u := upload("/SHOW/pub/a", []byte(large(8*mib)))
	if err := j.SaveSession(t.Context(), d.sessionKey(target{id: id.ID, create: true}), u.Size, u.ModTime,
		other.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), u); err != nil || asked {
		t.Error(err, asked)
	}
}
