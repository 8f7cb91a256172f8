package watcher

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// share is how many keys of one project the poll takes before it looks at the next, so that a project with
// a long backlog does not hold up the others.
const share = 200

// Poll feeds the queue's backlog lane with everything that is pending: at once, every Interval, and when
// it is asked to. It goes at the pace at which the queue drains.
type Poll struct {
	Store      *avalon.Store
	Site       string        // the remote site
	RetryCount int           // failed tries after which a file is left alone
	Interval   time.Duration // from the end of one poll to the next
	Index      bool          // whether to create the index that the poll needs
	Queue      *Queue
	Log        *zap.Logger

	now     chan struct{}
	indexed map[string]bool // by project; also those where it failed
}

// NewPoll returns a poll; the caller fills in the rest of the fields.
func NewPoll(store *avalon.Store, site string, queue *Queue, log *zap.Logger) *Poll {
	return &Poll{Store: store, Site: site, Queue: queue, Log: log,
		now: make(chan struct{}, 1), indexed: map[string]bool{}}
}

// Now asks for a poll as soon as the present one has ended.
func (p *Poll) Now() {
	select {
	case p.now <- struct{}{}:
	default: // one is asked for already
	}
}

// Run polls until ctx ends. Without an interval it polls only when asked to.
func (p *Poll) Run(ctx context.Context) {
	troubled := false
	for {
		err := p.Once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !troubled {
			p.Log.Warn("poll failed; it is tried again", zap.Error(err), zap.Duration("every", p.Interval))
		} else if err == nil && troubled {
			p.Log.Info("poll works again")
		}
		troubled = err != nil

		var tick <-chan time.Time
		if p.Interval > 0 {
			tick = time.After(p.Interval)
		}
		select {
		case <-tick:
		case <-p.now:
		case <-ctx.Done():
			return
		}
	}
}

// Once puts every pending key of every project into the queue. A project that can't be read does not keep
// the others from being polled; the errors are joined.
func (p *Poll) Once(ctx context.Context) error {
	projects, err := p.Store.Projects(ctx)
	if err != nil {
		return err
	}
	type cursor struct {
		next func() (avalon.Key, error, bool)
		stop func()
	}
	var open []cursor
	defer func() {
		for _, c := range open {
			c.stop()
		}
	}()
	var failed error
	for _, project := range projects {
		p.ensureIndex(ctx, project)
		next, stop := iter.Pull2(p.Store.Pending(ctx, project.Name, p.Site, p.RetryCount))
		open = append(open, cursor{next, stop})
		more, err := p.take(ctx, next)
		if !more {
			stop()
			open = open[:len(open)-1]
		}
		failed = errors.Join(failed, err)
	}
	for len(open) > 0 {
		rest := open[:0:0]
		for _, c := range open {
			more, err := p.take(ctx, c.next)
			failed = errors.Join(failed, err)
			if more {
				rest = append(rest, c)
			} else {
				c.stop()
			}
		}
		open = rest
	}
	return failed
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

func (p *Poll) ensureIndex(ctx context.Context, project avalon.Project) {
	if !p.Index || p.indexed[project.Name] {
		return
	}
	err := p.Store.EnsureIndex(ctx, project, p.Site)
	if errors.Is(err, avalon.ErrGone) || ctx.Err() != nil {
		return
	}
	p.indexed[project.Name] = true
	if err != nil {
		p.Log.Warn("no index for the poll, which will be slow in a large project; grant createIndex on the "+
			"database, or create it by hand and run with --no-index",
			zap.String("project", project.Name), zap.Error(err))
	}
}
