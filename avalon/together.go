package avalon

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// together answers what is asked of one project while an earlier request to the database is under way by one request,
// as each costs much more than what it carries. Nobody waits for others to come: who is alone is served at once.
type together[Q, A any] struct {
	most  int           // questions in one request
	apart time.Duration // between requests of a project, for more to come together while there are many
	ask   func(ctx context.Context, project string, questions []*question[Q, A])

	mu      sync.Mutex
	waiting map[string][]*question[Q, A] // by project, while a request of it is under way
}

// question is asked by one caller.
type question[Q, A any] struct {
	ctx      context.Context
	asked    Q
	answer   A
	err      error
	answered chan struct{}
}

func newTogether[Q, A any](most int, apart time.Duration, ask func(context.Context, string, []*question[Q, A])) *together[Q, A] {
	return &together[Q, A]{most: most, apart: apart, ask: ask, waiting: map[string][]*question[Q, A]{}}
}

// do asks and waits for the answer.
func (g *together[Q, A]) do(ctx context.Context, project string, asked Q) (A, error) {
	q := &question[Q, A]{ctx: ctx, asked: asked, answered: make(chan struct{})}
	g.mu.Lock()
	waiting, busy := g.waiting[project]
	g.waiting[project] = append(waiting, q)
	g.mu.Unlock()
	if !busy {
		go g.serve(project)
	}
	select {
	case <-q.answered:
		return q.answer, q.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// serve makes one request after the other until nobody waits.
func (g *together[Q, A]) serve(project string) {
	for {
		runtime.Gosched() // those who are about to ask can do so
		g.mu.Lock()
		waiting := g.waiting[project]
		n := min(len(waiting), g.most)
		if n == 0 {
			delete(g.waiting, project)
			g.mu.Unlock()
			return
		}
		g.waiting[project] = slices.Clone(waiting[n:])
		g.mu.Unlock()
		g.request(project, waiting[:n])
		time.Sleep(g.apart)
	}
}

// request makes one request for those who have not gone. It is given up when all of them have.
func (g *together[Q, A]) request(project string, questions []*question[Q, A]) {
	questions = slices.DeleteFunc(questions, func(q *question[Q, A]) bool { return q.ctx.Err() != nil })
	if len(questions) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(questions[0].ctx))
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(questions)))
	for _, q := range questions {
		defer context.AfterFunc(q.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	g.ask(ctx, project, questions)
	for _, q := range questions {
		close(q.answered)
	}
}
