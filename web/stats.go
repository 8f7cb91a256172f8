package web

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/state"
)

const (
	// Minimum intervals between two reads of the database while a page is open.
	countInterval  = 5 * time.Second
	failedInterval = 2 * time.Second

	// quotaInterval is how often the remote site is asked for its quota while a page is open.
	quotaInterval = 5 * time.Minute
	quotaRetry    = 30 * time.Second // after an error
	quotaTimeout  = 10 * time.Second

	// costFactor is the minimum interval between two reads in multiples of the time that a read took, so that the page
	// takes at most a twentieth of one core of the database.
	costFactor = 20

	// maxFailed bounds the failed files that are read, about 5 MB.
	maxFailed = 10_000

	// statsTTL is how long after the last Get the stats are kept up to date.
	statsTTL = 30 * time.Second

	// refreshTimeout bounds how long a button waits until its effect is known.
	refreshTimeout = 2 * time.Second

	// dbTimeout bounds one read of the database.
	dbTimeout = 5 * time.Minute
)

// statsCache caches what the page shows of the database. However many pages are open, one goroutine reads, one question
// at a time, and all get its last answers. A nil one reads nothing.
type statsCache struct {
	source     Source
	directions []config.Direction
	log        *zap.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	changed chan struct{} // a person has changed something

	mu      sync.Mutex
	current stats
	lastGet time.Time
	running bool
	ready   chan struct{} // closed when everything was read once

	// When to read again at the earliest. Only the goroutine that runs uses them, and the next one goes on with them.
	nextCount, nextList, nextQuota time.Time
}

// stats are what is cached. They are replaced, never changed.
type stats struct {
	Projects    []projectStats
	Total       projectStats
	Counted     time.Time // when the last count ended; zero if none has
	Failed      []failedGroup
	FailedFiles int64     // that were read
	Listed      time.Time // when the failed ones were read; zero if they were not
	Paused      []pause
	Quota       site.Quota
	Unavailable bool // the database does not answer
}

// FailedMore reports whether there may be more failed files than were read.
func (s stats) FailedMore() bool { return s.FailedFiles >= maxFailed }

// pause is what people have paused of a direction.
type pause struct {
	state.Pause
	Direction config.Direction
}

// projectStats counts the files of a project, by the rules of each direction. Files that both directions concern count
// twice in the sum.
type projectStats struct {
	Project      string
	avalon.Stats // the sum
	Up, Down     avalon.Stats
}

// add adds those of a direction.
func (p *projectStats) add(d config.Direction, n avalon.Stats) {
	if d == config.Down {
		p.Down.Add(n)
	} else {
		p.Up.Add(n)
	}
	p.Stats.Add(n)
}

// toDo is what is pending and waiting.
func toDo(n avalon.Stats) avalon.FileCount {
	sum := n.Pending
	sum.Add(n.BackingOff)
	return sum
}

// failedGroup is a representation with files that have failed in a direction.
type failedGroup struct {
	avalon.FailedFile // the last to fail
	Direction         config.Direction
	Files             int64 // all of them
}

func newStatsCache(source Source, directions []config.Direction, log *zap.Logger) *statsCache {
	c := &statsCache{source: source, directions: directions, log: log, changed: make(chan struct{}, 1),
		ready: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Get returns the stats, and keeps them up to date for a while. It waits for the first ones, at most for maxWait.
func (c *statsCache) Get(ctx context.Context, maxWait time.Duration) stats {
	if c == nil {
		return stats{Listed: time.Now(), Counted: time.Now()} // there is nothing to read
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	c.mu.Lock()
	c.lastGet = time.Now()
	if !c.running && c.ctx.Err() == nil {
		c.running = true
		c.workers.Go(c.run)
	}
	ready := c.ready
	c.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// Refresh reads what buttons change. It returns when that is known, or after refreshTimeout.
func (c *statsCache) Refresh() {
	ctx, cancel := context.WithTimeout(c.ctx, refreshTimeout)
	defer cancel()
	_ = c.list(ctx) // the goroutine that runs reads it again, and logs an error
	c.Get(ctx, 0)   // starts it
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Close ends the reads.
func (c *statsCache) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.cancel() // nothing is started from now on
	c.mu.Unlock()
	c.workers.Wait()
}

// run keeps the stats up to date until they are not used any more.
func (c *statsCache) run() {
	ready := sync.OnceFunc(func() { close(c.ready) }) // replaced only when this goroutine ends
	for unavailable := false; ; {
		err := c.readIfDue(&c.nextList, failedInterval, c.list)
		if err == nil {
			err = c.readIfDue(&c.nextCount, countInterval, c.count)
		}
		if time.Until(c.nextQuota) <= 0 {
			c.readQuota()
		}
		if c.ctx.Err() != nil {
			return
		}
		if err != nil && !unavailable {
			c.log.Warn("cannot read what the page shows of the database; retrying", zap.Error(err))
		}
		unavailable = err != nil
		c.update(func(s *stats) { s.Unavailable = unavailable })
		ready()

		select {
		case <-time.After(min(time.Until(c.nextCount), time.Until(c.nextList))):
		case <-c.changed:
			c.nextList = time.Time{}
		case <-c.ctx.Done():
		}
		if c.endUnused() {
			return
		}
	}
}

// readIfDue reads something, and says by what that has cost when it is due again.
func (c *statsCache) readIfDue(due *time.Time, interval time.Duration, read func(context.Context) error) error {
	start := time.Now()
	if start.Before(*due) {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, dbTimeout)
	defer cancel()
	err := read(ctx)
	*due = start.Add(max(interval, costFactor*time.Since(start)))
	return err
}

// readQuota reads the quota of the remote site. An error is not logged: it is one of a standby, or transfers meet it
// too.
func (c *statsCache) readQuota() {
	ctx, cancel := context.WithTimeout(c.ctx, quotaTimeout)
	defer cancel()
	quota, err := c.source.Quota(ctx)
	if err != nil {
		c.nextQuota = time.Now().Add(quotaRetry)
		return
	}
	c.nextQuota = time.Now().Add(quotaInterval)
	c.update(func(s *stats) { s.Quota = quota })
}

// endUnused reports whether the stats are no longer used. What takes memory is dropped then, unless it would be too
// early to read it again.
func (c *statsCache) endUnused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil && time.Since(c.lastGet) < statsTTL {
		return false
	}
	c.running, c.ready = false, make(chan struct{})
	if !time.Now().Before(c.nextList) {
		c.current.Failed, c.current.Listed = nil, time.Time{}
	}
	return true
}

func (c *statsCache) update(change func(*stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.current)
}

// list reads the pauses and the failed files.
func (c *statsCache) list(ctx context.Context) error {
	start := time.Now()
	var paused []pause
	for _, d := range c.directions {
		list, err := c.source.Pauses(ctx, d)
		if err != nil {
			return err
		}
		for _, p := range list {
			paused = append(paused, pause{p, d})
		}
	}
	projects, err := c.source.Projects(ctx)
	if err != nil {
		return err
	}
	type groupKey struct {
		key       avalon.Key
		direction config.Direction
	}
	var groups []failedGroup
	var files int64
	index := map[groupKey]int{}
	for _, p := range projects {
		for _, d := range c.directions {
			if files >= maxFailed {
				break
			}
			failed, err := c.source.Failed(ctx, d, p.Name, maxFailed-int(files))
			if err != nil {
				return err
			}
			for _, f := range failed {
				k := groupKey{f.Key, d}
				i, ok := index[k]
				if !ok {
					i, index[k] = len(groups), len(groups)
					groups = append(groups, failedGroup{FailedFile: f, Direction: d})
				}
				groups[i].Files++
			}
			files += int64(len(failed))
		}
	}
	slices.SortStableFunc(groups, func(a, b failedGroup) int {
		return cmp.Or(b.LastFailed.Compare(a.LastFailed), cmp.Compare(a.Key.Project, b.Key.Project),
			cmp.Compare(a.Path, b.Path))
	})
	c.update(func(s *stats) { s.Paused, s.Failed, s.FailedFiles, s.Listed = paused, groups, files, start })
	return nil
}

// count counts the files of all projects.
func (c *statsCache) count(ctx context.Context) error {
	start := time.Now()
	projects, err := c.source.Projects(ctx)
	if err != nil {
		return err
	}
	var rows []projectStats
	var total projectStats
	for _, p := range projects {
		row := projectStats{Project: p.Name}
		for _, d := range c.directions {
			n, err := c.source.Count(ctx, d, p.Name)
			if err != nil {
				return err
			}
			row.add(d, n)
			total.add(d, n)
		}
		if !row.IsZero() {
			rows = append(rows, row)
		}
	}
	c.update(func(s *stats) { s.Projects, s.Total, s.Counted = rows, total, start })
	return nil
}
