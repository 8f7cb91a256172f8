package gdrive

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"sitesync/uploader/site"
)

// maxAttempts is how often one request is made before its trouble is handed to whoever asked, who will
// come back later.
const maxAttempts = 5

// newBackoff is the wait between attempts, jittered from the first one on.
func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(250*time.Millisecond),
		backoff.WithMaxInterval(8*time.Second),
		backoff.WithMaxElapsedTime(0)) // bounded by attempts
}

// call makes a request without content as often as it takes, at the site's pace. The request must be safe
// to repeat.
func (s *Site) call(ctx context.Context, request func(context.Context) error) error {
	return s.attempt(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		return request(ctx)
	})
}

// attempt makes a request and repeats it while it is worth it: with a fresh token after the first 401, and
// with backoff while the service is busy or out of reach. Its error is classed.
func (s *Site) attempt(ctx context.Context, request func() error) error {
	wait := newBackoff()
	refused := false
	for n := 1; ; n++ {
		if err := s.pacer.wait(ctx); err != nil {
			return err
		}
		err := classify(request())
		if err == nil {
			s.pacer.succeeded()
			return nil
		}
		if ended(ctx) {
			return ctx.Err()
		}
		if isUnauthorized(err) && !refused {
			refused = true // the token had run out; the next one is fresh
			continue
		}
		if site.ClassOf(err) != site.Throttled {
			return err
		}
		s.pacer.throttled(err)
		if n == maxAttempts {
			return err
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
