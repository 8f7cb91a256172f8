package avalon

import "time"

// Route is from where to where files are synced.
type Route struct {
	From string // the site that has the files
	To   string // the site that waits for them
}

// Rules decide which files are due on a route.
type Rules struct {
	Route
	RetryCount int // failed tries after which a file is left alone, at least 1
	// Backoff is the wait after so many failed tries. It must not decrease with the number of tries.
	Backoff func(tries int) time.Duration
}

// ExponentialBackoff returns a [Rules.Backoff]: first after one failed try, twice as long after each further one, and
// never longer than limit.
func ExponentialBackoff(first, limit time.Duration) func(tries int) time.Duration {
	return func(tries int) time.Duration {
		if tries <= 0 {
			return 0
		}
		wait := first
		for n := 1; n < tries && 0 < wait && wait < limit; n++ {
			wait *= 2
		}
		return min(wait, limit)
	}
}

// Status is the state of a file on a route.
type Status int

// The states of a file.
const (
	Untracked     Status = iota // it has no record of the site To
	Synced                      // it is on the site To
	Pending                     // it is uploaded now or next
	BackingOff                  // it waits for its next try
	Failed                      // it has no tries left
	SourceMissing               // the site From does not have it
	Paused                      // its record is paused
	Invalid                     // its entry or its record is malformed
)

// Decision is the status of a file, and why.
type Decision struct {
	Status  Status
	Problem string        // of an invalid one
	Wait    time.Duration // until the next try of one that is backing off
}

// Evaluate decides on one file. It is the only place where the rule is written in Go; the queries of this package agree
// with it.
func (r Rules) Evaluate(f *File, now time.Time) Decision {
	to, tracked := f.RecordFor(r.To)
	from, _ := f.RecordFor(r.From)
	switch {
	case f.Problem != "" && (tracked && !to.Created || len(f.Sites) == 0):
		return Decision{Status: Invalid, Problem: f.Problem}
	case !tracked:
		return Decision{Status: Untracked}
	case to.Created:
		return Decision{Status: Synced}
	case to.Paused:
		return Decision{Status: Paused}
	case to.Tries >= r.RetryCount:
		return Decision{Status: Failed}
	case to.Problem != "":
		return Decision{Status: Invalid, Problem: to.Problem}
	case !from.Created:
		return Decision{Status: SourceMissing}
	}
	if to.Tries > 0 && !to.LastFailed.IsZero() {
		// A clock that is behind the one that wrote the date must not make the wait longer than it is.
		full := r.Backoff(to.Tries)
		if wait := min(to.LastFailed.Add(full).Sub(now), full); wait > 0 {
			return Decision{Status: BackingOff, Wait: wait}
		}
	}
	return Decision{Status: Pending}
}
