package uploader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/watcher"
)

// A probe that hangs keeps no other from being made, and none is made twice at once.
func TestProbesRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		h := newBreakers(zap.NewNop(), "upload", func() { polls++ })
		hanging := 0
		h.trip(trip{Target: Target{LocalRoot, "/mnt/hangs"}, probe: func(ctx context.Context) error {
			hanging++
			<-ctx.Done()
			return ctx.Err()
		}}, errors.New("away"))
		for i := range 150 {
			h.trip(trip{Target: Target{LocalRoot, fmt.Sprint("/mnt/", i)},
				probe: func(context.Context) error { time.Sleep(time.Minute); return nil }}, errors.New("away"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.run(ctx) })
		time.Sleep(minProbeDelay + time.Minute + time.Second)
		synctest.Wait()
		if held := h.list(); len(held) != 1 || held[0].Name != "/mnt/hangs" || polls != 150 || hanging != 1 {
			t.Errorf("held %v after %d polls, the one that hangs was probed %d times", held, polls, hanging)
		}
		cancel()
		wg.Wait()
	})
}

// However much else is held, the site can be; and what documents name is bounded.
func TestManyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		h := newBreakers(zap.New(core), "upload", func() {})
		away := errors.New("away")
		for i := range 3000 {
			h.trip(trip{Target: Target{LocalRoot, fmt.Sprint("/mnt/", i)},
				probe: func(context.Context) error { return away }}, away)
			h.trip(trip{Target: Target{Settings, fmt.Sprint("no root ", i)}}, away)
		}
		h.trip(trip{Target: siteTarget, probe: func(context.Context) error { return away }}, errors.New("full"))
		if err := h.check(siteTarget); err == nil {
			t.Error("the site is not held")
		}
		if err := h.check(Target{LocalRoot, "/mnt/150"}); err == nil {
			t.Error("the 150th root is not held")
		}
		if n, want := len(h.list()), maxBreakers(LocalRoot)+maxBreakers(Settings)+3; n != want || logs.Len() != want {
			t.Errorf("%d holds, %d lines, want %d", n, logs.Len(), want)
		}
		// What is not probed is forgotten once nothing runs into it any more.
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.run(ctx) })
		time.Sleep(2 * forgetAfter)
		synctest.Wait()
		if n, want := len(h.list()), maxBreakers(LocalRoot)+1; n != want {
			t.Errorf("%d holds, want %d", n, want)
		}
		cancel()
		wg.Wait()
	})
}

// A hundred and more roots that are away: each file is looked at once for each poll, and the site can be held.
func TestManyRootsAway(t *testing.T) {
	inBubble(t, func(w *world) {
		roots := map[string]string{}
		remote := map[string]string{}
		w.store.set(func(m *memory) {
			f := m.rep.Files[0]
			m.rep.Files, m.rep.Roots = nil, avalon.Roots{}
			for i := range 150 {
				name := fmt.Sprint("r", i)
				roots[name], remote[name] = filepath.Join(w.roots[""], "away", name), "/SHOW"
				m.rep.Roots[name] = roots[name]
				f.Path = "{root[" + name + "]}/a.ma"
				m.rep.Files = append(m.rep.Files, f)
			}
			roots["here"], remote["here"] = w.roots[""], "/SHOW"
			m.rep.Roots["here"] = w.roots[""]
			f.Path = "{root[here]}/a.ma"
			m.rep.Files = append(m.rep.Files, f)
		})
		w.up.RemoteRoot = remote
		full := site.Classed(site.Unavailable, errors.New("full"))
		w.site.put, w.site.check = []error{full}, []error{full, full, full, full, full, full, full}
		w.run(100 * time.Second)
		if w.up.SiteHeld() == nil || len(w.up.Held()) < 140 { // the site may be held before all were looked at
			t.Errorf("the site is held: %v; %d holds", w.up.SiteHeld(), len(w.up.Held()))
		}
		if w.store.reads > 10 || w.totals().Held > 1000 {
			t.Errorf("%d documents were read, %d files looked at", w.store.reads, w.totals().Held)
		}
		w.run(100 * time.Second)
		if w.up.SiteHeld() != nil || w.totals().Synced != 1 {
			t.Errorf("the site is held: %v; %+v", w.up.SiteHeld(), w.totals())
		}
	})
}

// rooted is a site whose roots have troubles of their own.
type rooted struct {
	*scripted
	mu      sync.Mutex
	trouble map[string]error
}

func (r *rooted) of(p string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for root, err := range r.trouble {
		if p == root || strings.HasPrefix(p, root+"/") {
			return err
		}
	}
	return nil
}

func (r *rooted) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	if err := r.of(u.Path); err != nil {
		return site.Object{}, err
	}
	return r.scripted.Put(ctx, u)
}

func (r *rooted) CheckRoot(_ context.Context, root string) error { return r.of(root) }

func (r *rooted) set(root string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.trouble, root)
	if err != nil {
		r.trouble[root] = err
	}
}

// twoRoots has a world publish a file in each of two roots.
func (w *world) twoRoots() {
	must(w.t, os.MkdirAll(filepath.Join(w.roots[""], "b"), 0o700))
	must(w.t, os.WriteFile(filepath.Join(w.roots[""], "b", "b.ma"), []byte("12345"), 0o600))
	w.store.set(func(m *memory) {
		f, g := m.rep.Files[0], m.rep.Files[0]
		f.Path, g.Path = "{root[a]}/a.ma", "{root[b]}/b.ma"
		m.rep.Files, m.rep.Roots = []avalon.File{f, g},
			avalon.Roots{"a": w.roots[""], "b": filepath.Join(w.roots[""], "b")}
	})
	w.up.RemoteRoot = config.Roots{"a": "/SHOW/work", "b": "/SHOW/publish"}
}

func (w *world) created(i int) bool {
	rec, _ := w.store.rep.Files[i].RecordFor("gdrive")
	return rec.Created
}

// One remote root of several in trouble holds only what goes there, and what is well with the others does not depend on
// it.
func TestOneRemoteRootInTrouble(t *testing.T) {
	inBubble(t, func(w *world) {
		w.twoRoots()
		gone := site.UnavailableIn(site.OneRoot, errors.New("there is no folder"))
		s := &rooted{scripted: w.site, trouble: map[string]error{"/SHOW/work": gone}}
		w.up.Target = s
		w.run(5 * time.Second)
		held := w.up.Held()
		if len(held) != 1 || held[0].Target != (Target{RemoteRoot, "/SHOW/work"}) || w.up.SiteHeld() != nil {
			t.Errorf("held %v, the site: %v", held, w.up.SiteHeld())
		}
		if w.created(0) || !w.created(1) {
			t.Errorf("synced: %t, %t", w.created(0), w.created(1))
		}
		if c := w.up.Stats(); !maps.Equal(c.Holding, Holds{RemoteRoot: 1}) || c.FailedTries != 0 {
			t.Errorf("%+v", c)
		}
		// The credentials are refused, and accepted again: the root that is still in trouble keeps nothing else.
		refused := site.Classed(site.Unavailable, errors.New("refused"))
		s.set("/SHOW/work", refused)
		s.set("/SHOW/publish", refused)
		w.store.set(func(m *memory) { m.rep.Files[1].Sites[1] = avalon.SiteRecord{Name: "gdrive"} })
		w.up.Queue.Add(key("a"), watcher.Live)
		w.run(5 * time.Second)
		if w.up.SiteHeld() == nil {
			t.Error("the site is not held")
		}
		s.set("/SHOW/publish", nil)
		s.set("/SHOW/work", gone)
		w.run(maxProbeDelay)
		if w.up.SiteHeld() != nil || !w.created(1) || w.created(0) {
			t.Errorf("held: %v", w.up.Held())
		}
		s.set("/SHOW/work", nil)
		w.run(maxProbeDelay)
		if len(w.up.Held()) != 0 || !w.created(0) {
			t.Errorf("held: %v", w.up.Held())
		}
	})
}

// sized is a site with room for so many bytes.
type sized struct {
	*scripted
	mu    sync.Mutex
	room  int64
	tells bool // how much there is
}

func (s *sized) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	obj, _ := s.scripted.Put(ctx, u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Size > s.room {
		return site.Object{}, site.UnavailableIn(site.LargeOnes, errors.New("it does not fit"))
	}
	return obj, nil
}

func (s *sized) Left(context.Context, string) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room, s.tells, nil
}

func (s *sized) set(room int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = room
}

// A file that is larger than the room that is left waits alone, also where the site does not tell how much that is.
func TestFileLargerThanTheRoom(t *testing.T) {
	for _, tells := range []bool{true, false} {
		inBubble(t, func(w *world) {
			w.store.set(func(m *memory) {
				f := m.rep.Files[0]
				m.rep.Files = nil
				for i, size := range []int64{900, 500, 10, 20, 30} {
					f.Path, f.Size = fmt.Sprintf("{root}/%d", i), size
					m.rep.Files = append(m.rep.Files, f)
					must(t, os.WriteFile(filepath.Join(w.roots[""], fmt.Sprint(i)), make([]byte, size), 0o600))
				}
			})
			s := &sized{scripted: w.site, room: 100, tells: tells}
			w.up.Target = s
			for range 600 {
				w.run(time.Second)
				w.up.Queue.Add(key("a"), watcher.Backlog)
			}
			for i, want := range []bool{false, false, true, true, true} {
				if w.created(i) != want {
					t.Errorf("tells %t: file %d is synced: %t", tells, i, w.created(i))
				}
			}
			held := w.up.Held()
			if len(held) != 1 || held[0].Kind != LargeFiles || w.up.SiteHeld() != nil ||
				w.logged("uploads are held") != 1 {
				t.Fatalf("tells %t: held %v, logged %v", tells, held, w.logs.All())
			}
			if tells && held[0].From != 101 || !tells && held[0].From != 500 {
				t.Errorf("from %d bytes", held[0].From)
			}
			if n := len(w.site.puts); n > 5+15 || tells && n > 5 {
				t.Errorf("tells %t: %d uploads were tried", tells, n)
			}
			s.set(600)
			w.run(4 * maxProbeDelay)
			if !w.created(1) || w.created(0) {
				t.Errorf("tells %t: with more room the smaller is synced: %t, the larger: %t", tells, w.created(1),
					w.created(0))
			}
			s.set(1000)
			w.run(4 * maxProbeDelay)
			if !w.created(0) || len(w.up.Held()) != 0 || w.totals().Failed != 0 {
				t.Errorf("tells %t: with room for all, held %v", tells, w.up.Held())
			}
		})
	}
}

// With no room at all everything waits, and nothing is tried.
func TestNoRoomAtAll(t *testing.T) {
	inBubble(t, func(w *world) {
		w.site.left = 0
		w.site.put = []error{site.UnavailableIn(site.LargeOnes, errors.New("no storage left"))}
		still := errors.New("still none")
		w.site.check = []error{still, still, still}
		w.run(time.Second)
		if w.up.SiteHeld() == nil {
			t.Errorf("held %v", w.up.Held())
		}
		w.run(time.Minute)
		w.wantSynced()
	})
}

// limited is a site that takes no new items; there are some.
type limited struct {
	*scripted
	mu     sync.Mutex
	there  map[string]bool
	full   string // folder that takes no more; "" for none
	folder bool   // it is one folder, and not the whole root
	asked  int    // creates
}

func (l *limited) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.there[u.Path] {
		folder := u.Path[:strings.LastIndex(u.Path, "/")]
		if err := u.MayCreate(folder); err != nil {
			return site.Object{}, err
		}
		l.asked++
		if l.full != "" && strings.HasPrefix(u.Path, l.full+"/") {
			e := &site.Error{Class: site.Unavailable, Scope: site.Creations, Err: errors.New("it is full")}
			if l.folder {
				e.Folder = folder
			}
			return site.Object{}, e
		}
		l.there[u.Path] = true
	}
	return l.scripted.Put(ctx, u)
}

// Where no more items may be created, what is there is updated all the same.
func TestNoMoreItems(t *testing.T) {
	for name, l := range map[string]*limited{
		"the drive is full": {full: "/SHOW"},
		"a folder is full":  {full: "/SHOW/new", folder: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				must(t, os.Mkdir(filepath.Join(w.roots[""], "new"), 0o700))
				l.scripted, l.there = w.site, map[string]bool{}
				w.store.set(func(m *memory) {
					f := m.rep.Files[0]
					m.rep.Files = nil
					for i := range 60 {
						rel := fmt.Sprintf("new/%d", i)
						if i >= 30 {
							rel = fmt.Sprint(i)
						}
						f.Path = "{root}/" + rel
						m.rep.Files = append(m.rep.Files, f)
						must(t, os.WriteFile(filepath.Join(w.roots[""], rel), []byte("12345"), 0o600))
						l.there["/SHOW/"+rel] = i >= 30
					}
				})
				w.up.Target = l
				for range 60 {
					w.run(time.Second)
					w.up.Queue.Add(key("a"), watcher.Backlog)
				}
				if got := w.totals(); got.Synced != 30 || got.Failed != 0 {
					t.Errorf("%+v", got)
				}
				held := w.up.Held()
				if len(held) != 1 || held[0].Kind != NewFiles || held[0].Name != l.full ||
					w.logged("uploads are held") != 1 {
					t.Errorf("held %v, logged %v", held, w.logs.All())
				}
				if l.asked > 2+7 {
					t.Errorf("%d creates were tried in a minute", l.asked)
				}
				l.mu.Lock()
				l.full = ""
				l.mu.Unlock()
				w.run(3 * maxProbeDelay)
				if got := w.totals(); got.Synced != 60 || got.Failed != 0 || len(w.up.Held()) != 0 {
					t.Errorf("%+v, held %v", got, w.up.Held())
				}
			})
		})
	}
}

// The smallest size that is held and the reason name the same space.
func TestLargeFilesAreHeldForTheSpaceThatIsLeft(t *testing.T) {
	h := newBreakers(zap.NewNop(), "download", func() {})
	target := Target{LargeFiles, "/mnt/studio"}
	left := func(n, size int64) trip {
		return trip{Target: target, probe: func(context.Context) error { return nil }, trial: true, from: n + 1,
			size: size}
	}
	says := func(want string) {
		t.Helper()
		if held := h.list(); len(held) != 1 || held[0].Why != want {
			t.Errorf("%+v, want %q", held, want)
		}
	}
	const rest = "; smaller files are downloaded"
	h.trip(left(4<<20, 9<<20), h.roomLeft(4<<20))
	h.trip(left(1<<20, 2<<20), h.roomLeft(1<<20))
	says("there is room for 1.0 MiB only: free some space, or have the quota raised" + rest)
	_ = h.fit(target, 3<<20)
	says("there is room for 3.0 MiB only: free some space, or have the quota raised" + rest)
}

// What people are told to free is on the storage that is written to.
func TestRoomLeft(t *testing.T) {
	for noun, want := range map[string]string{
		"upload": "there is room for 1.0 MiB only: free some space (what is in the trash counts too), or have the " +
			"quota raised; smaller files are uploaded",
		"download": "there is room for 1.0 MiB only: free some space, or have the quota raised; smaller files are " +
			"downloaded",
	} {
		if got := newBreakers(zap.NewNop(), noun, nil).roomLeft(1 << 20).Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
