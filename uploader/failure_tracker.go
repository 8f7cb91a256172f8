package uploader

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/site"
)

const (
	// ownFailureAfter is how long a file has to fail, and ownFailureRounds how often, while the site works otherwise,
	// until that counts as the file's own failure. Both are counted from the first failure that is known to be beside
	// others' success.
	ownFailureAfter  = 2 * time.Minute
	ownFailureRounds = 3

	// maxTransientDelay bounds how long such a file is left alone: transientDelay, from ownFailureRounds on twice as
	// long each time.
	maxTransientDelay = time.Minute

	// maxRetryAfter bounds what is believed of the site's word when to come back with one file.
	maxRetryAfter = 10 * time.Minute

	// maxFailing bounds the files that are remembered as failing. With more of them it is an outage.
	maxFailing = 1000

	// forgetFailing is after how long without a further failure a file is forgotten. It may wait behind a whole
	// backlog.
	forgetFailing = 2 * time.Hour
)

// failureTracker remembers files whose uploads fail with errors that name no culprit, such as 5xx, broken connections
// and timeouts, and decides whether that is an outage or one file's own failure. Its zero value is ready.
type failureTracker struct {
	mu       sync.Mutex
	all      map[fileRef]*failingFile
	worked   int64 // uploads that succeeded since the start
	tidiedUp time.Time
}

// failingFile is a file that has failed, and not succeeded since.
type failingFile struct {
	first, last int64     // how many uploads had succeeded at its first failure and at its last
	since       time.Time // from when on it has failed beside others' success; zero in an outage
	rounds      int       // since then
	seen        time.Time // its last failure
	until       time.Time // it is not tried again before
	err         error     // of its last failure
}

// assessment is what a failure means.
type assessment struct {
	beside bool          // others get through
	own    time.Duration // how long it has been the file's own failure; 0 if it is not one
	rest   time.Duration // when to try again
}

// failed takes a failure and assesses it. The site works otherwise if more other files have
// succeeded since the file began to fail than are failing too, and one of them since its last failure, or if check says
// so now. It is asked where as many have succeeded as are failing too: also where no other file was tried.
func (f *failureTracker) failed(ctx context.Context, ref fileRef, now time.Time, err error,
	check func(context.Context) error) assessment {
	works, ask, known := f.observe(ref, now)
	if ask {
		works = check(ctx) == nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.all[ref]
	if !known || file == nil {
		return assessment{rest: transientDelay}
	}
	if !works {
		file.since, file.rounds, file.until = time.Time{}, 0, time.Time{}
		return assessment{rest: transientDelay}
	}
	if file.rounds++; file.rounds == 1 {
		file.since = now
	}
	s := assessment{beside: true, rest: maxTransientDelay}
	if file.rounds < 2*ownFailureRounds {
		s.rest = min(transientDelay<<max(file.rounds-ownFailureRounds, 0), maxTransientDelay)
	}
	file.err, file.until = err, now.Add(s.rest*3/4) // the least that jitter makes of it
	if lasted := now.Sub(file.since); file.rounds >= ownFailureRounds && lasted >= ownFailureAfter {
		s.own = lasted
		delete(f.all, ref)
	}
	return s
}

// observe registers a failure. It returns whether the site is seen to work otherwise, whether it has to be asked for
// that, and whether anything is known at all: the first failure of a file is no evidence.
func (f *failureTracker) observe(ref fileRef, now time.Time) (works, ask, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.tidiedUp) > forgetFailing/10 {
		f.tidiedUp = now
		maps.DeleteFunc(f.all, func(_ fileRef, file *failingFile) bool { return now.Sub(file.seen) > forgetFailing })
	}
	file := f.all[ref]
	if file == nil {
		if len(f.all) >= maxFailing {
			return false, false, false
		}
		if f.all == nil {
			f.all = map[fileRef]*failingFile{}
		}
		f.all[ref] = &failingFile{first: f.worked, last: f.worked, seen: now}
		return false, false, false
	}
	others, succeeded, lately := int64(len(f.all)-1), f.worked-file.first, f.worked > file.last
	file.last, file.seen = f.worked, now
	if succeeded > others && lately {
		return true, false, true
	}
	return false, succeeded >= others, true
}

// remaining returns how long a file that fails while others get through has to wait, and its last error: polls find it
// all the time.
func (f *failureTracker) remaining(ref fileRef, now time.Time) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.all[ref]; file != nil && file.until.After(now) {
		return file.until.Sub(now), file.err
	}
	return 0, nil
}

// ended says that a file has not failed so this time.
func (f *failureTracker) ended(ref fileRef, succeeded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if succeeded {
		f.worked++
	}
	delete(f.all, ref)
}

// ownFailure is the error of a file that fails alone.
func ownFailure(err error, lasted time.Duration) error {
	return site.Classed(site.FileError, fmt.Errorf("%w (for %s, though the site works otherwise)", err,
		lasted.Round(time.Second)))
}

// logAgainAfter is the shortest time between two warnings of the same outage, which may come and go.
const logAgainAfter = 30 * time.Second

// availability logs once that a service is out of reach, and once that it is back.
type availability struct {
	log  *zap.Logger
	what string

	mu       sync.Mutex
	down     bool      // that it is out of reach
	loggedAt time.Time // when that was logged last
}

// observe takes the result of a request; nil means that it works.
func (o *availability) observe(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil && o.down:
		o.down = false
		o.log.Info(o.what + " works again")
	case err == nil:
	case o.down, time.Since(o.loggedAt) < logAgainAfter:
		o.log.Debug(o.what+" still does not work", zap.Error(err))
	default:
		o.down, o.loggedAt = true, time.Now()
		o.log.Warn(o.what+" does not work for now; it is tried again and costs no try", zap.Error(err))
	}
}

// isDown reports whether it is out of reach, as far as is known.
func (o *availability) isDown() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}
