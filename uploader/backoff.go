package uploader

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff says how long a failed file waits for its next try: First after one failed try, twice that after
// two, and so on, up to Max.
type Backoff struct {
	First, Max time.Duration
}

// After is the wait after so many failed tries. It is the same each time it is asked, as it is counted from
// the record's last_failed_dt.
func (b Backoff) After(tries int) time.Duration {
	if tries <= 0 {
		return 0
	}
	e := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(b.First),
		backoff.WithMaxInterval(b.Max),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxElapsedTime(0)) // bounded by retry_cnt
	wait := e.NextBackOff()
	for n := 1; n < tries && wait < b.Max; n++ {
		wait = e.NextBackOff()
	}
	return min(wait, b.Max)
}
