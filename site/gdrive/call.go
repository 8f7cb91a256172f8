package gdrive

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"sitesync/site"
	"sitesync/site/pacer"
	"sitesync/site/transport"
)

const (
	// firstWait is about how long the first retry waits; each further one waits longer.
	firstWait = 250 * time.Millisecond

	// maxAttempts is how often a request is made before its error is returned; the caller will come back later.
	maxAttempts = 5

	// unusualAttempts is maxAttempts for refusals that do not look like Drive's.
	unusualAttempts = 3

	// attemptsBesideSuccess is maxAttempts while other requests succeed: the fault may be in this file, which has to
	// make room for others.
	attemptsBesideSuccess = 2

	// maxPatience is the longest Retry-After that one request waits for by itself; that of a rate limit pauses all
	// requests.
	maxPatience = 30 * time.Second
)

// attempt makes a request at the site's pace, and repeats it while that makes sense. The request must be safe to
// repeat. Its error is classed.
func (s *Site) attempt(ctx context.Context, request func() error) error {
	r := s.newRetry()
	for {
		err := s.once(ctx, request)
		if err == nil {
			return nil
		}
		if err := r.again(ctx, err); err != nil {
			return err
		}
	}
}

// once makes a request when the pacer lets it, and reports the result to the pacer. Its error is classed, or the
// context's.
func (s *Site) once(ctx context.Context, request func() error) error {
	err := s.paced(ctx, s.pacer.Wait, request)
	if err == nil {
		s.pacer.Succeeded()
	}
	return err
}

// onceData is once for data of an upload session: Drive counts the request that opened the session, not the data.
func (s *Site) onceData(ctx context.Context, request func() error) error {
	return s.paced(ctx, s.pacer.WaitRetryAfter, request)
}

// paced makes a request after a wait of the pacer.
func (s *Site) paced(ctx context.Context, wait func(context.Context) (time.Time, error), request func() error) error {
	sent, err := wait(ctx)
	if err != nil {
		return err
	}
	err = classify(request())
	switch {
	case err == nil:
	case ctx.Err() != nil && !errors.Is(err, transport.ErrSlowSource):
		return ctx.Err()
	case isPace(err): // in an outage the request backs off by itself
		s.pacer.Throttled(sent, site.RetryAfter(err))
	}
	return err
}

// retry decides whether a request is made again: with a fresh token after the first 401, and with backoff while the
// service is busy or unreachable.
type retry struct {
	pacer    *pacer.Pacer
	backoff  *backoff.ExponentialBackOff // jittered from the first wait on
	failures int                         // without any progress between them
	since    time.Time                   // the first of them
	refused  bool                        // a token was, and a fresh one is being tried
}

func (s *Site) newRetry() *retry {
	return &retry{pacer: s.pacer, backoff: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.wait),
		backoff.WithMaxInterval(8*time.Second),
		backoff.WithMaxElapsedTime(0))} // bounded by failures
}

// again waits until the request is to be made again. Otherwise it returns the error to give up with.
func (r *retry) again(ctx context.Context, err error) error {
	if isUnauthorized(err) && !r.refused {
		r.refused = true // the token was dropped; the next one is fresh
		return nil
	}
	odd := isUnusualRefusal(err)
	if site.ClassOf(err) != site.Transient && !odd || isConflict(err) {
		return err // a conflict is resolved by what exists on Drive
	}
	if r.failures++; r.failures == 1 {
		r.since = time.Now()
	}
	if r.failures >= maxAttempts || odd && r.failures >= unusualAttempts ||
		!isPace(err) && r.failures >= attemptsBesideSuccess && r.pacer.SucceededSince(r.since) {
		return err
	}
	wait := r.backoff.NextBackOff()
	if !isPace(err) { // the pacer pauses all requests for that of a limit
		wait = max(wait, min(site.RetryAfter(err), maxPatience))
	}
	return pacer.Sleep(ctx, wait)
}

// progressed resets the failures, because something arrived since.
func (r *retry) progressed() {
	r.backoff.Reset()
	r.failures, r.refused = 0, false
}
