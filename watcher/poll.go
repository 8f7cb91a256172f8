package watcher

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// share is how many keys of one project the poll takes before it looks at the next, so that a project with
// a long backlog does not hold up the others.
const share = 200

// firstRetry is how long after a failed poll it is tried again; the wait doubles, up to the interval.
const firstRetry = time.Second

// mostFresh is how many keys that are new to the poll wait in the live lane, so that a publish of this moment waits for no
// more. The others follow within moments.
const mostFresh = 1000

// mostKnown bounds the keys that are remembered from one poll to the next, about 20 MB. What is beyond is never fresh.
const mostKnown = 500_000

// How long it is believed that nothing is to be done about a document that was looked at, while no stream tells of it
// and while one does. What happens to its pending file is seen by the poll; but not, for example, what it lacks.
const (
	unwatched = 10 * time.Minute
	watched   = time.Hour
)

// Poll looks for everything that is pending: at once, every Interval, and when it is asked to. It reads keys only.
//
// What is fresh, as an earlier poll has not seen it and no stream can have told of it, goes to the live lane. All else is
// a backlog. If there is no room for it in the queue, it is fed at the pace at which the queue drains, while further
// polls look for what is fresh.
type Poll struct {
	Store    *avalon.Store
	Rules    avalon.Rules
	Interval time.Duration // from the start of one poll to that of the next; more than 0
	Queue    *Queue
	Log      *zap.Logger

	// Skip tells which projects are left out for now; nil: none.
	Skip func(project string) bool

	// OnlyAsked has Run poll when it is asked to, and at no other time.
	OnlyAsked bool

	// Watched reports that a stream tells of what happens; nil: there is none.
	Watched func() bool

	now chan struct{}

	mu     sync.Mutex
	counts PollCounts
	known  map[uint64]knownKey // of the last poll; nil: there was none
	left   map[string]bool     // projects that the last poll has left out
	gap    bool                // the stream may have missed something since the last poll
	feed   context.CancelFunc  // ends the present feeding; nil: there is none
	again  bool                // feed once more when it ends

	recorded map[uint64]bool // keys since the present poll began; nil: there is none
	seed     maphash.Seed
}

// knownKey is what is remembered of a key that a poll has found.
type knownKey struct {
	sourceOpen bool // see avalon.Candidate
	idle       bool // it was looked at, and there was nothing to do
}

// PollCounts count polls since the start.
type PollCounts struct {
	Runs     int64     // that have ended, however they did
	Failures int64     // runs in which a project could not be read, or none
	Failing  bool      // the last run was one of them
	Success  time.Time // when the last one without failure ended; zero if none has yet
}

// Counts returns the counts so far.
func (p *Poll) Counts() PollCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// NewPoll returns a poll; the caller fills in the rest of the fields.
func NewPoll(store *avalon.Store, rules avalon.Rules, queue *Queue, log *zap.Logger) *Poll {
	return &Poll{Store: store, Rules: rules, Queue: queue, Log: log, now: make(chan struct{}, 1), seed: maphash.MakeSeed()}
}

// Now asks for a poll as soon as the present one has ended, and to feed all that it finds.
func (p *Poll) Now() {
	p.mu.Lock()
	p.again = p.feed != nil
	p.mu.Unlock()
	p.ask()
}

func (p *Poll) ask() {
	select {
	case p.now <- struct{}{}:
	default: // one is asked for already
	}
}

// Gap is Now, where a stream may have missed something: what is new since the last poll is fresh, and what was of no
// interest is looked at again.
func (p *Poll) Gap() {
	p.mu.Lock()
	p.gap = true
	for h, k := range p.known {
		p.known[h] = knownKey{sourceOpen: k.sourceOpen}
	}
	p.mu.Unlock()
	p.Now()
}

// Anew ends the feeding, which takes as long as its backlog, and begins another poll.
func (p *Poll) Anew() {
	p.mu.Lock()
	if p.feed != nil {
		p.feed()
	}
	p.mu.Unlock()
	p.Now()
}

// NothingDue says that there is nothing to do about a key, and nothing to wait for. It is not looked at again until something
// happens to it, but for safety's sake once in a while.
func (p *Poll) NothingDue(key avalon.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hash(key)
	if k, ok := p.known[h]; ok {
		k.idle = true
		p.known[h] = k
	}
}

// Recorded says that the outcome of a file of a representation was recorded, so that the key is fresh if it is pending
// again: somebody has taken the file back.
func (p *Poll) Recorded(key avalon.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hash(key)
	delete(p.known, h)
	if p.recorded != nil {
		p.recorded[h] = true
	}
}

func (p *Poll) hash(key avalon.Key) uint64 { return maphash.Comparable(p.seed, key) }

// isIdle reports whether a key need not be looked at.
func (p *Poll) isIdle(key avalon.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[p.hash(key)].idle
}

// Run polls until ctx ends. A poll that failed is tried again sooner than the next one would be, as it may be the
// one that was to find what the stream has missed.
func (p *Poll) Run(ctx context.Context) {
	troubled := false // already told
	retry := firstRetry
	var feeding sync.WaitGroup
	defer feeding.Wait()
	if p.OnlyAsked && !p.asked(ctx, nil) {
		return
	}
	for {
		start := time.Now()
		more, full, err := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(start)
		// However long a poll takes, it is no more than half of the time that the server is asked for.
		wait := max(p.Interval-took, took)
		switch {
		case err == nil:
			if troubled {
				p.Log.Info("poll works again")
			}
			troubled, retry = false, firstRetry
			if more {
				wait = min(wait, max(time.Second, took))
			} else if p.OnlyAsked {
				wait = math.MaxInt64
			}
		default:
			wait = min(retry, p.Interval)
			retry = min(2*retry, p.Interval)
			if !troubled {
				p.Log.Warn("poll failed; it is tried again", zap.Error(err), zap.Duration("in", wait))
			} else {
				p.Log.Debug("poll failed again", zap.Error(err), zap.Duration("in", wait))
			}
			troubled = true
		}
		if full {
			p.startFeeding(ctx, &feeding)
		}

		after := time.NewTimer(wait)
		if p.asked(ctx, after.C) {
			retry = firstRetry
		}
		after.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// asked waits until a poll is asked for, and reports false if it was time, or ctx has ended.
func (p *Poll) asked(ctx context.Context, time <-chan time.Time) bool {
	select {
	case <-time:
		return false
	case <-p.now:
		return true
	case <-ctx.Done():
		return false
	}
}

// startFeeding feeds what there was no room for, at the pace at which the queue drains.
func (p *Poll) startFeeding(ctx context.Context, feeding *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.feed != nil {
		return
	}
	ctx, p.feed = context.WithCancel(ctx)
	feeding.Go(func() {
		// What can't be read the next poll tells of.
		_, _ = p.each(ctx, func(c avalon.Candidate) error {
			if p.isIdle(c.Key) {
				return nil
			}
			return p.Queue.AddWait(ctx, c.Key, Backlog)
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.feed()
		p.feed = nil
		if p.again {
			p.again = false
			p.ask()
		}
	})
}

// poll looks once. It puts what is fresh into the live lane, and into the backlog what there is room for. It reports
// whether there is more that is fresh, and whether there was no room for all of the backlog.
func (p *Poll) poll(ctx context.Context) (more, full bool, err error) {
	unseen := p.Watched == nil || !p.Watched()
	p.mu.Lock()
	last, left, feeding := p.known, p.left, p.feed != nil
	missed := last != nil && (unseen || p.gap)
	p.gap, p.recorded = unseen, map[uint64]bool{}
	p.mu.Unlock()
	// Idle keys have their turn to be looked at all the same, each once in a while.
	within := watched
	if unseen {
		within = unwatched
	}
	turns := uint64(max(1, within/p.Interval))
	turn := uint64(time.Now().UnixNano()/int64(p.Interval)) % turns

	now := map[uint64]knownKey{}
	skipped, err := p.each(ctx, func(c avalon.Candidate) error {
		h := p.hash(c.Key)
		p.mu.Lock()
		before, known := last[h]
		p.mu.Unlock()
		isFresh := missed && (!known || before.sourceOpen && !c.SourceOpen) && !left[c.Key.Project] && len(last) < mostKnown
		isIdle := !isFresh && before.idle && h%turns != turn
		switch {
		case isFresh && (p.Queue.Len(Live) >= mostFresh || !p.Queue.Add(c.Key, Live)):
			more = true // it is not remembered, and so fresh the next time too
		case len(now) < mostKnown:
			now[h] = knownKey{c.SourceOpen, isIdle}
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
		return false, false, err // it was told to stop, which says nothing of the database
	}
	for h := range recorded { // it may have been seen before
		delete(now, h)
	}
	p.count(err)
	if err != nil {
		for h, k := range last { // what could not be read is not fresh later
			if _, ok := now[h]; !ok && len(now) < mostKnown {
				now[h] = k
			}
		}
	}
	p.gap = p.gap || missed && (more || err != nil)
	p.known, p.left = now, skipped
	return more, full, err
}

// count takes note of a poll, with the lock held.
func (p *Poll) count(err error) {
	p.counts.Runs++
	p.counts.Failing = err != nil
	if err != nil {
		p.counts.Failures++
	} else {
		p.counts.Success = time.Now()
	}
}

// Once puts every pending key of every project into the queue, and waits for room. A project that can't be read does not
// keep the others from being polled; the error tells how many could not, and why the first one.
func (p *Poll) Once(ctx context.Context) error {
	_, err := p.each(ctx, func(c avalon.Candidate) error { return p.Queue.AddWait(ctx, c.Key, Backlog) })
	if ctx.Err() != nil {
		return err // it was told to stop, which says nothing of the database
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(err)
	return err
}

// each goes through what is pending in every project, a share of each at a time, but for those that are skipped.
func (p *Poll) each(ctx context.Context, visit func(avalon.Candidate) error) (skipped map[string]bool, err error) {
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
			if p.Skip != nil && p.Skip(c.project) {
				skipped[c.project] = true
				c.stop()
				return true
			}
			more, err := take(c.next, visit)
			if err != nil {
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

// take goes through a project's share, and reports whether there is more.
func take(next func() (avalon.Candidate, error, bool), visit func(avalon.Candidate) error) (more bool, err error) {
	for range share {
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
