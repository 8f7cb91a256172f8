package avalon

import (
	"sync"
	"time"
)

// recorded remembers what was recorded a moment ago, so that it is known again when the change stream tells of it. The
// zero value is ready for use.
type recorded struct {
	mu           sync.Mutex
	young, older map[recordedAt]struct{}
}

// recordedAt is a created_dt that was written.
type recordedAt struct {
	key Key
	at  int64 // in ms, as BSON has it
}

// maxRecorded is how many are remembered at least. The stream is told of a write within milliseconds; it may be behind
// by many when it has just been resumed.
const maxRecorded = 10_000

// add remembers what is about to be written.
func (r *recorded) add(key Key, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= maxRecorded {
		r.older, r.young = r.young, map[recordedAt]struct{}{}
	}
	r.young[recordedAt{key, at.UnixMilli()}] = struct{}{}
}

// has reports whether this was written here.
func (r *recorded) has(key Key, at time.Time) bool {
	if at.IsZero() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, young := r.young[recordedAt{key, at.UnixMilli()}]
	_, older := r.older[recordedAt{key, at.UnixMilli()}]
	return young || older
}
