// Package uploader is the engine: it takes keys of representations, decides from the document as it stands which files
// are due on a route, in either direction, moves them from a [site.Source] to a [site.Backend], and records the
// results. These say by the class of an error whose fault it is; what that means for the file is decided here.
package uploader

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/watcher"
)

// planners is how many documents of a lane are read at once.
const planners = 8

// Store reads the avalon database; [avalon.Store] is one.
type Store interface {
	// OpenRepresentation reads a representation as it stands now. The error is avalon.ErrNotFound if there is none of
	// which a file waits for the site, and an *avalon.MalformedError if no retry will make it readable.
	OpenRepresentation(ctx context.Context, key avalon.Key, site string) (*avalon.Representation, error)
}

// Recorder writes what becomes of files; [avalon.Recorder] is one.
type Recorder interface {
	// Record writes outcomes of files of one representation where they still apply; the others are lost. An error is
	// an *avalon.RecordError if no retry will help the files it names; after any other all are tried again.
	Record(ctx context.Context, key avalon.Key, outcomes []avalon.Outcome) (avalon.Lost, error)

	// SetProgress writes how far an upload is, from 0 to 1, where the record is still as it was planned with.
	SetProgress(ctx context.Context, key avalon.Key, f avalon.File, done float64) error

	// ClearProgress removes that again.
	ClearProgress(ctx context.Context, key avalon.Key, f avalon.File) error
}

var (
	_ Store    = (*avalon.Store)(nil)
	_ Recorder = (*avalon.Recorder)(nil)
)

// Options are the settings of an Uploader. All must be given but LocalRoot, which a download needs too, NothingDue and
// Synced.
type Options struct {
	Rules             avalon.Rules
	Direction         config.Direction // Up or Down
	SourceGracePeriod time.Duration    // how long a source that is not there yet is waited for without costing a try
	Transfers         int              // files transferred at once, not counting one that was just published
	Budget            *Budget          // of transfers, which several uploaders share
	RecordProgress    bool             // whether the progress of large files is written to their records
	LocalRoot         config.Roots     // where the storage is mounted here; zero: the documents say so
	RemoteRoot        config.Roots     // where files are on the remote site
	DrainTimeout      time.Duration    // how long running transfers may go on once Run has to stop
	FlushTimeout      time.Duration    // how long results may be written then; longer than DrainTimeout
	Queue             *watcher.Queue
	Store             Store
	Recorder          Recorder
	Source            site.Source
	Target            site.Backend
	Poll              func() // asks for a poll, after a hold has ended
	Log               *zap.Logger

	// NothingDue is called with each representation that has nothing to do or to wait for. May be nil.
	NothingDue func(avalon.Key)

	// Synced is called with each file that is synced. It must not block. May be nil.
	Synced func(SyncedFile)
}

// Uploader transfers the files that are due.
type Uploader struct {
	Options
	scheduler   *scheduler
	breakers    *breakers
	sourceWaits sourceWaits
	invalidDocs invalidDocs
	rejections  rejections
	reading     availability
	writing     availability
	service     availability
	activity    activity
	failures    failureTracker
	staleWarned sync.Once

	synced, bytes, failedTries, failedFiles, deferred atomic.Int64 // see Stats
	running                                           atomic.Int64 // transfers

	progressReports sync.WaitGroup // those who note progress
}

// New returns an uploader.
func New(o Options) *Uploader {
	u := &Uploader{
		Options:     o,
		scheduler:   newScheduler(o.Transfers, o.Queue, o.Budget),
		breakers:    newBreakers(o.Log, o.Direction.Noun(), o.Poll),
		invalidDocs: invalidDocs{log: o.Log},
		reading:     availability{log: o.Log, what: "reading from the database"},
		writing:     availability{log: o.Log, what: "writing to the database"},
		service:     availability{log: o.Log, what: "uploading to the remote site"},
	}
	u.scheduler.rootOf = func(f *avalon.File, roots avalon.Roots) string {
		r, err := resolveRoots(f, roots, u.LocalRoot, u.RemoteRoot)
		if err != nil {
			return ""
		}
		return r.here
	}
	if o.Direction == config.Down {
		u.service.what = "downloading from the remote site"
	}
	for _, staller := range u.stallers() {
		staller.OnStall(u.scheduler.addSlowCalls, func(root string) { u.breakers.probeNow(Target{LocalRoot, root}) })
	}
	return u
}

// stallers are those of the two sites whose calls may never return.
func (u *Uploader) stallers() (all []site.Staller) {
	for _, s := range []any{u.Source, u.Target} {
		if staller, ok := s.(site.Staller); ok {
			all = append(all, staller)
		}
	}
	return all
}

// Held returns what holds transfers.
func (u *Uploader) Held() []Hold { return u.breakers.list() }

// SiteHeld returns what holds up all transfers, nil if nothing does.
func (u *Uploader) SiteHeld() error { return u.breakers.check(siteTarget) }

// Left reports whether files have been left to a later poll since it was asked last, as more can't be uploaded for now
// than there is memory for.
func (u *Uploader) Left() bool { return u.scheduler.takeSkipped() }

// Idle reports that nothing is under way, queued or backing off.
func (u *Uploader) Idle() bool { return u.scheduler.idle() }

// Run works until ctx ends. Then no new file is begun, transfers have DrainTimeout to finish, and their results are
// recorded until FlushTimeout is over. When fenced ends, everything does at once, as another process may be at work.
func (u *Uploader) Run(ctx, fenced context.Context) {
	working, abort := detachedAfter(ctx, u.DrainTimeout)
	defer abort()
	defer context.AfterFunc(fenced, abort)()
	writing, giveUp := detachedAfter(ctx, u.FlushTimeout)
	defer giveUp()
	defer context.AfterFunc(fenced, giveUp)()

	// None of these fails: each ends with its context.
	var g errgroup.Group
	for _, lane := range []watcher.Lane{watcher.Live, watcher.Backlog} {
		for range planners {
			g.Go(func() error { u.planLoop(ctx, lane); return nil })
		}
	}
	// As many again as there are transfers stand in for those whose storage is slow to answer.
	recording := &errgroup.Group{} // none of it fails
	recording.SetLimit((u.Transfers + 1) * flushAhead)
	for i := range 2*u.Transfers + 1 {
		g.Go(func() error { u.transferLoop(ctx, working, writing, recording, i == 0); return nil })
	}
	g.Go(func() error { u.recordLoop(ctx, writing); return nil })
	g.Go(func() error { u.breakers.run(ctx); return nil })
	_ = g.Wait()
	_ = recording.Wait()
	for j, results := range u.scheduler.takeAll() {
		u.write(writing, j, results)
	}
	u.progressReports.Wait()
	u.scheduler.share.leave()
}

// planLoop plans what comes by a lane.
func (u *Uploader) planLoop(ctx context.Context, lane watcher.Lane) {
	for {
		if u.scheduler.room(ctx, lane) != nil || u.breakers.wait(ctx, siteTarget) != nil {
			return
		}
		item, err := u.Queue.Get(ctx, lane)
		if err != nil {
			return
		}
		if u.Paused().Is(item.Key.Project) {
			u.sourceWaits.retain(item.Key, nil) // the poll that follows the pause finds it
		} else {
			u.plan(ctx, item)
		}
		u.Queue.Done(item.Key)
	}
}

// detachedAfter returns a context that ends so long after the other.
func detachedAfter(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, func() { stop(); cancel() }
}

// logFor is the log of what happens to a representation.
func (u *Uploader) logFor(key avalon.Key) *zap.Logger {
	return u.Log.With(zap.String("project", key.Project), zap.Stringer("representation", key.ID))
}

// jitter is d, give or take a quarter, so that many who wait do not all come at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}
