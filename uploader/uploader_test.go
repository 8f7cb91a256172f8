package uploader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/site/local"
	"sitesync/watcher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store of one representation. It applies outcomes as the database does. It stands in where the
// database's answers matter and the time must be ours; what MongoDB does is tested with MongoDB.
type memory struct {
	mu     sync.Mutex
	rep    avalon.Representation
	fail   error       // what the next calls answer
	failed int         // calls that were answered so
	lost   avalon.Lost // what Record answers
	reads  int
	notes  []note
}

// note is a note of progress, or of its end.
type note struct {
	at   time.Time
	done float64
}

const dropped = -1

func (m *memory) SetProgress(_ context.Context, _ avalon.Key, _ avalon.File, done float64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes = append(m.notes, note{time.Now(), done})
	return m.fail
}

func (m *memory) ClearProgress(ctx context.Context, key avalon.Key, f avalon.File) error {
	return m.SetProgress(ctx, key, f, dropped)
}

func (m *memory) OpenRepresentation(context.Context, avalon.Key, string) (*avalon.Representation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.fail != nil {
		m.failed++
		return nil, m.fail
	}
	rep := m.rep
	rep.Files = slices.Clone(rep.Files)
	return &rep, nil
}

func (m *memory) Record(_ context.Context, _ avalon.Key, outcomes []avalon.Outcome) (avalon.Lost, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		m.failed++
		return nil, m.fail
	}
	if m.lost != nil {
		return m.lost, nil
	}
	for _, o := range outcomes {
		for i, f := range m.rep.Files {
			if f.Key() != o.File.Key() {
				continue
			}
			rec := avalon.SiteRecord{Name: "gdrive", Created: true, RemoteID: o.RemoteID}
			if o.Error != "" {
				old, _ := f.RecordFor("gdrive")
				rec = avalon.SiteRecord{Name: "gdrive", Tries: old.Tries + 1, Error: o.Error, LastFailed: o.At}
			}
			m.rep.Files[i].Sites = []avalon.SiteRecord{{Name: "studio", Created: true}, rec}
		}
	}
	return nil, nil
}

// record is the remote site's record of the only file.
func (m *memory) record() avalon.SiteRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, _ := m.rep.Files[0].RecordFor("gdrive")
	return rec
}

func (m *memory) set(change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

// scripted is a site that answers as it is told, in turn, and then with success.
type scripted struct {
	mu     sync.Mutex
	put    []error
	check  []error
	puts   []time.Time
	urgent []bool
	checks []time.Time
	left   int64 // room; negative if that is not known
}

func (s *scripted) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts, s.urgent = append(s.puts, time.Now()), append(s.urgent, u.Priority)
	return site.Object{ID: "id of " + u.Path}, next(&s.put)
}

func (s *scripted) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, time.Now())
	return next(&s.check)
}

func (s *scripted) CheckRoot(ctx context.Context, _ string) error { return s.Check(ctx) }

func (s *scripted) Close() error { return nil }

func (s *scripted) Left(context.Context, string) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left, s.left >= 0, nil
}

func next(script *[]error) error {
	if len(*script) == 0 {
		return nil
	}
	err := (*script)[0]
	*script = (*script)[1:]
	return err
}

// world is an uploader with one representation of one file, in a synctest bubble.
type world struct {
	t     *testing.T
	store *memory
	site  *scripted
	up    *Uploader
	logs  *observer.ObservedLogs
	roots avalon.Roots

	mu     sync.Mutex
	before func(root, path string) // each call of the storage; may hang

	start time.Time
	stop  func()
}

// inBubble makes a world and tests it.
func inBubble(t *testing.T, test func(*world)) { inBubbleWithLinks(t, nil, test) }

// inBubbleWithLinks is inBubble with a storage whose symbolic links may lead to these folders.
func inBubbleWithLinks(t *testing.T, links []string, test func(*world)) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), []byte("12345"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		w := &world{t: t, logs: logs, roots: avalon.Roots{"": root}, site: &scripted{left: -1},
			store: &memory{rep: avalon.Representation{
				Key: key("a"), Roots: avalon.Roots{"": root},
				Files: []avalon.File{{Path: "{root}/a.ma", Size: 5,
					Sites: []avalon.SiteRecord{{Name: "studio", Created: true}, {Name: "gdrive"}}}},
			}}}
		q := watcher.NewQueue(100)
		w.up = New(Options{
			Rules:             rules,
			SourceGracePeriod: time.Minute, Transfers: 2, Budget: NewBudget(2), Direction: config.Up,
			RemoteRoot:   config.Roots{"": "/SHOW"},
			DrainTimeout: 7 * time.Second, FlushTimeout: 8 * time.Second,
			Queue: q, Store: w.store, Recorder: w.store, Target: w.site,
			Source: local.New(local.Options{Links: links, Before: w.call}), Log: zap.New(core),
			Poll: func() { q.Add(key("a"), watcher.Backlog) },
		})
		q.Add(key("a"), watcher.Live)
		test(w)
		w.stop()
		q.Close()
	})
}

// call is called before each call of the storage.
func (w *world) call(root, path string) {
	w.mu.Lock()
	before := w.before
	w.mu.Unlock()
	if before != nil {
		before(root, path)
	}
}

// beforeCalls has something called before each call of the storage.
func (w *world) beforeCalls(f func(root, path string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = f
}

// totals are numbers that tests compare.
type totals struct {
	Synced  int64
	Failed  int64 // tries
	GivenUp int64 // files without tries left, and invalid documents
	Held    int64 // times that a file was deferred
}

func (w *world) totals() totals {
	s := w.up.Stats()
	return totals{s.Synced, s.FailedTries, s.FailedFiles + s.InvalidDocs, s.Deferred}
}

// run runs the uploader for so long.
func (w *world) run(d time.Duration) {
	if w.stop == nil {
		ctx, cancel := context.WithCancel(w.t.Context())
		var wg sync.WaitGroup
		w.start = time.Now()
		wg.Go(func() { w.up.Run(ctx, context.Background()) })
		w.stop = func() { cancel(); wg.Wait() }
	}
	time.Sleep(d)
	synctest.Wait()
}

// logged counts the log's lines with a message.
func (w *world) logged(message string) int {
	n := 0
	for _, e := range w.logs.All() {
		if strings.Contains(e.Message, message) {
			n++
		}
	}
	return n
}

func (w *world) wantSynced() {
	w.t.Helper()
	if rec := w.store.record(); !rec.Created || rec.RemoteID != "id of /SHOW/a.ma" {
		w.t.Errorf("the record is %+v", rec)
	}
}

func TestFileErrorsBackOffUntilRetryCount(t *testing.T) {
	inBubble(t, func(w *world) {
		bad := errors.New("refused")
		w.site.put = []error{bad, bad, bad, bad}
		w.run(time.Hour)
		var at []time.Duration
		for _, p := range w.site.puts {
			at = append(at, p.Sub(w.start))
		}
		if !slices.Equal(at, []time.Duration{0, 10 * time.Second, 30 * time.Second}) {
			t.Errorf("tried after %v", at)
		}
		if rec := w.store.record(); rec.Tries != 3 || rec.Error != "refused" {
			t.Errorf("the record is %+v", rec)
		}
		if got := w.totals(); got != (totals{Failed: 3, GivenUp: 1}) {
			t.Errorf("totals %+v", got)
		}
	})
}

// A site learns whether somebody has just published what it gets.
func TestUrgent(t *testing.T) {
	inBubble(t, func(w *world) {
		w.run(time.Second)
		w.store.set(func(m *memory) { m.rep.Files[0].Sites[1] = avalon.SiteRecord{Name: "gdrive"} })
		w.up.Queue.Add(key("a"), watcher.Backlog)
		w.run(time.Second)
		if !slices.Equal(w.site.urgent, []bool{true, false}) {
			t.Errorf("urgent: %v", w.site.urgent)
		}
	})
}

func TestThrottledCostsNoTry(t *testing.T) {
	inBubble(t, func(w *world) {
		busy := site.Classed(site.Transient, errors.New("busy"))
		w.site.put = []error{busy, busy, busy, busy, busy}
		w.run(time.Minute)
		w.wantSynced()
		if w.logged("remote site does not work") != 1 || w.logged("remote site works again") != 1 ||
			w.totals().Failed != 0 {
			t.Errorf("logged %v", w.logs.All())
		}
	})
}

func TestHeldSiteIsProbedEverMoreSlowly(t *testing.T) {
	inBubble(t, func(w *world) {
		bad := site.Classed(site.Unavailable, errors.New("no quota"))
		w.site.put = []error{bad}
		w.site.check = []error{bad, bad, bad, bad, bad, bad, bad, bad}
		w.run(200 * time.Second)
		if held := w.up.Held(); len(held) != 1 || held[0].String() != "site: no quota" {
			t.Errorf("held %v", held)
		}
		w.run(200 * time.Second)
		start := w.start
		var waits []time.Duration
		for _, c := range w.site.checks {
			waits = append(waits, c.Sub(start))
			start = c
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(waits, want) {
			t.Errorf("probed after %v, want %v", waits, want)
		}
		w.wantSynced()
		if len(w.up.Held()) != 0 || w.logged("uploads are held") != 1 || w.logged("uploads go on") != 1 ||
			w.totals().Failed != 0 {
			t.Errorf("held %v, logged %v", w.up.Held(), w.logs.All())
		}
	})
}

func TestDatabaseOutage(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.fail = errors.New("no primary") })
		w.run(time.Minute)
		if w.store.failed < 30 {
			t.Errorf("asked %d times in a minute", w.store.failed)
		}
		w.store.set(func(m *memory) { m.fail = nil })
		w.run(2 * time.Second)
		w.wantSynced()
		if w.logged("reading from the database does not work") != 1 ||
			w.logged("reading from the database works again") != 1 {
			t.Errorf("logged %v", w.logs.All())
		}
	})
}

func TestMalformedDocumentIsToldOfOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.rep.Files[0].Problem = "its path is missing" })
		for range 10 {
			w.up.Queue.Add(key("a"), watcher.Backlog)
			w.run(time.Second)
		}
		if n := w.logged("invalid document"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if got := w.totals().GivenUp; got != 1 {
			t.Errorf("%d given up", got)
		}
		// Mended, it is synced, and told of again if it breaks again.
		w.store.set(func(m *memory) { m.rep.Files[0].Problem = "" })
		w.up.Queue.Add(key("a"), watcher.Live)
		w.run(time.Second)
		w.wantSynced()
		if got := w.totals().GivenUp; got != 0 {
			t.Errorf("%d given up once it is mended", got)
		}
	})
}

// The probe of a full drive does not see that it is full. That is not told of each second for ever.
func TestHoldThatComesBack(t *testing.T) {
	inBubble(t, func(w *world) {
		full := site.Classed(site.Unavailable, errors.New("the drive is full"))
		for range 1000 {
			w.site.put = append(w.site.put, full)
		}
		w.run(time.Hour)
		if n := len(w.site.puts); n < 50 || n > 80 {
			t.Errorf("%d uploads were tried in an hour", n)
		}
		if w.logged("uploads are held") > 80 || w.totals().Failed != 0 {
			t.Errorf("%d lines, %+v", w.logged("uploads are held"), w.totals())
		}
	})
}

// An outage that comes and goes is not told of each time.
func TestPartialOutage(t *testing.T) {
	var o availability
	core, logs := observer.New(zap.InfoLevel)
	o.log, o.what = zap.New(core), "it"
	synctest.Test(t, func(*testing.T) {
		for range 300 {
			o.observe(errors.New("busy"))
			o.observe(nil)
			time.Sleep(100 * time.Millisecond)
		}
	})
	if logs.Len() != 2 {
		t.Errorf("logged %v", logs.All())
	}
}

// Documents whose root the settings do not know cost no try and are told of once, not each.
func TestSettingsThatDoNotFit(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.rep.Roots = avalon.Roots{"": `P:\projects`} })
		for range 10 {
			w.run(time.Second)
			w.up.Queue.Add(key("a"), watcher.Backlog)
		}
		if rec := w.store.record(); rec.Tries != 0 || len(w.site.puts) != 0 {
			t.Errorf("the record is %+v after %d uploads", rec, len(w.site.puts))
		}
		held := w.up.Held()
		if len(held) != 1 || !strings.Contains(held[0].Why, "set local_root") || w.logged("uploads are held") != 1 {
			t.Errorf("held %v, logged %v", held, w.logs.All())
		}
		if w.up.SiteHeld() != nil || w.totals().Held == 0 {
			t.Errorf("the site is held: %v; %+v", w.up.SiteHeld(), w.totals())
		}
		// The document repaired, it is synced; the trouble is forgotten in time.
		w.store.set(func(m *memory) { m.rep.Roots = w.roots })
		w.up.Queue.Add(key("a"), watcher.Live)
		w.run(2 * time.Hour)
		w.wantSynced()
		if held := w.up.Held(); len(held) != 0 {
			t.Errorf("still held: %v", held)
		}
	})
}

// What the database refuses to record is told once, and not uploaded again with every poll.
func TestRefusedRecord(t *testing.T) {
	inBubble(t, func(w *world) {
		file := w.store.rep.Files[0].Key()
		refused := &avalon.RecordError{Files: map[avalon.FileKey]error{file: errors.New("no")}}
		w.store.set(func(m *memory) { m.fail = refused })
		w.up.Store = refusing{w.store}
		for range 30 {
			w.run(time.Second)
			w.up.Queue.Add(key("a"), watcher.Backlog)
		}
		if len(w.site.puts) != 1 || w.logged("invalid document") != 1 {
			t.Errorf("%d uploads, logged %v", len(w.site.puts), w.logs.All())
		}
		w.up.Queue.Add(key("a"), watcher.Live) // somebody has touched it
		w.run(time.Second)
		if len(w.site.puts) != 2 {
			t.Errorf("%d uploads after the document has changed", len(w.site.puts))
		}
		w.store.set(func(m *memory) { m.fail = nil })
		w.run(rejectedFor)
		w.up.Queue.Add(key("a"), watcher.Backlog)
		w.run(time.Second)
		w.wantSynced()
	})
}

// What is no longer as it was planned with does not count as synced.
func TestLostRecord(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.lost = avalon.Lost{m.rep.Files[0].Key(): "the representation is gone"} })
		w.run(time.Second)
		if got := w.totals(); len(w.site.puts) != 1 || got.Synced != 0 || got.Failed != 0 || w.logged("synced") != 0 ||
			w.logged("transferred, but not recorded") != 1 {
			t.Errorf("%+v, %d uploads, logged %v", got, len(w.site.puts), w.logs.All())
		}
	})
}

// refusing fails only when it writes.
type refusing struct{ *memory }

func (r refusing) OpenRepresentation(context.Context, avalon.Key, string) (*avalon.Representation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.rep
	rep.Files = slices.Clone(rep.Files)
	return &rep, nil
}

// A database that hangs does not keep sitesync from stopping.
func TestStopWithoutDatabase(t *testing.T) {
	inBubble(t, func(w *world) {
		w.up.Recorder = hanging{w.store}
		w.run(time.Second)
		before := time.Now()
		w.stop()
		if took := time.Since(before); took != w.up.FlushTimeout {
			t.Errorf("stopping took %s, want %s", took, w.up.FlushTimeout)
		}
		if w.logged("results not recorded") != 1 {
			t.Errorf("logged %v", w.logs.All())
		}
	})
}

// hanging never writes.
type hanging struct{ *memory }

func (hanging) Record(ctx context.Context, _ avalon.Key, _ []avalon.Outcome) (avalon.Lost, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A database that can be read and takes nothing does not have ever more uploaded that is not recorded.
func TestUploadsWaitForTheDatabase(t *testing.T) {
	inBubble(t, func(w *world) {
		w.up.Recorder = hanging{w.store}
		for i := range 1000 {
			w.up.scheduler.plan(strings.Repeat("x", i+1), watcher.Backlog, w.store.rep.Files[0])
		}
		for _, j := range w.up.scheduler.jobs {
			j.roots = w.roots
		}
		w.run(time.Minute)
		if n, most := len(w.site.puts), (w.up.Transfers+1)*(flushAhead+1); n < flushAhead || n > most {
			t.Errorf("%d files were uploaded, want %d at the most", n, most)
		}
	})
}

// A run that is told to stop records what was uploaded before it ends.
func TestStopRecords(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) {
			f := m.rep.Files[0]
			m.rep.Files = nil
			for i := range 200 {
				g := f
				g.ID = avalon.ParseID(strings.Repeat("x", i+1))
				m.rep.Files = append(m.rep.Files, g)
			}
		})
		w.up.Target = slowSite{w.site}
		w.run(10500 * time.Millisecond)
		w.stop()
		created := 0
		for _, f := range w.store.rep.Files {
			if rec, _ := f.RecordFor("gdrive"); rec.Created {
				created++
			}
		}
		// Two at once, ten done each, and those that were under way.
		if created != 22 || len(w.site.puts) != 22 || time.Since(w.start) != 11*time.Second {
			t.Errorf("%d recorded of %d uploads after %s", created, len(w.site.puts), time.Since(w.start))
		}
	})
}

// slowSite takes a second for each file.
type slowSite struct{ site.Backend }

func (s slowSite) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	time.Sleep(time.Second)
	return s.Backend.Put(ctx, u)
}
