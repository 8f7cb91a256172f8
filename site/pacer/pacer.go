// Package pacer keeps requests at the rate that a service allows, which it finds out from the answers. It knows no
// service.
package pacer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Pacer lets all requests to a service go at the rate that it allows. A Retry-After that comes with a refusal stops all
// of them. It is safe for concurrent use.
type Pacer struct {
	gate  *semaphore.Weighted // held by the request that goes next
	queue *semaphore.Weighted // where requests without priority wait for the gate: one at a time stands there

	mu        sync.Mutex
	limiter   limiter
	throttled int64     // refusals
	succeeded time.Time // when a request was last accepted
}

// New returns a pacer without a limit.
func New() *Pacer {
	return &Pacer{gate: semaphore.NewWeighted(1), queue: semaphore.NewWeighted(1), limiter: newLimiter()}
}

type priorityKey struct{}

// WithPriority returns a context whose requests go before others when there is a limit.
func WithPriority(ctx context.Context) context.Context {
	return context.WithValue(ctx, priorityKey{}, true)
}

// Wait waits until a request may be sent, and returns that time, for [Pacer.Throttled].
func (p *Pacer) Wait(ctx context.Context) (time.Time, error) {
	if ctx.Value(priorityKey{}) == nil {
		if err := p.queue.Acquire(ctx, 1); err != nil {
			return time.Time{}, err
		}
		defer p.queue.Release(1)
	}
	if err := p.gate.Acquire(ctx, 1); err != nil {
		return time.Time{}, err
	}
	defer p.gate.Release(1)
	return p.waitFor(ctx, func(now time.Time) time.Duration { return p.limiter.take(now) })
}

// WaitRetryAfter is Wait for a request that does not count for the service's limit: it waits for the end of a
// Retry-After only.
func (p *Pacer) WaitRetryAfter(ctx context.Context) (time.Time, error) {
	return p.waitFor(ctx, func(now time.Time) time.Duration { return p.limiter.held.Sub(now) })
}

// waitFor sleeps until there is nothing left to wait for, and returns that time.
func (p *Pacer) waitFor(ctx context.Context, left func(now time.Time) time.Duration) (time.Time, error) {
	for {
		p.mu.Lock()
		now := time.Now()
		d := left(now)
		p.mu.Unlock()
		if d <= 0 {
			return now, ctx.Err()
		}
		if err := Sleep(ctx, d); err != nil {
			return now, err
		}
	}
}

// Throttled records that the service refused a request, sent at a time, because requests come too fast. It has asked
// for a pause of retryAfter, if that is not 0. No other error is to be reported here: in an outage each request backs
// off by itself.
func (p *Pacer) Throttled(sent time.Time, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.throttled++
	p.limiter.refuse(sent, now)
	if retryAfter > 0 {
		p.limiter.hold(now.Add(retryAfter))
	}
}

// Succeeded records that a request was accepted.
func (p *Pacer) Succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.succeeded = time.Now()
	p.limiter.accept()
}

// SucceededSince reports whether a request was accepted since a time.
func (p *Pacer) SucceededSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.succeeded.After(t)
}

// Stats returns how many requests were refused, and how many a second are made at most now: infinite without a limit.
func (p *Pacer) Stats() (throttled int64, limit float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.throttled, p.limiter.limit
}

// Paused returns how long no request goes from now on.
func (p *Pacer) Paused() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.limiter.next)
}

// Sleep waits, unless the context ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
