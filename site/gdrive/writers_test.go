package gdrive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/site"
	"sitesync/state"
)

// writers are processes that write to the studio's drive at the same time, with one database of sitesync's own.
type writers struct {
	*studio
	db    *mongo.Database
	state *state.Database
	other *drive.Account
}

func newWriters(t *testing.T) *writers {
	t.Helper()
	s := newStudio(t)
	s.Mkdir(s.show, "pub")
	db := mongod.Database(t)
	other := s.AddServiceAccount("home@studio.iam.example")
	s.show.AddMember(other, drive.ContentManager)
	return &writers{studio: s, db: db, state: state.Open(db.Client(), db.Name()), other: other}
}

// writer is a process that holds the lease of the route from an active site. end ends it without a word to Drive.
func (w *writers) writer(t *testing.T, from string, account *drive.Account) (s *Site, end func()) {
	t.Helper()
	lease := w.state.NewLease(state.LeaseName("avalon", avalon.Route{From: from, To: "gdrive"}), state.Self(),
		zap.NewNop(), func() state.WorkerStatus { return state.WorkerStatus{} })
	ctx, cancel := context.WithCancel(t.Context())
	held, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lease.Run(ctx, func(ctx, _ context.Context) {
			close(held)
			<-ctx.Done()
		})
	}()
	end = func() { cancel(); <-ended }
	t.Cleanup(end)
	<-held
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, account.Credentials(), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), Config{Credentials: file, Endpoint: w.URL, Roots: []string{"/SHOW/pub"}, Connections: 8,
		Journal: &state.Journal{Database: w.state, Lease: lease}, Fence: lease.Check})
	if err != nil {
		t.Fatal(err)
	}
	s.wait, s.maxMultipart = time.Millisecond, testLimit
	t.Cleanup(func() { s.Close() })
	return s, end
}

// expireClaims ends the time for which claims are kept from other accounts, as if it had passed, also for sites that
// have used them.
func (w *writers) expireClaims(t *testing.T, sites ...*Site) {
	t.Helper()
	for _, s := range sites {
		for at, known := range s.ids.claims {
			known.asked = known.asked.Add(-confirmAfter)
			s.ids.claims[at] = known
		}
	}
	if _, err := w.db.Collection("claims").UpdateMany(t.Context(), bson.M{},
		bson.M{"$set": bson.M{"hold": 0}}); err != nil {
		t.Fatal(err)
	}
}

// putSoon uploads the content, and comes back as the engine does after an error that costs no try.
func putSoon(ctx context.Context, s *Site, path, content string) (site.Object, error) {
	for {
		obj, err := s.Put(ctx, upload(path, []byte(content)))
		scope, _ := site.ScopeOf(err)
		class := site.ClassOf(err)
		again := class == site.Transient || class == site.Unavailable && scope == site.OneFile
		if err == nil || ctx.Err() != nil || !again {
			return obj, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// check makes sure that no folder has two items of a name.
func (w *writers) check(t *testing.T) {
	t.Helper()
	if dup := w.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

// Two and three processes that publish into the same folders at the same time, with one account and with several, make
// each folder and each file once, though answers are lost and no listing shows what was created.
func TestWriters(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		for _, accounts := range []string{"one account", "two accounts"} {
			for _, lag := range []time.Duration{0, time.Hour} {
				for _, faults := range []bool{false, true} {
					t.Run(fmt.Sprintf("%d, %s, lag %v, faults %t", n, accounts, lag, faults), func(t *testing.T) {
						t.Parallel()
						w := newWriters(t)
						w.UpdateSettings(func(set *drive.Settings) {
							set.ListingLag = lag
							set.Latency = 2 * time.Millisecond
						})
						if faults {
							w.AddFault(drive.Fault{Kind: "files.create*", Probability: 0.2, Effect: drive.EffectReset,
								When: drive.After})
							w.AddFault(drive.Fault{Kind: "files.create*", Probability: 0.1, Effect: drive.EffectStatus,
								Status: 503})
							w.AddFault(drive.Fault{Kind: "upload.put", Probability: 0.3, Effect: drive.EffectReset,
								When: drive.After})
						}
						w.race(t, n, accounts == "two accounts")
					})
				}
			}
		}
	}
}

func (w *writers) race(t *testing.T, n int, twoAccounts bool) {
	contents := map[string]string{"large.abc": large(testLimit + 1)}
	var paths []string
	for folder := range 5 {
		for file := range 4 {
			paths = append(paths, fmt.Sprintf("shot/v%d/%d.exr", folder, file))
			contents[paths[len(paths)-1]] = strings.Repeat("x", folder+file)
		}
	}
	paths = append(paths, "large.abc")
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		account := w.account
		if twoAccounts && i > 0 {
			account = w.other
		}
		s, _ := w.writer(t, fmt.Sprint("site", i), account)
		todo := make(chan string, len(paths))
		for _, at := range rand.Perm(len(paths)) {
			todo <- paths[at]
		}
		close(todo)
		for range 4 {
			wg.Go(func() {
				<-start
				for path := range todo {
					if _, err := putSoon(t.Context(), s, "/SHOW/pub/"+path, contents[path]); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	close(start)
	wg.Wait()
	w.check(t)
	if t.Failed() {
		return
	}
	for _, path := range paths {
		w.wantOne(t, w.show, "pub/"+path, contents[path])
	}
}

// A process that is killed between the claim and the create, or whose answer comes to nobody, delays others of its
// account not at all, and those of another account no longer than the claim lasts. Then it is replaced once.
func TestWriterKilled(t *testing.T) {
	t.Parallel()
	for what, kind := range map[string]string{"folder": "files.create", "small": "files.create.multipart",
		"session": "files.create.resumable", "large": "upload.put"} {
		for _, done := range []bool{false, true} {
			for _, next := range []string{"same account", "another account", "successor",
				"successor with another account"} {
				if kind == "files.create.resumable" && done {
					continue // nothing is done
				}
				t.Run(fmt.Sprintf("%s, done %t, %s", what, done, next), func(t *testing.T) {
					t.Parallel()
					w := newWriters(t)
					w.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
					content := "small"
					if what == "session" || what == "large" {
						content = large(testLimit + 1)
					}
					const path = "/SHOW/pub/shot/v001/a.exr"
					a, kill := w.writer(t, "studio", w.account)
					hang := drive.Fault{Kind: kind, Effect: drive.EffectHang, When: drive.Before}
					if done {
						hang.When = drive.After
					}
					fault := w.AddFault(hang)
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error)
					go func() {
						_, err := a.Put(ctx, upload(path, []byte(content)))
						ended <- err
					}()
					eventually(t, "it is at it", func() bool {
						made := len(w.Find(w.show, "pub/shot/v001/a.exr")) > 0
						if what == "folder" {
							made = len(w.Find(w.show, "pub/shot")) > 0
						}
						return fault.Hits() > 0 && made == done
					})
					cancel()
					kill()
					if err := <-ended; err == nil {
						t.Fatal("it was not killed")
					}
					fault.Remove()

					from, account := "home", w.account
					if strings.Contains(next, "another") {
						account = w.other
					}
					if strings.Contains(next, "successor") {
						from = "studio"
					}
					b, end := w.writer(t, from, account)
					// The folders are claimed together.
					if next == "another account" && (!done || what == "folder") {
						var calls [2]int
						for i := range calls {
							_, err := b.Put(t.Context(), upload(path, []byte(content)))
							scope, _ := site.ScopeOf(err)
							if wantClass(t, err, site.Unavailable, "another Google account"); scope != site.OneFile ||
								site.RetryAfter(err) <= 0 {
								t.Fatalf("scope %v, again in %v: %v", scope, site.RetryAfter(err), err)
							}
							calls[i] = w.TotalCalls()
						}
						if calls[0] != calls[1] {
							t.Error("Drive is asked again at once")
						}
						w.expireClaims(t)
						// Other folders and files are not in the way.
						put(t, b, "/SHOW/pub/b.exr", "b")
						b, _ = w.writer(t, "another home", w.other)
					}
					obj := put(t, b, path, content)
					end()
					// Whoever comes back finds it.
					for _, account := range []*drive.Account{w.account, w.other} {
						c, end := w.writer(t, "studio", account)
						if again := put(t, c, path, content+"!"); again.ID != obj.ID {
							t.Error("another file was made")
						}
						end()
					}
					w.wantOne(t, w.show, "pub/shot/v001/a.exr", content+"!")
					w.check(t)
				})
			}
		}
	}
}

// A process whose requests fail for long does not keep others waiting for what it has claimed, and goes on with what
// they have made.
func TestWriterFails(t *testing.T) {
	t.Parallel()
	for what, kind := range map[string]string{"folder": "files.create", "small": "files.create.multipart",
		"large": "files.create.resumable"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWriters(t)
			content := "content"
			if what == "large" {
				content = large(testLimit + 1)
			}
			const path = "/SHOW/pub/shot/a"
			a, _ := w.writer(t, "home", w.other)
			fault := w.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectStatus, Status: 503})
			_, err := a.Put(t.Context(), upload(path, []byte(content)))
			wantClass(t, err, site.Transient)
			b, _ := w.writer(t, "studio", w.account)
			_, err = b.Put(t.Context(), upload(path, []byte(content)))
			wantClass(t, err, site.Unavailable)
			w.expireClaims(t, a)
			// It fails for another minute, and keeps nothing, but may create it if nobody else does.
			_, err = a.Put(t.Context(), upload(path, []byte(content)))
			wantClass(t, err, site.Transient)
			fault.Remove()
			w.expireClaims(t, a)
			b, _ = w.writer(t, "backup", w.account)
			obj := put(t, b, path, content)
			if again := put(t, a, path, content); again.ID != obj.ID {
				t.Error("another file was made")
			}
			w.wantOne(t, w.show, "pub/shot/a", content)
			w.check(t)
		})
	}
}

// Drive may say that an id is in use before it finds what another process is just creating with it. That is waited for.
func TestWriterIsCreating(t *testing.T) {
	t.Parallel()
	for what, kind := range map[string]string{"folder": "files.create", "file": "files.create.multipart"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWriters(t)
			const path = "/SHOW/pub/shot/a"
			a, _ := w.writer(t, "home", w.account)
			b, _ := w.writer(t, "studio", w.account)
			fault := w.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectStatus, Status: 503})
			_, err := a.Put(t.Context(), upload(path, []byte("content")))
			wantClass(t, err, site.Transient)
			fault.Remove()
			fault = w.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectStatus, Status: 409})
			_, err = b.Put(t.Context(), upload(path, []byte("content")))
			wantClass(t, err, site.Transient, "does not find it")
			fault.Remove()
			first := put(t, a, path, "content")
			if again := put(t, b, path, "content"); again.ID != first.ID {
				t.Error("another file was made")
			}
			w.check(t)

			// Where it is so for long, it was deleted.
			w.Delete(first.ID)
			if what == "folder" {
				f, _ := w.Get(w.Find(w.show, "pub/shot")[0].ID)
				w.Delete(f.ID)
			}
			c, _ := w.writer(t, "backup", w.account)
			_, err = c.Put(t.Context(), upload(path, []byte("content")))
			wantClass(t, err, site.Transient, "does not find it")
			for at, spent := range c.ids.spent {
				spent.ghost = spent.ghost.Add(-ghostFor)
				c.ids.spent[at] = spent
			}
			put(t, c, path, "content")
			w.wantOne(t, w.show, "pub/shot/a", "content")
		})
	}
}

// A process that was suspended notices that its claims were replaced meanwhile, of files and of folders.
func TestWriterSuspended(t *testing.T) {
	t.Parallel()
	w := newWriters(t)
	w.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour })
	a, _ := w.writer(t, "studio", w.account)
	put(t, a, "/SHOW/pub/shot/a", "a")
	pub, err := a.folders.resolve(t.Context(), "/SHOW/pub")
	if err != nil {
		t.Fatal(err)
	}
	shot, err := a.folders.resolve(t.Context(), "/SHOW/pub/shot")
	if err != nil {
		t.Fatal(err)
	}
	places := []nameKey{{shot.id, "b"}, {pub.id, "other/"}}
	for _, at := range places {
		if _, err := a.ids.reserve(t.Context(), at, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.expireClaims(t, a)
	b, _ := w.writer(t, "home", w.other)
	first, second := put(t, b, "/SHOW/pub/shot/b", "b"), put(t, b, "/SHOW/pub/other/c", "c")
	if obj := put(t, a, "/SHOW/pub/shot/b", "bb"); obj.ID != first.ID {
		t.Error("another file was made")
	}
	if obj := put(t, a, "/SHOW/pub/other/c", "cc"); obj.ID != second.ID {
		t.Error("another file was made")
	}
	w.check(t)
}

// While something is being created its claim is confirmed, so that nobody replaces it; when it is lost all the same, or
// may be as the database is away, the create ends.
func TestWriterIsSlow(t *testing.T) {
	t.Parallel()
	for what, kind := range map[string]string{"folder": "files.create", "small": "files.create.multipart",
		"large": "upload.put"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWriters(t)
			content := "content"
			if what == "large" {
				content = large(testLimit + 1)
			}
			a, _ := w.writer(t, "studio", w.account)
			a.ids.confirmAfter, a.ids.createFor = 10*time.Millisecond, time.Hour
			hang := w.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectHang, When: drive.Before, Count: 1})
			type result struct {
				obj site.Object
				err error
			}
			ended := make(chan result, 1)
			go func() {
				obj, err := a.Put(t.Context(), upload("/SHOW/pub/shot/a", []byte(content)))
				ended <- result{obj, err}
			}()
			eventually(t, "it is at it", func() bool { return hang.Hits() > 0 })
			name := map[string]string{"folder": "shot/"}[what]
			if name == "" {
				name = "a"
			}
			var claim struct {
				Key  bson.D    `bson:"_id"`
				At   time.Time `bson:"at"`
				Hold int64     `bson:"hold"`
			}
			read := func() time.Time {
				if err := w.db.Collection("claims").FindOne(t.Context(),
					bson.M{"_id.name": name}).Decode(&claim); err != nil {
					t.Error(err)
				}
				return claim.At
			}
			began := read()
			eventually(t, "it is confirmed", func() bool { return read().After(began.Add(50 * time.Millisecond)) })
			want := claimHold
			if what == "large" {
				want = claimLongHold
			}
			if claim.Hold != want.Milliseconds() {
				t.Errorf("it is kept for %d ms, want %v", claim.Hold, want)
			}
			// Somebody takes it all the same.
			id, err := a.generateIDs(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.db.Collection("claims").UpdateOne(t.Context(), bson.M{"_id": claim.Key},
				bson.M{"$set": bson.M{"id": id[0]}}); err != nil {
				t.Fatal(err)
			}
			got := <-ended
			if got.err != nil {
				t.Fatal(got.err)
			}
			f := w.wantOne(t, w.show, "pub/shot/a", content)
			if folder, _ := w.Get(f.Parent); f.ID != id[0] && folder.ID != id[0] {
				t.Error("it was created under the claim that was lost")
			}
			w.check(t)
		})
	}
}

// away is a journal whose database can't be reached any more.
type away struct {
	site.Journal
	down chan struct{}
}

func (j away) Claim(ctx context.Context, account string, hold time.Duration,
	requests []site.ClaimRequest) ([]site.Claim, error) {
	select {
	case <-j.down:
		return nil, errors.New("the database is away")
	default:
		return j.Journal.Claim(ctx, account, hold, requests)
	}
}

func TestClaimCannotBeConfirmed(t *testing.T) {
	t.Parallel()
	s, j := newLagging(t)
	d := s.next(t, j)
	down := make(chan struct{})
	d.ids.journal = away{j, down}
	d.ids.confirmAfter, d.ids.createFor = 10*time.Millisecond, claimRetry+50*time.Millisecond
	hang := s.AddFault(drive.Fault{Kind: "files.create.multipart", Effect: drive.EffectHang, When: drive.Before})
	ended := make(chan error, 1)
	go func() {
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte("a")))
		ended <- err
	}()
	eventually(t, "it is at it", func() bool { return hang.Hits() > 0 })
	close(down)
	err := <-ended
	if wantClass(t, err, site.Transient, "the database is away"); !site.IsShared(err) {
		t.Error("it is taken for the file's own")
	}
}
