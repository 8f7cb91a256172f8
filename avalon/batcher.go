package avalon

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// batcher sends the requests of a project that come while a batch is under way as the next batch, because a round trip
// to the database costs much more than what it carries. A request that is alone is sent at once.
type batcher[Q, A any] struct {
	maxBatch    int
	minInterval time.Duration // between batches of a project, so that more gather under load
	send        func(ctx context.Context, project string, batch []*request[Q, A])

	mu      sync.Mutex
	waiting map[string][]*request[Q, A] // by project, while a batch of it is under way
}

// request is one of a batch. The sender sets its answer or err.
type request[Q, A any] struct {
	ctx    context.Context
	query  Q
	answer A
	err    error
	done   chan struct{}
}

func newBatcher[Q, A any](maxBatch int, minInterval time.Duration,
	send func(context.Context, string, []*request[Q, A])) *batcher[Q, A] {
	return &batcher[Q, A]{maxBatch: maxBatch, minInterval: minInterval, send: send,
		waiting: map[string][]*request[Q, A]{}}
}

// submit sends a query and waits for the answer.
func (b *batcher[Q, A]) submit(ctx context.Context, project string, query Q) (A, error) {
	r := &request[Q, A]{ctx: ctx, query: query, done: make(chan struct{})}
	b.mu.Lock()
	waiting, busy := b.waiting[project]
	b.waiting[project] = append(waiting, r)
	b.mu.Unlock()
	if !busy {
		go b.run(project)
	}
	select {
	case <-r.done:
		return r.answer, r.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// run sends batches until no request is left.
func (b *batcher[Q, A]) run(project string) {
	for {
		runtime.Gosched() // lets callers that are about to submit do so
		b.mu.Lock()
		waiting := b.waiting[project]
		n := min(len(waiting), b.maxBatch)
		if n == 0 {
			delete(b.waiting, project)
			b.mu.Unlock()
			return
		}
		b.waiting[project] = slices.Clone(waiting[n:])
		b.mu.Unlock()
		b.sendBatch(project, waiting[:n])
		time.Sleep(b.minInterval)
	}
}

// sendBatch sends the requests whose contexts have not ended. It is canceled when all of them have.
func (b *batcher[Q, A]) sendBatch(project string, batch []*request[Q, A]) {
	batch = slices.DeleteFunc(batch, func(r *request[Q, A]) bool { return r.ctx.Err() != nil })
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(batch)))
	for _, r := range batch {
		defer context.AfterFunc(r.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	b.send(ctx, project, batch)
	for _, r := range batch {
		close(r.done)
	}
}
