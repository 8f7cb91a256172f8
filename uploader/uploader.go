package uploader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/uploader/site"
	"sitesync/watcher"
)

// planners is how many documents of a lane are read at once.
const planners = 4

// Store is what the uploader needs of the avalon database; [avalon.Store] is one.
type Store interface {
	// Representation reads a representation as it stands now. The error is avalon.ErrGone if there is none,
	// and an *avalon.MalformedError if no retry will make it readable.
	Representation(ctx context.Context, key avalon.Key) (*avalon.Representation, error)

	// Record writes outcomes of files of one representation where they still apply. An error is an
	// *avalon.RecordError if no retry will help the files it names; after any other all are tried again.
	Record(ctx context.Context, key avalon.Key, site string, outcomes []avalon.Outcome) error
}

var _ Store = (*avalon.Store)(nil)

// Options are the settings of an Uploader. All must be given but LocalRoot.
type Options struct {
	ActiveSite, RemoteSite string
	RetryCount             int           // failed tries after which a file is left alone
	Backoff                Backoff       // between failed tries
	Settle                 time.Duration // how long a source that is not there yet is waited for without costing a try
	Transfers              int           // files uploaded at once
	LocalRoot              config.Roots  // where the storage is mounted here; zero: the documents say so
	RemoteRoot             config.Roots  // where files go on the site
	Grace                  time.Duration // how long uploads may go on once Run is told to stop
	Queue                  *watcher.Queue
	Store                  Store
	Site                   site.Site
	Poll                   func() // asks for a poll, after a hold has ended
	Log                    *zap.Logger
}

// Uploader uploads the files that are due.
type Uploader struct {
	Options
	rules    rules
	schedule *schedule
	holds    *holds
	waits    waits
	reported sync.Map // malformed documents that were told of: avalon.Key -> reason

	mu     sync.Mutex
	synced int64
	failed int64
}

// New returns an uploader.
func New(o Options) *Uploader {
	u := &Uploader{
		Options:  o,
		rules:    rules{o.ActiveSite, o.RemoteSite, o.RetryCount, o.Backoff},
		schedule: newSchedule(o.Transfers),
	}
	u.holds = newHolds(o.Site, o.Log, o.Poll)
	return u
}

// Totals are the files synced, and the tries failed, since the start.
func (u *Uploader) Totals() (synced, failed int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.synced, u.failed
}

// Held tells what holds uploads up: one line for each, none if nothing does.
func (u *Uploader) Held() []string { return u.holds.list() }

// Run works until ctx ends. Then no new file is begun, uploads have Grace to finish, and what came of them
// is recorded.
func (u *Uploader) Run(ctx context.Context) {
	working, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(u.Grace, abort) })
	defer stop()

	var g errgroup.Group
	for _, lane := range []watcher.Lane{watcher.Live, watcher.Backlog} {
		for range planners {
			g.Go(func() error { u.planLoop(ctx, lane); return nil })
		}
	}
	for range u.Transfers {
		g.Go(func() error {
			for {
				t, err := u.schedule.next(ctx)
				if err != nil {
					return nil
				}
				u.transfer(working, t)
			}
		})
	}
	g.Go(func() error { u.holds.run(ctx); return nil })
	_ = g.Wait() // none of them fails
}

// Idle waits until nothing is under way or queued.
func (u *Uploader) Idle(ctx context.Context) error { return u.schedule.idle(ctx) }

func (u *Uploader) planLoop(ctx context.Context, lane watcher.Lane) {
	for {
		if u.schedule.room(ctx, lane) != nil || u.holds.wait(ctx) != nil {
			return
		}
		item, err := u.Queue.Get(ctx, lane)
		if err != nil {
			return
		}
		u.plan(ctx, item)
		u.Queue.Done(item.Key)
	}
}

// plan reads a representation and schedules what is due.
func (u *Uploader) plan(ctx context.Context, item watcher.Item) {
	j := u.schedule.begin(item)
	rep, err := u.Store.Representation(ctx, item.Key)
	var p plan
	var roots avalon.Roots
	var malformed *avalon.MalformedError
	switch {
	case err == nil:
		p, roots = u.rules.plan(rep, time.Now()), rep.Roots
		for _, reason := range p.problems {
			u.report(item.Key, reason)
		}
	case errors.As(err, &malformed):
		u.report(item.Key, malformed.Error())
	case errors.Is(err, avalon.ErrGone), ctx.Err() != nil:
	default:
		u.Log.Warn("representation can't be read; it is looked at again", zap.Stringer("representation", item.Key), zap.Error(err))
		p.next = jitter(time.Second)
	}
	if p.next > 0 {
		u.Queue.AddAfter(item.Key, p.next)
	}
	over := u.schedule.end(j, roots, p.due)
	u.conclude(j, over)
}

// report tells once of a document that can't be worked with. Whoever mends it wakes us.
func (u *Uploader) report(key avalon.Key, reason string) {
	if old, ok := u.reported.Swap(key, reason); ok && old == reason {
		return
	}
	u.Log.Warn("document can't be worked with and is left alone",
		zap.String("project", key.Project), zap.Stringer("representation", key.ID), zap.String("reason", reason))
}

// conclude looks again at a representation that is done with, if there is reason to.
func (u *Uploader) conclude(j *job, over bool) {
	if !over {
		return
	}
	if j.again {
		u.Queue.Add(j.key, j.lane)
	} else if j.wake > 0 {
		u.Queue.AddAfter(j.key, j.wake)
	}
}

// transfer uploads one file and records what came of it.
func (u *Uploader) transfer(ctx context.Context, t task) {
	start := time.Now()
	size, obj, err := u.put(ctx, t)
	now := time.Now()
	log := u.Log.With(zap.String("project", t.job.key.Project), zap.Stringer("representation", t.job.key.ID),
		zap.String("path", t.file.Path))
	var outcome *avalon.Outcome
	var wake time.Duration
	switch class := site.ClassOf(err); {
	case err == nil:
		outcome = &avalon.Outcome{File: t.file, RemoteID: obj.ID, At: now}
		u.waits.forget(t)
		u.holds.succeeded()
		u.count(1, 0)
		log.Info("synced", zap.String("size", humanize.IBytes(uint64(size))), zap.Int64("bytes", size),
			zap.Float64("seconds", now.Sub(start).Seconds()), zap.Float64("reaction", now.Sub(t.job.seen).Seconds()))
	case ctx.Err() != nil:
		log.Info("upload stopped; it goes on at the next start")
	case class == site.Waiting:
		if wake = u.waits.next(t, now, u.Settle); wake > 0 {
			log.Debug("source is waited for", zap.Error(err))
			break
		}
		u.waits.forget(t)
		outcome, wake = u.failure(log, t, now, err)
	case class == site.Held:
		u.holds.hold(holdKey(err), err)
		wake = jitter(firstProbe) // while the site is held, nothing is planned
	case class == site.Throttled:
		wake = jitter(5 * time.Second)
		log.Warn("Google Drive is busy or out of reach; the file is tried again, no try is spent", zap.Error(err))
	default:
		outcome, wake = u.failure(log, t, now, err)
	}
	u.record(ctx, t.job, u.schedule.finish(t, outcome, wake, u.flush))
}

// put finds the source and uploads it. The error is classed.
func (u *Uploader) put(ctx context.Context, t task) (size int64, obj site.Object, err error) {
	if err := u.holds.check(""); err != nil {
		return 0, obj, err
	}
	src, err := locate(&t.file, t.job.roots, u.LocalRoot, u.RemoteRoot)
	if err != nil {
		return 0, obj, err
	}
	if err := u.holds.check(src.root); err != nil {
		return 0, obj, &localRootError{src.root, err}
	}
	f, info, err := src.open(t.file.Size)
	if err != nil {
		if site.ClassOf(err) == site.Held {
			err = &localRootError{src.root, err}
		}
		return 0, obj, err
	}
	defer f.Close()
	obj, err = u.Site.Put(ctx, site.Upload{Path: src.remote, Content: f, Size: info.Size(), ModTime: info.ModTime()})
	if after, statErr := f.Stat(); statErr == nil && (after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime())) {
		return 0, obj, site.Classed(site.Waiting, fmt.Errorf("the source %s changed while it was read", src))
	}
	return info.Size(), obj, err
}

// localRootError is a trouble of one local root, which concerns no file of another.
type localRootError struct {
	root string
	err  error
}

func (e *localRootError) Error() string { return e.err.Error() }
func (e *localRootError) Unwrap() error { return e.err }

// holdKey is what an error holds up: a local root, or ("") the whole site.
func holdKey(err error) string {
	var local *localRootError
	if errors.As(err, &local) {
		return local.root
	}
	return ""
}

// maxErrorText bounds what is written into a document, bytes.
const maxErrorText = 1000

func (u *Uploader) failure(log *zap.Logger, t task, now time.Time, err error) (*avalon.Outcome, time.Duration) {
	rec, _ := t.file.On(u.RemoteSite)
	tries := rec.Tries + 1
	u.count(0, 1)
	fields := []zap.Field{zap.Error(err), zap.Int("tries", tries), zap.Int("retry_cnt", u.RetryCount)}
	var wake time.Duration
	if tries < u.RetryCount {
		wake = u.Backoff.After(tries)
		log.Warn("upload failed", append(fields, zap.Duration("again_in", wake))...)
	} else {
		log.Error("upload failed for good; repair the cause and delete tries from the record to start again", fields...)
	}
	text := err.Error()
	return &avalon.Outcome{File: t.file, Error: text[:min(len(text), maxErrorText)], At: now}, wake
}

func (u *Uploader) count(synced, failed int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.synced += synced
	u.failed += failed
}

// flush records what has gathered for a job when it is time.
func (u *Uploader) flush(j *job) {
	u.record(context.Background(), j, u.schedule.due(j, u.flush))
}

// record writes outcomes, for as long as it takes: a file that is on the site and not marked would be
// looked at again.
func (u *Uploader) record(ctx context.Context, j *job, outcomes []avalon.Outcome) {
	over := false
	if len(outcomes) == 0 {
		over = u.schedule.ended(j)
	}
	for len(outcomes) > 0 {
		u.write(ctx, j.key, outcomes)
		outcomes, over = u.schedule.recordedAll(j, u.flush)
	}
	u.conclude(j, over)
}

// writeTimeout bounds the wait for the database once we were told to stop.
const writeTimeout = 2 * time.Second

func (u *Uploader) write(ctx context.Context, key avalon.Key, outcomes []avalon.Outcome) {
	for n := 0; ; n++ {
		// Uploads that were stopped still have their outcome written.
		writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(writeTimeout, cancel) })
		err := u.Store.Record(writing, key, u.RemoteSite, outcomes)
		stop()
		cancel()
		var refused *avalon.RecordError
		switch {
		case err == nil:
			return
		case errors.As(err, &refused):
			u.report(key, err.Error())
			return
		case ctx.Err() != nil:
			u.Log.Warn("outcome not recorded; the files are looked at again at the next start",
				zap.Stringer("representation", key), zap.Error(err))
			return
		case n == 0:
			u.Log.Warn("outcome can't be recorded yet", zap.Stringer("representation", key), zap.Error(err))
		}
		select {
		case <-time.After(jitter(time.Second)):
		case <-ctx.Done():
		}
	}
}

// jitter is d, give or take a quarter, so that many who wait do not all come at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}
