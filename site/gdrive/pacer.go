package gdrive

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// pacer keeps all requests of a site at the rate that Drive allows, which it finds out. A Retry-After that comes with a
// limit stops everybody.
type pacer struct {
	turn *semaphore.Weighted // one waits for its time, the others for their turn
	line *semaphore.Weighted // where those wait for that who are not urgent: only one of them is in the urgent ones' way

	mu      sync.Mutex
	pace    pace
	refused int64     // answers that said that we are too fast
	worked  time.Time // when a request was last accepted
}

func newPacer() *pacer {
	return &pacer{turn: semaphore.NewWeighted(1), line: semaphore.NewWeighted(1), pace: newPace()}
}

// urgentKey is the key of a context whose requests go before others where Drive sets a limit.
type urgentKey struct{}

func urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

func isUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

// wait returns when a request may be made, and that time.
func (p *pacer) wait(ctx context.Context) (time.Time, error) {
	if !isUrgent(ctx) {
		if err := p.line.Acquire(ctx, 1); err != nil {
			return time.Time{}, err
		}
		defer p.line.Release(1)
	}
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return time.Time{}, err
	}
	defer p.turn.Release(1)
	return p.waitFor(ctx, func(now time.Time) time.Duration { return p.pace.take(now) })
}

// waitHeld waits for the end of a Retry-After only.
func (p *pacer) waitHeld(ctx context.Context) (time.Time, error) {
	return p.waitFor(ctx, func(now time.Time) time.Duration { return p.pace.held.Sub(now) })
}

// waitFor waits until there is nothing left to wait for, and returns that time.
func (p *pacer) waitFor(ctx context.Context, left func(now time.Time) time.Duration) (time.Time, error) {
	for {
		p.mu.Lock()
		now := time.Now()
		d := left(now)
		p.mu.Unlock()
		if d <= 0 {
			return now, ctx.Err()
		}
		if err := sleep(ctx, d); err != nil {
			return now, err
		}
	}
}

// throttled takes in an error of a request that was sent at a time. Only rate errors slow everybody down: in an outage,
// and when Drive can't cope with one file, the single request backs off.
func (p *pacer) throttled(sent time.Time, err error) {
	if !isPace(err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.refused++
	p.pace.refuse(sent, now)
	if wait := retryAfterOf(err); wait > 0 {
		p.pace.hold(now.Add(wait))
	}
}

// succeeded takes in that a request was accepted.
func (p *pacer) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worked = time.Now()
	p.pace.accept()
}

// worksSince reports whether a request was accepted since then.
func (p *pacer) worksSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worked.After(t)
}

// Bounds of the pace, in requests a second.
const (
	slowest = 0.5
	guess   = 10   // the first limit, if no more was asked for
	fastest = 1000 // no account is allowed this much, so beyond it there is no limit
)

const (
	justBelow = 0.96 // of a limit that was measured: where to go on
	wellBelow = 0.75 // of a rate that was too fast, while no more is known

	// enough is how many requests the limit is measured by, at the least. A bucket is empty to one of them, so the
	// measure is right to a tenth then; the next one is better.
	enough = 10

	// refill is for how long nothing goes after a refusal, at the least: requests do not arrive as evenly as they leave,
	// so the bucket must have something in it.
	refill = 100 * time.Millisecond

	// catchUp is how much of what was missed is made up for: timers go off late.
	catchUp = 20 * time.Millisecond

	// pause is from which time on without a request the bucket may have filled up.
	pause = time.Second
)

// pace finds out how many requests a second Drive allows, as Google's quotas are only a part of it ("additional rate
// limit checks on the Drive backend"): https://developers.google.com/workspace/drive/api/guides/limits. It takes the
// limit for a token bucket.
//
// A refusal says that the bucket is empty. What is accepted between two of them is therefore just what the bucket has
// gained, and that is the limit, whatever the bucket can hold. The pace goes on a little below it, and climbs along a
// cubic curve, as TCP does (RFC 9438): flat where it was refused last, and then the steeper the longer it goes well, in
// case that more is allowed now.
//
//	limit = top / below^(u³), u = -1 after a refusal, 0 after as many requests as flat says, then 1, 2, ...
//
// What is not measured is a guess, from well below and with a shorter curve: at the first refusal, and when less is
// allowed all at once. Without a refusal there is no limit.
type pace struct {
	limit  float64   // requests a second; infinite at first
	next   time.Time // no request goes before
	held   time.Time // nothing goes before, also no data: the end of a Retry-After
	slowed time.Time // when the limit was last lowered

	// The curve.
	top, below, flat float64
	climbed          float64 // requests accepted since it began
	bound            bool    // the last request went when it might; if it was late, its success tells nothing about the limit

	// What is measured.
	since    time.Time // the last refusal, or later, if the bucket may have been full since
	accepted float64   // requests since then

	// What is really done, by the second.
	second  time.Time // when the present one began
	present float64   // requests in it
	before  float64   // requests a second in the one before
}

func newPace() pace { return pace{limit: math.Inf(1)} }

// take takes the place of a request, or tells how long there is none.
func (p *pace) take(now time.Time) time.Duration {
	if d := p.next.Sub(now); d > 0 {
		return d
	}
	late := now.Sub(p.next)
	if late > pause {
		p.measure(now)
	}
	p.bound = late < catchUp
	if !p.bound {
		p.next = now.Add(-catchUp)
	}
	p.next = p.next.Add(time.Duration(float64(time.Second) / p.limit))
	if d := now.Sub(p.second); d >= time.Second {
		p.before, p.present, p.second = p.present/d.Seconds(), 0, now
	}
	p.present++
	return 0
}

// measure begins to measure anew.
func (p *pace) measure(now time.Time) { p.since, p.accepted = now, 0 }

// accept takes in that a request was accepted, and lets the limit climb.
func (p *pace) accept() {
	p.accepted++
	if math.IsInf(p.limit, 1) || !p.bound {
		return
	}
	p.climbed++
	p.limit = max(slowest, p.top/math.Pow(p.below, math.Pow(p.climbed/p.flat-1, 3)))
	if p.limit > fastest {
		p.limit = math.Inf(1)
	}
	if p.limit > 1.1*p.top {
		p.accepted = 0 // more is allowed now; how much, the average of slow and fast would not tell
	}
}

// refuse lowers the limit, at the answer to a request that was sent at a time. Of all that were sent at one pace one
// counts.
func (p *pace) refuse(sent, now time.Time) {
	if sent.Before(p.slowed) {
		return
	}
	if unlimited := math.IsInf(p.limit, 1); !unlimited && p.accepted >= enough {
		p.top, p.below = min(p.limit, p.accepted/now.Sub(p.since).Seconds()), justBelow
		p.flat = max(60, 5*p.top) // five seconds, and so many requests that few of them are refused
	} else {
		done := max(p.before, p.present)
		if unlimited {
			done = max(done, guess)
		}
		p.top, p.below = min(p.limit, done), wellBelow
		p.flat = max(20, p.top) // a second, and enough to measure
	}
	p.top = max(p.top, slowest)
	p.limit = max(slowest, p.top*p.below)
	p.climbed = 0
	p.slowed = now
	if at := now.Add(max(refill, time.Duration(float64(time.Second)/p.limit))); at.After(p.next) {
		p.next = at
	}
	p.measure(now)
}

// hold stops everything until a time.
func (p *pace) hold(until time.Time) {
	if until.After(p.held) {
		p.held = until
	}
	if until.After(p.next) {
		p.next = until
		p.measure(until)
	}
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
