package watcher

import (
	"cmp"
	"context"
	"fmt"
	"iter"
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

// Poll feeds the queue's backlog lane with everything that is pending: at once, every Interval, and when
// it is asked to. It goes at the pace at which the queue drains.
type Poll struct {
	Store      *avalon.Store
	Site       string        // the remote site
	RetryCount int           // failed tries after which a file is left alone
	Interval   time.Duration // from the end of one poll to the next; more than 0
	Queue      *Queue
	Log        *zap.Logger

	// Skip tells which projects are left out for now; nil: none.
	Skip func(project string) bool

	now chan struct{}

	mu     sync.Mutex
	counts PollCounts
	cancel context.CancelFunc // ends the present poll of Run
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
func NewPoll(store *avalon.Store, site string, queue *Queue, log *zap.Logger) *Poll {
	return &Poll{Store: store, Site: site, Queue: queue, Log: log, now: make(chan struct{}, 1)}
}

// Now asks for a poll as soon as the present one has ended.
func (p *Poll) Now() {
	select {
	case p.now <- struct{}{}:
	default: // one is asked for already
	}
}

// Anew ends the present poll, which takes as long as its backlog, and begins another one.
func (p *Poll) Anew() {
	p.mu.Lock()
	cancel := p.cancel
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	p.Now()
}

// Run polls until ctx ends. A poll that failed is tried again sooner than the next one would be, as it may be the
// one that was to find what the stream has missed.
func (p *Poll) Run(ctx context.Context) {
	troubled := false // already told
	retry := firstRetry
	for {
		polling, cancel := context.WithCancel(ctx)
		p.mu.Lock()
		p.cancel = cancel
		p.mu.Unlock()
		err := p.Once(polling)
		anew := polling.Err() != nil
		cancel()
		wait := p.Interval
		switch {
		case ctx.Err() != nil:
			return
		case anew: // how it would have ended is not known
		case err == nil:
			if troubled {
				p.Log.Info("poll works again")
			}
			troubled, retry = false, firstRetry
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

		select {
		case <-time.After(wait):
		case <-p.now:
			retry = firstRetry
		case <-ctx.Done():
			return
		}
	}
}

// Once puts every pending key of every project into the queue. A project that can't be read does not keep
// the others from being polled; the error tells how many could not, and why the first one.
func (p *Poll) Once(ctx context.Context) error {
	err := p.once(ctx)
	if ctx.Err() != nil {
		return err // it was told to stop, which says nothing of the database
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Runs++
	p.counts.Failing = err != nil
	if err != nil {
		p.counts.Failures++
	} else {
		p.counts.Success = time.Now()
	}
	return err
}

func (p *Poll) once(ctx context.Context) error {
	projects, err := p.Store.Projects(ctx)
	if err != nil {
		return err
	}
	type cursor struct {
		project string
		next    func() (avalon.Key, error, bool)
		stop    func()
	}
	var open []cursor
	defer func() {
		for _, c := range open {
			c.stop()
		}
	}()
	for _, project := range projects {
		next, stop := iter.Pull2(p.Store.Pending(ctx, project.Name, p.Site, p.RetryCount))
		open = append(open, cursor{project.Name, next, stop})
	}
	failed := 0
	var first error
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(c cursor) bool {
			if p.Skip != nil && p.Skip(c.project) {
				c.stop()
				return true
			}
			more, err := p.take(ctx, c.next)
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
			return ctx.Err()
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d project(s): %w", failed, len(projects), first)
	}
	return nil
}

// take moves a project's share into the queue and reports whether there is more.
func (p *Poll) take(ctx context.Context, next func() (avalon.Key, error, bool)) (more bool, err error) {
	for range share {
		key, err, ok := next()
		if !ok || err != nil {
			return false, err
		}
		if err := p.Queue.AddWait(ctx, key, Backlog); err != nil {
			return false, err
		}
	}
	return true, nil
}
