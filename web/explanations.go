package web

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"sitesync/explain"
)

// Explanations that can be had at once, and how often another one can.
const (
	explainAtOnce = 10
	explainEvery  = 3 * time.Second
)

// mostExplained bounds the explanations that are remembered.
const mostExplained = 20

// explanations spare the database and Drive, whoever reads: one is made at a time, not many a minute, and each is told
// again for a moment.
type explanations struct {
	asking singleflight.Group
	turn   chan struct{} // taken by whoever asks
	pace   *rate.Limiter

	mu   sync.Mutex
	last []explained
}

func newExplanations() *explanations {
	return &explanations{turn: make(chan struct{}, 1), pace: rate.NewLimiter(rate.Every(explainEvery), explainAtOnce)}
}

// of explains a representation.
func (x *explanations) of(ctx context.Context, project, id string, ask func(ctx context.Context, project, id string) (*explain.Report, error)) (explained, error) {
	if e, ok := x.known(project, id); ok {
		return e, nil
	}
	answer := x.asking.DoChan(project+"\x00"+id, func() (any, error) {
		// Others may wait for it who have not gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		select {
		case x.turn <- struct{}{}:
			defer func() { <-x.turn }()
		case <-ctx.Done():
			return explained{}, ctx.Err()
		}
		if err := x.pace.Wait(ctx); err != nil {
			return explained{}, err
		}
		found, err := ask(ctx, project, id)
		if err != nil {
			return explained{}, err
		}
		e := explained{found, time.Now()}
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.last = append(x.last, e); len(x.last) > mostExplained {
			x.last = append(x.last[:0], x.last[1:]...)
		}
		return e, nil
	})
	select {
	case a := <-answer:
		e, _ := a.Val.(explained)
		return e, a.Err
	case <-ctx.Done():
		return explained{}, ctx.Err()
	}
}

// known is an explanation that was just given.
func (x *explanations) known(project, id string) (explained, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := len(x.last) - 1; i >= 0; i-- {
		if e := x.last[i]; e.Project == project && e.Asked == id && time.Since(e.at) < explainedFor {
			return e, true
		}
	}
	return explained{}, false
}
