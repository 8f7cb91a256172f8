package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// perProjectBatch is how many keys of one project are read before it is the turn of the next one, so that a long
// backlog does not hold up the other projects.
const perProjectBatch = 200

// minRetry is the wait after a failed poll. It doubles with each further failure, up to the interval.
const minRetry = time.Second

// maxFresh is how many fresh keys may wait in the live lane, so that a new publish does not wait for more. The others
// follow within moments.
const maxFresh = 1000

// maxKnown limits the keys that are remembered from one poll to the next, about 2.5 MB. A key beyond is never fresh.
const maxKnown = 100_000

// How long a document counts as idle, without and with a stream that reports its changes. The poll notices a change of
// a pending file by itself, but not, for example, one of what the file lacks.
const (
	maxIdleWithoutStream = 10 * time.Minute
	maxIdleWithStream    = time.Hour
)

// Poller finds everything that is pending: at the start, every Interval, and when it is triggered. It reads keys only.
//
// A key that no earlier poll has seen, and that no stream can have reported, is fresh and goes to the live lane. The
// others are a backlog. When the queue has no room for it, the backlog is fed as the queue drains, while further polls
// look for fresh keys.
type Poller struct {
	Store    *avalon.Store
	Rules    avalon.Rules
	Interval time.Duration // from the start of one poll to that of the next; more than 0
	Queue    *Queue
	Log      *zap.Logger

	// Skip reports whether a project is left out for now; nil: none is.
	Skip func(project string) bool

	// OnlyTriggered turns off the polls at the start and every Interval.
	OnlyTriggered bool

	// StreamOpen reports whether a stream reports changes; nil: there is none.
	StreamOpen func() bool

	triggered chan struct{}

	mu       sync.Mutex
	counts   PollCounts
	known    map[uint64]knownKey // of the last poll, and of the running one; nil: there was none
	round    knownKey            // evenRound or 0, in turns: of the last poll, or the running one
	skipped  map[string]bool     // projects that the last poll has left out
	gap      bool                // the stream may have missed something since the last poll
	stopFeed context.CancelFunc  // ends the feeding of the backlog; nil: there is none
	refeed   bool                // poll and feed once more when it ends

	recorded map[uint64]bool // keys recorded since the running poll began; nil: none runs
	seed     maphash.Seed
}

// knownKey is what is remembered of a key that a poll has found. One map serves all polls: a second one, and what is
// left of the one before, would be most of the memory that a long backlog takes.
type knownKey uint8

const (
	sourceOpen knownKey = 1 << iota // see avalon.Candidate
	idle                            // there was nothing to do about it
	evenRound                       // which poll has found it last
)

// PollCounts count polls since the start.
type PollCounts struct {
	Runs     int64     // finished polls, also failed ones
	Failures int64     // polls that could not read all projects
	Failing  bool      // the last poll was one of these
	Success  time.Time // end of the last poll without failure; zero if there is none yet
}

// Counts returns the counts so far.
func (p *Poller) Counts() PollCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// NewPoller returns a poller; the caller sets its other fields.
func NewPoller(store *avalon.Store, rules avalon.Rules, queue *Queue, log *zap.Logger) *Poller {
	return &Poller{Store: store, Rules: rules, Queue: queue, Log: log, triggered: make(chan struct{}, 1),
		seed: maphash.MakeSeed()}
}

// Trigger starts a poll, which feeds all that it finds, as soon as the running one has ended.
func (p *Poller) Trigger() {
	p.mu.Lock()
	p.refeed = p.stopFeed != nil
	p.mu.Unlock()
	p.signal()
}

func (p *Poller) signal() {
	select {
	case p.triggered <- struct{}{}:
	default: // it is triggered already
	}
}

// TriggerAfterGap is Trigger for when the stream may have missed something: keys that are new since the last poll are
// fresh, and none is idle.
func (p *Poller) TriggerAfterGap() {
	p.mu.Lock()
	p.gap = true
	for h := range p.known {
		p.known[h] &^= idle
	}
	p.mu.Unlock()
	p.Trigger()
}

// Restart is Trigger, but does not wait until the backlog of an earlier poll is fed.
func (p *Poller) Restart() {
	p.mu.Lock()
	if p.stopFeed != nil {
		p.stopFeed()
	}
	p.mu.Unlock()
	p.Trigger()
}

// NothingDue marks a key as idle: polls leave it out until something happens to it, or it has been idle for long.
func (p *Poller) NothingDue(key avalon.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hash(key)
	if k, ok := p.known[h]; ok {
		p.known[h] = k | idle
	}
}

// Recorded is called when the outcome of a file was recorded, so that its key is fresh if it is pending again.
func (p *Poller) Recorded(key avalon.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hash(key)
	delete(p.known, h)
	if p.recorded != nil {
		p.recorded[h] = true
	}
}

func (p *Poller) hash(key avalon.Key) uint64 { return maphash.Comparable(p.seed, key) }

func (p *Poller) isIdle(key avalon.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[p.hash(key)]&idle != 0
}

// Run polls until ctx ends. A failed poll is retried sooner than the next one is due, as it may be the one that was to
// find what the stream has missed.
func (p *Poller) Run(ctx context.Context) {
	failing, retry := false, minRetry
	var feeding sync.WaitGroup
	defer feeding.Wait()
	if p.OnlyTriggered && !p.waitTrigger(ctx, nil) {
		return
	}
	for {
		start := time.Now()
		more, full, err := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(start)
		wait := max(p.Interval-took, took) // polls take at most half of the server's time
		switch {
		case err != nil:
			wait, retry = min(retry, p.Interval), min(2*retry, p.Interval)
			log, message := p.Log.Warn, "poll failed; retrying"
			if failing {
				log, message = p.Log.Debug, "poll failed again; retrying"
			}
			log(message, zap.Error(err), zap.Duration("in", wait))
		case more:
			wait = min(wait, max(time.Second, took))
		case p.OnlyTriggered:
			wait = math.MaxInt64
		}
		if err == nil {
			if failing {
				p.Log.Info("poll works again")
			}
			retry = minRetry
		}
		failing = err != nil
		if full {
			p.startFeeding(ctx, &feeding)
		}

		if p.waitTrigger(ctx, time.After(wait)) {
			retry = minRetry
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// waitTrigger waits for a trigger, and returns false if the time or ctx ends before.
func (p *Poller) waitTrigger(ctx context.Context, time <-chan time.Time) bool {
	select {
	case <-time:
		return false
	case <-p.triggered:
		return true
	case <-ctx.Done():
		return false
	}
}

// startFeeding feeds the backlog that there was no room for, as the queue drains.
func (p *Poller) startFeeding(ctx context.Context, feeding *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopFeed != nil {
		return
	}
	ctx, p.stopFeed = context.WithCancel(ctx)
	feeding.Go(func() {
		// The next poll reports an error.
		_, _ = p.each(ctx, func(c avalon.Candidate) error {
			if p.isIdle(c.Key) {
				return nil
			}
			return p.Queue.AddBlocking(ctx, c.Key, Backlog)
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stopFeed()
		p.stopFeed = nil
		if p.refeed {
			p.refeed = false
			p.signal()
		}
	})
}

// poll puts fresh keys into the live lane, and others into the backlog while there is room. It reports whether there
// are more fresh keys, and whether there was no room for all of the backlog.
func (p *Poller) poll(ctx context.Context) (more, full bool, err error) {
	streaming := p.StreamOpen != nil && p.StreamOpen()
	p.mu.Lock()
	first, size, left, feeding := p.known == nil, len(p.known), p.skipped, p.stopFeed != nil
	missed := !first && (!streaming || p.gap)
	p.gap, p.recorded = !streaming, map[uint64]bool{}
	if first {
		p.known = map[uint64]knownKey{}
	}
	p.round ^= evenRound
	p.mu.Unlock()
	// An idle key is looked at in one of so many polls.
	maxIdle := maxIdleWithoutStream
	if streaming {
		maxIdle = maxIdleWithStream
	}
	turns := uint64(max(1, maxIdle/p.Interval))
	turn := uint64(time.Now().UnixNano()/int64(p.Interval)) % turns

	skipped, err := p.each(ctx, func(c avalon.Candidate) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		h := p.hash(c.Key)
		before, known := p.known[h]
		isNew := !known || before&sourceOpen != 0 && !c.SourceOpen
		isFresh := missed && isNew && !left[c.Key.Project] && size < maxKnown
		// What the other route of this process has brought to the source is reported by no stream.
		isIdle := !isNew && before&idle != 0 && h%turns != turn
		switch {
		case isFresh && (p.Queue.Len(Live) >= maxFresh || !p.Queue.Add(c.Key, Live)):
			more = true
			delete(p.known, h) // and so it is fresh the next time too
		case known || len(p.known) < maxKnown:
			now := p.round
			if c.SourceOpen {
				now |= sourceOpen
			}
			if isIdle {
				now |= idle
			}
			p.known[h] = now
		}
		if !isIdle && !feeding && !full {
			full = !p.Queue.Add(c.Key, Backlog)
		}
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	recorded := p.recorded
	p.recorded = nil
	if ctx.Err() != nil {
		return false, false, err // a shutdown is no failure
	}
	for h := range recorded { // the poll may have seen them before
		delete(p.known, h)
	}
	p.count(err)
	for h, k := range p.known {
		if err != nil { // a key that could not be read is not fresh later
			p.known[h] = k&^evenRound | p.round
		} else if k&evenRound != p.round {
			delete(p.known, h)
		}
	}
	p.gap = p.gap || missed && (more || err != nil)
	p.skipped = skipped
	return more, full, err
}

// count counts a poll, with the mutex locked.
func (p *Poller) count(err error) {
	p.counts.Runs++
	p.counts.Failing = err != nil
	if err != nil {
		p.counts.Failures++
	} else {
		p.counts.Success = time.Now()
	}
}

// Once puts every pending key of every project into the queue, and waits for room. A project that cannot be read does
// not keep the others from being polled; the error counts such projects and has the first one's cause.
func (p *Poller) Once(ctx context.Context) error {
	_, err := p.each(ctx, func(c avalon.Candidate) error { return p.Queue.AddBlocking(ctx, c.Key, Backlog) })
	if ctx.Err() != nil {
		return err // a shutdown is no failure
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(err)
	return err
}

// each visits what is pending in every project, a batch of each in turn, but for the projects that are skipped.
func (p *Poller) each(ctx context.Context, visit func(avalon.Candidate) error) (skipped map[string]bool, err error) {
	projects, err := p.Store.Projects(ctx)
	if err != nil {
		return nil, err
	}
	type cursor struct {
		project string
		next    func() (avalon.Candidate, error, bool)
		stop    func()
	}
	var open []cursor
	defer func() {
		for _, c := range open {
			c.stop()
		}
	}()
	for _, project := range projects {
		next, stop := iter.Pull2(p.Store.Pending(ctx, project.Name, p.Rules))
		open = append(open, cursor{project.Name, next, stop})
	}
	skipped = map[string]bool{}
	failed := 0
	var first error
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(c cursor) bool {
			more, err := false, error(nil)
			if p.Skip != nil && p.Skip(c.project) {
				skipped[c.project] = true
			} else if more, err = visitBatch(c.next, visit); err != nil {
				failed++
				first = cmp.Or(first, err)
			}
			if !more {
				c.stop()
			}
			return !more
		})
		if ctx.Err() != nil {
			return skipped, ctx.Err()
		}
	}
	if failed > 0 {
		return skipped, fmt.Errorf("%d of %d project(s): %w", failed, len(projects), first)
	}
	return skipped, nil
}

// visitBatch visits a batch of one project, and reports whether there may be more.
func visitBatch(next func() (avalon.Candidate, error, bool), visit func(avalon.Candidate) error) (
	more bool, err error) {
	for range perProjectBatch {
		c, err, ok := next()
		if !ok || err != nil {
			return false, err
		}
		if err := visit(c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// slowIndex is the time after which an index that is still being created is logged.
const slowIndex = 30 * time.Second

// IndexEnsurer creates the indexes that polls use, in projects without. Polls do not wait for it, as MongoDB may take
// long: it reads all documents, and waits for every member of the replica set.
type IndexEnsurer struct {
	Store    *avalon.Store
	Route    avalon.Route
	Interval time.Duration // between looks for new projects
	Log      *zap.Logger

	done   map[avalon.Project]bool
	failed bool // this was logged
}

// Run works until ctx ends.
func (x *IndexEnsurer) Run(ctx context.Context) {
	for {
		x.Once(ctx)
		select {
		case <-time.After(x.Interval):
		case <-ctx.Done():
			return
		}
	}
}

// Once ensures the indexes of every project. A failure is logged once, since its cause is the same in all projects.
func (x *IndexEnsurer) Once(ctx context.Context) {
	projects, err := x.Store.Projects(ctx)
	if err != nil {
		x.Log.Debug("cannot list the projects for their indexes", zap.Error(err)) // polls log it as a warning
		return
	}
	if x.done == nil {
		x.done = map[avalon.Project]bool{}
	}
	maps.DeleteFunc(x.done, func(p avalon.Project, _ bool) bool { return !slices.Contains(projects, p) })
	for _, p := range projects {
		if x.done[p] {
			continue
		}
		slow := time.AfterFunc(slowIndex, func() {
			x.Log.Warn("the index for polls is still being created; until then, polls are slower",
				zap.String("project", p.Name), zap.Duration("for", slowIndex))
		})
		err := x.Store.EnsureIndex(ctx, p, x.Route)
		slow.Stop()
		switch {
		case err == nil:
			x.done[p], x.failed = true, false
		case errors.Is(err, avalon.ErrNotFound), ctx.Err() != nil, x.failed:
		default:
			x.failed = true
			x.Log.Warn("cannot create the index for polls, which will be slow in large projects; allow the user to "+
				"create indexes, or create it by hand and run with --no-index",
				zap.String("project", p.Name), zap.Error(err))
		}
	}
}
