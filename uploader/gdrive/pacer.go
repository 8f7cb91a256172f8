package gdrive

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sitesync/uploader/site"
)

// Bounds of the pacer, in requests a second.
const (
	slowest = 0.5
	fastest = 1000 // no account is allowed this much, so it stands for "unlimited"
)

// pacer keeps all requests of a site at the rate that Drive allows, which it finds out: it goes as fast as
// it is asked to until a rate error, then at three quarters of what it went, and climbs again with every
// success. A Retry-After stops everybody.
type pacer struct {
	limiter *rate.Limiter

	mu      sync.Mutex
	resume  time.Time // nothing goes before
	slowed  time.Time // when the rate was last reduced
	started time.Time // of the present second
	count   int       // requests of the present second
	last    float64   // requests of the second before
}

func newPacer() *pacer {
	return &pacer{limiter: rate.NewLimiter(rate.Inf, 1)}
}

// wait returns when a request may be made.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	pause := time.Until(p.resume)
	now := time.Now()
	if d := now.Sub(p.started); d >= time.Second {
		p.last, p.count, p.started = float64(p.count)/d.Seconds(), 0, now
	}
	p.count++
	p.mu.Unlock()
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.limiter.Wait(ctx)
}

// throttled slows everybody down if the error says that we are too fast. An outage is no reason to: there
// the single request backs off.
func (p *pacer) throttled(err error) {
	var se *site.Error
	if !errors.As(err, &se) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if until := now.Add(se.RetryAfter); se.RetryAfter > 0 && until.After(p.resume) {
		p.resume = until
	}
	if !(hasStatus(err, http.StatusForbidden) || hasStatus(err, http.StatusTooManyRequests)) {
		return
	}
	if now.Sub(p.slowed) < time.Second {
		return // an answer to what was sent before we slowed down
	}
	p.slowed = now
	going := float64(p.limiter.Limit())
	if p.limiter.Limit() == rate.Inf {
		going = max(p.last, float64(p.count))
	}
	p.limiter.SetLimit(rate.Limit(min(max(going*0.75, slowest), fastest)))
}

// succeeded lets the rate climb, by a tenth every second or so of steady success.
func (p *pacer) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.limiter.Limit()
	if limit == rate.Inf || time.Since(p.slowed) < time.Second {
		return
	}
	if limit += 0.1; limit > fastest {
		limit = rate.Inf
	}
	p.limiter.SetLimit(limit)
}
