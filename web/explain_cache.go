package web

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"sitesync/explain"
)

const (
	// How many explanations may be made in a row, and how often another one.
	explainBurst    = 10
	explainInterval = 3 * time.Second

	// explainTimeout bounds an explanation, which asks the database and the remote site.
	explainTimeout = 25 * time.Second

	// How long an explanation is shown again, and how many are remembered.
	explanationTTL  = 5 * time.Second
	maxExplanations = 20
)

// explainCache bounds what explanations cost the database and the remote site, however many people read them: one is
// made at a time, few a minute, and each is shown again for a moment.
type explainCache struct {
	load   func(ctx context.Context, project, id string) (*explain.Report, error)
	calls  singleflight.Group
	mutex  chan struct{} // full while one is made
	pacing *rate.Limiter

	mu   sync.Mutex
	last []explanation
}

// explanation is a report that was made.
type explanation struct {
	*explain.Report
	made time.Time
}

// Heading names the representation as an artist would.
func (e explanation) Heading() string {
	if len(e.Groups) == 0 {
		return "Representation"
	}
	return name(e.Groups[0].Example.Path)
}

func newExplainCache(load func(ctx context.Context, project, id string) (*explain.Report, error)) *explainCache {
	return &explainCache{load: load, mutex: make(chan struct{}, 1),
		pacing: rate.NewLimiter(rate.Every(explainInterval), explainBurst)}
}

// Get explains a representation, or returns the explanation that was just made.
func (c *explainCache) Get(ctx context.Context, project, id string) (explanation, error) {
	if e, ok := c.cached(project, id); ok {
		return e, nil
	}
	result := c.calls.DoChan(project+"\x00"+id, func() (any, error) {
		// Others may wait for it when this request has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		select {
		case c.mutex <- struct{}{}:
			defer func() { <-c.mutex }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := c.pacing.Wait(ctx); err != nil {
			return nil, err
		}
		report, err := c.load(ctx, project, id)
		if err != nil {
			return nil, err
		}
		e := explanation{report, time.Now()}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.last = append(c.last, e); len(c.last) > maxExplanations {
			c.last = slices.Delete(c.last, 0, 1)
		}
		return e, nil
	})
	select {
	case r := <-result:
		e, _ := r.Val.(explanation)
		return e, r.Err
	case <-ctx.Done():
		return explanation{}, ctx.Err()
	}
}

func (c *explainCache) cached(project, id string) (explanation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Backward(c.last) {
		if e.Project == project && e.Asked == id && time.Since(e.made) < explanationTTL {
			return e, true
		}
	}
	return explanation{}, false
}
