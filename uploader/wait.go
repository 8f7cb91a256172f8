package uploader

import (
	"sync"
	"time"

	"sitesync/avalon"
)

// Looks at a source that is not there yet: soon at first, as the rename that follows a publish takes
// milliseconds, then less and less often.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 2 * time.Second
)

// waits remembers since when the source of a file has been waited for. Its zero value is ready.
type waits struct {
	mu    sync.Mutex
	since map[waitKey]time.Time
}

type waitKey struct {
	rep  avalon.Key
	file avalon.FileKey
}

// next says when to look again, a fifth of the time waited so far from now; 0 if the time to settle is over.
func (w *waits) next(t task, now time.Time, settle time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == nil {
		w.since = map[waitKey]time.Time{}
	}
	key := waitKey{t.job.key, t.file.Key()}
	first, ok := w.since[key]
	if !ok {
		first = now
		w.since[key] = now
	}
	waited := now.Sub(first)
	if waited >= settle {
		return 0
	}
	return min(max(waited/5, firstLook), lastLook, settle-waited)
}

// forget ends the wait for a file.
func (w *waits) forget(t task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.since, waitKey{t.job.key, t.file.Key()})
}
