package avalon

import (
	"sync"
	"time"
)

// ownWrites remembers what this process has just recorded, to recognize it in the change stream. The zero value is
// ready to use.
type ownWrites struct {
	mu           sync.Mutex
	newer, older map[ownWrite]struct{}
}

// ownWrite is a created_dt that was written.
type ownWrite struct {
	key Key
	at  int64 // ms, as in BSON
}

// minOwnWrites is how many are remembered at least. The stream is milliseconds behind, or by many writes when it has
// just been resumed.
const minOwnWrites = 10_000

// add remembers what is about to be written.
func (w *ownWrites) add(key Key, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newer == nil || len(w.newer) >= minOwnWrites {
		w.older, w.newer = w.newer, map[ownWrite]struct{}{}
	}
	w.newer[ownWrite{key, at.UnixMilli()}] = struct{}{}
}

func (w *ownWrites) contains(key Key, at time.Time) bool {
	if at.IsZero() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, newer := w.newer[ownWrite{key, at.UnixMilli()}]
	_, older := w.older[ownWrite{key, at.UnixMilli()}]
	return newer || older
}
