package web

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/state"
)

const (
	// How often the database is asked while somebody looks, at the most.
	countEvery  = 5 * time.Second
	failedEvery = 2 * time.Second

	// roomEvery is how often Drive is asked how much space is left while somebody looks.
	roomEvery = 5 * time.Minute
	askAgain  = 30 * time.Second // if it did not answer

	// share is how much longer than an answer took it is waited for the next: the page takes a twentieth of one core
	// of the database at the most.
	share = 20

	// mostFailed bounds the failed files that are read, about 5 MB.
	mostFailed = 10_000

	// lookedFor is how long after the last look the books are kept up to date.
	lookedFor = 30 * time.Second

	// soon is how long a button waits for what has come of it to be known.
	soon = 2 * time.Second

	// askTimeout bounds one question to the database.
	askTimeout = 5 * time.Minute
)

// books are what was found in the database, for as long as somebody looks. However many look, it is asked by one at a
// time, and everybody is told the last answer.
type books struct {
	source Source
	log    *zap.Logger

	mu      sync.Mutex
	looked  time.Time
	working bool
	ended   sync.WaitGroup
	stop    context.Context
	cancel  context.CancelFunc
	wake    chan struct{} // a person has changed something
	ready   chan struct{} // closed when all was answered once

	now ledger

	// When to ask again at the earliest, whether somebody looked all the time or not. Only who works uses them.
	countAgain, listAgain time.Time
}

// ledger is what is in the books. It is replaced, never changed.
type ledger struct {
	Projects []projectCounts
	Total    projectCounts
	Counted  time.Time // when the last count ended; zero if none has
	Failed   []failedGroup
	Files    int64     // failed ones that were read
	Listed   time.Time // when the failed ones were read; zero if they were not
	Paused   []state.Pause
	Room     site.Quota
	RoomAt   time.Time
	Away     bool // the database does not answer
}

type projectCounts struct {
	Project string
	avalon.Stats
}

// ToUpload is what is pending and waiting.
func (c projectCounts) ToUpload() avalon.FileCount {
	n := c.Pending
	n.Add(c.BackingOff)
	return n
}

// failedGroup is a representation with failed files.
type failedGroup struct {
	avalon.FailedFile       // the last to fail
	Files             int64 // all of them
}

func newBooks(source Source, log *zap.Logger) *books {
	b := &books{source: source, log: log, wake: make(chan struct{}, 1), ready: make(chan struct{})}
	b.stop, b.cancel = context.WithCancel(context.Background())
	return b
}

// look returns what is known, and has it kept up to date for a while.
func (b *books) look() ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked = time.Now()
	if !b.working && b.stop.Err() == nil {
		b.working = true
		b.ended.Go(b.work)
	}
	return b.now
}

// lookWithin is look, but waits for the first answers, not longer than that.
func (b *books) lookWithin(ctx context.Context, d time.Duration) ledger {
	b.look()
	patience := time.NewTimer(d)
	defer patience.Stop()
	select {
	case <-b.readied():
	case <-patience.C:
	case <-ctx.Done():
	}
	return b.look()
}

func (b *books) readied() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

// changed says that a person has changed something. It returns when that is known, or soon at least.
func (b *books) changed() {
	known := make(chan struct{})
	b.look()
	b.mu.Lock()
	if b.stop.Err() == nil {
		b.ended.Go(func() {
			defer close(known)
			_ = b.list(time.Now()) // the worker tells of what does not work
		})
	}
	b.mu.Unlock()
	select {
	case <-known:
	case <-time.After(soon):
	case <-b.stop.Done():
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// close ends it.
func (b *books) close() {
	b.mu.Lock()
	b.cancel() // nobody begins to work from now on
	b.mu.Unlock()
	b.ended.Wait()
}

// work asks for as long as somebody looks.
func (b *books) work() {
	var asked time.Time // when to ask for the room again
	var away bool
	for {
		now := time.Now()
		var err error
		if !now.Before(b.listAgain) {
			err = b.list(now)
			b.listAgain = again(now, failedEvery)
		}
		if now = time.Now(); err == nil && !now.Before(b.countAgain) {
			err = b.count(now)
			b.countAgain = again(now, countEvery)
		}
		if now = time.Now(); !now.Before(asked) {
			room, err := b.room()
			if err == nil {
				b.update(func(l *ledger) { l.Room, l.RoomAt = room, now })
			}
			if asked = now.Add(roomEvery); err != nil {
				asked = now.Add(askAgain)
			}
		}
		if b.stop.Err() != nil {
			return
		}
		if err != nil && !away {
			b.log.Warn("the page can't show what is in the database for now", zap.Error(err))
		}
		away = err != nil
		b.update(func(l *ledger) { l.Away = away })
		b.readyOnce()

		next := time.NewTimer(time.Until(earliest(b.countAgain, b.listAgain)))
		select {
		case <-next.C:
		case <-b.wake:
			b.listAgain = time.Time{}
		case <-b.stop.Done():
		}
		next.Stop()
		if b.unwatched() {
			return
		}
	}
}

// again is when to ask again, by how long it took.
func again(began time.Time, least time.Duration) time.Time {
	took := time.Since(began)
	return began.Add(max(least, share*took))
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (b *books) readyOnce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.ready:
	default:
		close(b.ready)
	}
}

// unwatched ends the work if nobody looks any more. What takes memory is forgotten, unless it would be too soon to ask
// for it again.
func (b *books) unwatched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop.Err() == nil && time.Since(b.looked) < lookedFor {
		return false
	}
	b.working, b.ready = false, make(chan struct{})
	if !time.Now().Before(b.listAgain) {
		b.now.Failed, b.now.Listed = nil, time.Time{}
	}
	return true
}

func (b *books) update(change func(*ledger)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.now)
}

// room asks Drive, if it is not too soon after the last time.
func (b *books) room() (site.Quota, error) {
	b.mu.Lock()
	known, at := b.now.Room, b.now.RoomAt
	b.mu.Unlock()
	if !at.IsZero() && time.Since(at) < roomEvery {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(b.stop, 10*time.Second)
	defer cancel()
	return b.source.Quota(ctx)
}

// list reads what is paused, and the failed files.
func (b *books) list(now time.Time) error {
	ctx, cancel := context.WithTimeout(b.stop, askTimeout)
	defer cancel()
	paused, err := b.source.Pauses(ctx)
	if err != nil {
		return err
	}
	projects, err := b.source.Projects(ctx)
	if err != nil {
		return err
	}
	var groups []failedGroup
	var files int64
	at := map[avalon.Key]int{}
	for _, p := range projects {
		failed, err := b.source.Failed(ctx, p.Name, mostFailed-int(files))
		if err != nil {
			return err
		}
		for _, f := range failed {
			files++
			i, ok := at[f.Key]
			if !ok {
				i = len(groups)
				at[f.Key] = i
				groups = append(groups, failedGroup{FailedFile: f})
			}
			groups[i].Files++
		}
		if files >= mostFailed {
			break
		}
	}
	slices.SortStableFunc(groups, func(a, b failedGroup) int {
		return cmp.Or(b.LastFailed.Compare(a.LastFailed), cmp.Compare(a.Key.Project, b.Key.Project), cmp.Compare(a.Path, b.Path))
	})
	b.update(func(l *ledger) { l.Paused, l.Failed, l.Files, l.Listed = paused, groups, files, now })
	return nil
}

// count counts all projects. What is known of each is told as soon as it is.
func (b *books) count(now time.Time) error {
	ctx, cancel := context.WithTimeout(b.stop, askTimeout)
	defer cancel()
	projects, err := b.source.Projects(ctx)
	if err != nil {
		return err
	}
	var rows []projectCounts
	var total projectCounts
	for _, p := range projects {
		c, err := b.source.Count(ctx, p.Name)
		if err != nil {
			return err
		}
		if !c.IsZero() {
			rows = append(rows, projectCounts{p.Name, c})
			total.Add(c)
		}
	}
	b.update(func(l *ledger) { l.Projects, l.Total, l.Counted = rows, total, now })
	return nil
}
