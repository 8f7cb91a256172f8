package gdrive

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"sitesync/uploader/site"
)

// Bounds of the pacer, in requests a second.
const (
	slowest = 0.5
	fastest = 1000 // no account is allowed this much, so beyond it there is no limit
)

// pacer keeps all requests of a site at the rate that Drive allows, which it finds out: it goes as fast as
// it is asked to until a rate error, then at three quarters of what it went, and climbs by a tenth with each
// second of success. A Retry-After stops everybody.
type pacer struct {
	turn *semaphore.Weighted // one waits for its time, the others for their turn

	mu     sync.Mutex
	limit  float64   // requests a second; infinite at first
	next   time.Time // nothing goes before
	slowed time.Time // when the limit was last lowered

	refused int64 // answers that said that we are too fast

	// What is really done, by the second.
	second  time.Time // when the present one began
	present int       // requests in it
	before  float64   // requests a second in the one before
}

func newPacer() *pacer {
	return &pacer{turn: semaphore.NewWeighted(1), limit: math.Inf(1)}
}

// wait returns when a request may be made.
func (p *pacer) wait(ctx context.Context) error {
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer p.turn.Release(1)
	for {
		d := p.take(time.Now())
		if d <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

// take takes the place of a request, or tells how long there is none.
func (p *pacer) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.next.Sub(now); d > 0 {
		return d
	}
	p.next = now.Add(time.Duration(float64(time.Second) / p.limit))
	if d := now.Sub(p.second); d >= time.Second {
		p.before, p.present, p.second = float64(p.present)/d.Seconds(), 0, now
	}
	p.present++
	return 0
}

// throttled slows everybody down if the error says that we are too fast. An outage is no reason to: there
// the single request backs off.
func (p *pacer) throttled(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var e *site.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		if until := now.Add(e.RetryAfter); until.After(p.next) {
			p.next = until
		}
	}
	if !hasStatus(err, http.StatusForbidden) && !hasStatus(err, http.StatusTooManyRequests) {
		return
	}
	p.refused++
	if now.Sub(p.slowed) < time.Second {
		return // the answer to what was sent before we slowed down
	}
	p.slowed = now
	p.limit = max(slowest, 0.75*min(p.limit, max(p.before, float64(p.present))))
}

// succeeded lets the limit climb.
func (p *pacer) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.slowed) < time.Second {
		return
	}
	if p.limit += 0.1; p.limit > fastest {
		p.limit = math.Inf(1)
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
