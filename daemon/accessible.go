package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/state"
	"sitesync/watcher"
)

const (
	// accessibleBatch is how many documents are looked at by one question to the database.
	accessibleBatch = 1000

	// accessibleRetry is the wait after a project could not be changed.
	accessibleRetry = 5 * time.Second

	// accessibleInterval is the time between two scans while the change stream is open, which reports all that is new.
	accessibleInterval = time.Hour

	// accessibleOverlap is how far a scan goes back before the start of the last one: the times in ids are those of
	// the clocks of the machines that publish.
	accessibleOverlap = 24 * time.Hour

	// accessibleTurn is how long a scan looks at what is older before it looks again for what is new.
	accessibleTurn = time.Minute

	// accessibleRenewal is how often all documents are looked at again, for what was changed while no sitesync ran.
	accessibleRenewal = 30 * 24 * time.Hour
)

// accessibility gives files the records of the sites of always_accessible_on that they lack: at once those that the
// change stream reports, and all others by scans, the newest first. All of it may be done twice or by several processes
// at once. Pauses do not concern it, as it transfers nothing.
type accessibility struct {
	cfg   *config.Config
	store *avalon.Store
	scans *state.Scans
	log   *zap.Logger

	scanned chan struct{} // a scan is wanted
	refused sync.Once     // this was logged
	files   atomic.Int64  // that got records
}

func newAccessibility(cfg *config.Config, store *avalon.Store, scans *state.Scans, log *zap.Logger) *accessibility {
	return &accessibility{cfg: cfg, store: store, scans: scans,
		log: log.With(zap.Strings("always_accessible_on", cfg.AlwaysAccessibleOn)), scanned: make(chan struct{}, 1)}
}

// keepAccessible starts what always_accessible_on takes, if it is set. The returned function ends that, and waits for
// its end. With Once there is one scan, which has ended before keepAccessible returns.
func (d *Daemon) keepAccessible(ctx context.Context, store *avalon.Store, db *state.Database) (stop func(), err error) {
	if len(d.cfg.AlwaysAccessibleOn) == 0 {
		return func() {}, nil
	}
	name := state.AccessibleName(d.cfg.Mongo.Database, d.cfg.AlwaysAccessibleOn)
	a := newAccessibility(d.cfg, store, db.Scans(name), d.log)
	d.adapter.update(func(p *parts) { p.accessibility = a })
	if d.once {
		for more := true; more && err == nil; {
			more, err = a.scan(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return func() {}, fmt.Errorf("look for files that lack the record of a site: %w", err)
		}
		return func() {}, nil
	}
	// What goes wrong with this lease does so with that of the route, which is logged. Nothing is lost if two processes
	// are at work for a moment.
	lease := db.NewLease(name, state.Self(), zap.NewNop(), func() state.WorkerStatus { return state.WorkerStatus{} })
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { lease.Run(ctx, func(ctx, _ context.Context) { a.run(ctx) }) })
	return func() { cancel(); wg.Wait() }, nil
}

// run works until ctx ends.
func (a *accessibility) run(ctx context.Context) {
	queue := watcher.NewQueue(queueCapacity)
	defer queue.Close()
	stream := &watcher.Stream{Store: a.store, Lacking: a.cfg.AlwaysAccessibleOn, Queue: queue, Poll: a.wantScan,
		Gap: a.wantScan, Log: a.log}
	var wg sync.WaitGroup
	defer wg.Wait()
	if a.cfg.Stream {
		wg.Go(func() { stream.Run(ctx) })
		for _, lane := range []watcher.Lane{watcher.Live, watcher.Backlog} {
			wg.Go(func() { a.follow(ctx, queue, lane) })
		}
	}
	a.scanAgain(ctx, stream)
}

func (a *accessibility) wantScan() {
	select {
	case a.scanned <- struct{}{}:
	default: // it is wanted already
	}
}

// follow looks at what the stream has reported, until ctx ends.
func (a *accessibility) follow(ctx context.Context, queue *watcher.Queue, lane watcher.Lane) {
	for {
		batch, err := queue.GetBatch(ctx, lane, accessibleBatch)
		if err != nil {
			return
		}
		byProject := map[string][]avalon.ID{}
		for _, item := range batch {
			byProject[item.Key.Project] = append(byProject[item.Key.Project], item.Key.ID)
		}
		for project, ids := range byProject {
			done, err := a.ensure(ctx, project, ids)
			a.logDone(project, done)
			if err == nil || ctx.Err() != nil {
				continue
			}
			for _, id := range ids { // other projects do not wait for this one; scans log the error
				queue.AddAfter(avalon.Key{Project: project, ID: id}, lane, accessibleRetry)
			}
		}
		for _, item := range batch {
			queue.Done(item.Key)
		}
	}
}

// ensure adds the records that documents lack.
func (a *accessibility) ensure(ctx context.Context, project string, ids []avalon.ID) (avalon.EditResult, error) {
	done, err := a.store.EnsureSites(ctx, project, a.cfg.AlwaysAccessibleOn, ids)
	a.files.Add(done.Files)
	if _, refused := errors.AsType[*avalon.RefusedError](err); refused {
		a.refused.Do(func() { a.log.Warn("cannot make all files accessible", zap.Error(err)) })
		err = nil // it would be refused again
	}
	return done, err
}

func (a *accessibility) logDone(project string, done avalon.EditResult) {
	if done.Files > 0 {
		a.log.Info("added the records of sites that files lacked", zap.String("project", project),
			zap.Int64("files", done.Files), zap.Int64("representations", done.Representations),
			zap.String("such_as", done.Examples[0]))
	}
}

// scanAgain scans at the start, when the stream may have missed something, and every now and then, until ctx ends.
func (a *accessibility) scanAgain(ctx context.Context, stream *watcher.Stream) {
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second),
		backoff.WithMaxInterval(a.cfg.LoopDelay), backoff.WithMaxElapsedTime(0))
	failing := false
	for {
		start := time.Now()
		more, err := a.scan(ctx)
		if ctx.Err() != nil {
			return
		}
		// Scans take a tenth of the time at most.
		wait := max(a.cfg.LoopDelay, 9*time.Since(start))
		log, message := a.log.Warn, "cannot look for files that lack the record of a site; retrying"
		switch {
		case err != nil:
			if failing {
				log = a.log.Debug
			}
			wait = retry.NextBackOff()
			log(message, zap.Duration("in", wait), zap.Error(err))
		case more:
			wait = 0
		case !a.cfg.Poll:
			wait = math.MaxInt64
		case stream.State() == watcher.StreamOpen:
			wait = max(wait, accessibleInterval)
		}
		if err == nil {
			if failing {
				a.log.Info("looking for files that lack the record of a site works again")
			}
			retry.Reset()
		}
		failing = err != nil
		select {
		case <-time.After(wait):
		case <-a.scanned:
		case <-ctx.Done():
			return
		}
	}
}

// scan looks at what is new in all projects, then goes on for a while with what is older, and reports whether more of
// that is left. A project that cannot be read does not keep the others from being scanned; the error counts such
// projects and has the first one's cause.
func (a *accessibility) scan(ctx context.Context) (more bool, err error) {
	until := time.Now().Add(min(a.cfg.LoopDelay, accessibleTurn))
	projects, err := a.store.Projects(ctx)
	if err != nil {
		return false, err
	}
	failed := map[string]bool{}
	var first error
	each := func(scan func(avalon.Project) (avalon.EditResult, error)) {
		for _, project := range projects {
			if failed[project.Name] || ctx.Err() != nil {
				continue
			}
			done, err := scan(project)
			a.logDone(project.Name, done)
			if err != nil {
				failed[project.Name], first = true, cmp.Or(first, err)
			}
		}
	}
	each(func(p avalon.Project) (avalon.EditResult, error) { return a.scanNew(ctx, p) })
	each(func(p avalon.Project) (avalon.EditResult, error) {
		done, left, err := a.scanOld(ctx, p, until)
		more = more || left
		return done, err
	})
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case len(failed) > 0:
		return false, fmt.Errorf("%d of %d project(s): %w", len(failed), len(projects), first)
	}
	return more, nil
}

// scanNew looks at the documents of a project that are new since the last time, or since a day.
func (a *accessibility) scanNew(ctx context.Context, project avalon.Project) (done avalon.EditResult, err error) {
	start := time.Now()
	scan, err := a.scans.Read(ctx, project)
	if err != nil {
		return done, err
	}
	if scan.Newest.IsZero() {
		scan = state.Scan{Newest: start, Position: avalon.OldestID(start.Add(-accessibleOverlap))}
	} else if scan.Position.IsZero() && start.Sub(scan.Completed) >= accessibleRenewal {
		scan.Position = avalon.OldestID(scan.Newest.Add(-accessibleOverlap))
	}
	from := avalon.OldestID(scan.Newest.Add(-accessibleOverlap))
	for before, more := (avalon.ID{}), true; more; {
		if before, more, err = a.step(ctx, project, from, before, &done); err != nil {
			return done, err
		}
	}
	scan.Newest = start
	return done, a.scans.Save(ctx, project, scan)
}

// scanOld looks at the documents of a project that are older, if that has not been done: one batch at least, and more
// until the time has come. It goes on where it was interrupted, and reports whether more is left.
func (a *accessibility) scanOld(ctx context.Context, project avalon.Project, until time.Time) (
	done avalon.EditResult, left bool, err error) {
	scan, err := a.scans.Read(ctx, project)
	left = !scan.Position.IsZero()
	for again := true; again && left && err == nil; again = time.Now().Before(until) {
		if scan.Position, left, err = a.step(ctx, project, avalon.ID{}, scan.Position, &done); err != nil {
			break
		}
		if !left {
			scan.Position, scan.Completed = avalon.ID{}, time.Now()
		}
		err = a.scans.Save(ctx, project, scan)
	}
	return done, left, err
}

// step looks at the newest documents of a project before an id, not below the id from, and adds to done. It returns how
// far it has come, and whether there may be more.
func (a *accessibility) step(ctx context.Context, project avalon.Project, from, before avalon.ID,
	done *avalon.EditResult) (last avalon.ID, more bool, err error) {
	start := time.Now()
	ids, err := a.store.NewestIDs(ctx, project.Name, from, before, accessibleBatch)
	if err != nil || len(ids) == 0 {
		return before, false, err
	}
	edited, err := a.ensure(ctx, project.Name, ids)
	done.Add(edited)
	if err != nil {
		return before, false, err
	}
	select {
	case <-time.After(time.Since(start)): // it takes at most half of the server's time
	case <-ctx.Done():
	}
	return ids[len(ids)-1], len(ids) == accessibleBatch, ctx.Err()
}
