// Package pacer keeps requests at the rate that a service allows, which it finds out from the answers. It knows no
// service.
package pacer

import (
	"context"
	"math"
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

// Bounds of the limit, in requests a second.
const (
	minRate     = 0.5
	initialRate = 10   // the first limit, if no more was asked for
	maxRate     = 1000 // no account is allowed this much, so beyond it there is no limit
)

const (
	measuredCut  = 0.96 // of a limit that was measured: where to go on
	estimatedCut = 0.75 // of a rate that was too fast, while no more is known

	// minSample is the minimum number of requests to measure the limit by. A bucket is empty to one request, so the
	// result is right to a tenth; the next one is better.
	minSample = 10

	// refusalPause is the minimum pause after a refusal: requests do not arrive as evenly as they leave, so the bucket
	// must have something in it.
	refusalPause = 100 * time.Millisecond

	// catchUp is how much lost time is made up for: timers go off late.
	catchUp = 20 * time.Millisecond

	// idleReset is the time without a request after which the bucket may be full.
	idleReset = time.Second
)

// limiter finds out how many requests a second a service allows: published quotas are only part of it, at Google for
// one (https://developers.google.com/workspace/drive/api/guides/limits). It takes the service's limit for a token
// bucket.
//
// A refusal says that the bucket is empty. So the requests accepted between two refusals are what the bucket has
// gained, which is the limit, whatever the bucket can hold. The limiter goes on a little below it and climbs along a
// cubic curve, as TCP does (RFC 9438): flat near the last refusal, and ever steeper as long as all goes well, in case
// that more is allowed now.
//
//	limit = top / cut^(u³), u = -1 after a refusal, 0 after as many requests as flat says, then 1, 2, ...
//
// At the first refusal, and when less is allowed all at once, the limit is an estimate, with a larger cut and a shorter
// curve. Without a refusal there is no limit.
type limiter struct {
	limit  float64   // requests a second; infinite at first
	next   time.Time // no request goes before
	held   time.Time // the end of a Retry-After: nothing at all goes before
	slowed time.Time // when the limit was last lowered

	// The curve.
	top, cut, flat float64
	climbed        float64 // requests accepted since it began
	bound          bool    // the last request had waited for the limit; only then its success says something about it

	// The measurement.
	since    time.Time // the last refusal, or later, if the bucket may have been full since
	accepted float64   // requests since then

	// The rate of requests.
	second   time.Time // when the current second began
	current  float64   // requests in it
	previous float64   // requests a second in the one before
}

func newLimiter() limiter { return limiter{limit: math.Inf(1)} }

// take lets a request go, or returns how long it has to wait.
func (l *limiter) take(now time.Time) time.Duration {
	if d := l.next.Sub(now); d > 0 {
		return d
	}
	late := now.Sub(l.next)
	if late > idleReset {
		l.measure(now)
	}
	l.bound = late < catchUp
	if !l.bound {
		l.next = now.Add(-catchUp)
	}
	l.next = l.next.Add(time.Duration(float64(time.Second) / l.limit))
	if d := now.Sub(l.second); d >= time.Second {
		l.previous, l.current, l.second = l.current/d.Seconds(), 0, now
	}
	l.current++
	return 0
}

// measure starts a new measurement.
func (l *limiter) measure(now time.Time) { l.since, l.accepted = now, 0 }

// accept records an accepted request, and lets the limit climb.
func (l *limiter) accept() {
	l.accepted++
	if math.IsInf(l.limit, 1) || !l.bound {
		return
	}
	l.climbed++
	l.limit = max(minRate, l.top/math.Pow(l.cut, math.Pow(l.climbed/l.flat-1, 3)))
	if l.limit > maxRate {
		l.limit = math.Inf(1)
	}
	if l.limit > 1.1*l.top {
		l.accepted = 0 // more is allowed now; the average of slow and fast is not the limit
	}
}

// refuse lowers the limit after a request sent at a time was refused. Of requests that were sent at the same limit one
// counts.
func (l *limiter) refuse(sent, now time.Time) {
	if sent.Before(l.slowed) {
		return
	}
	if unlimited := math.IsInf(l.limit, 1); !unlimited && l.accepted >= minSample {
		l.top, l.cut = min(l.limit, l.accepted/now.Sub(l.since).Seconds()), measuredCut
		l.flat = max(60, 5*l.top) // five seconds, and so many requests that few of them are refused
	} else {
		rate := max(l.previous, l.current)
		if unlimited {
			rate = max(rate, initialRate)
		}
		l.top, l.cut = min(l.limit, rate), estimatedCut
		l.flat = max(20, l.top) // a second, and enough to measure
	}
	l.top = max(l.top, minRate)
	l.limit = max(minRate, l.top*l.cut)
	l.climbed = 0
	l.slowed = now
	if at := now.Add(max(refusalPause, time.Duration(float64(time.Second)/l.limit))); at.After(l.next) {
		l.next = at
	}
	l.measure(now)
}

// hold lets nothing go until a time.
func (l *limiter) hold(until time.Time) {
	if until.After(l.held) {
		l.held = until
	}
	if until.After(l.next) {
		l.next = until
		l.measure(until)
	}
}
