package uploader

import (
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
)

// Looks at a source that is not there yet: soon at first, as the rename that follows a publish takes
// milliseconds, then less and less often.
const (
	firstLook = 5 * time.Millisecond
	lastLook  = 2 * time.Second
)

// waits remembers the sources that are waited for, by representation. Its zero value is ready.
type waits struct {
	mu  sync.Mutex
	all map[avalon.Key]map[avalon.FileKey]wait
}

// wait is the wait for one source.
type wait struct {
	seen  time.Time // when the file came to our notice
	since time.Time // when its source was first looked for
}

// next says when to look at the source again: a fifth of the time waited so far from now or, where nobody has just
// published it, when it has been waited for twice as long. It is 0 if the time to settle is over.
func (w *waits) next(t task, now time.Time, settle time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[avalon.Key]map[avalon.FileKey]wait{}
	}
	files := w.all[t.job.key]
	if files == nil {
		files = map[avalon.FileKey]wait{}
		w.all[t.job.key] = files
	}
	found, ok := files[t.file.Key()]
	if !ok {
		found = wait{seen: t.job.seen, since: now}
		files[t.file.Key()] = found
	}
	waited := now.Sub(found.since)
	if waited >= settle {
		return 0
	}
	if t.lane == watcher.Backlog {
		return min(max(waited, lastLook), settle-waited)
	}
	return min(max(waited/5, firstLook), lastLook, settle-waited)
}

// over reports whether a source was waited for, and the time to settle is over.
func (w *waits) over(t task, now time.Time, settle time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.all[t.job.key][t.file.Key()]
	return ok && now.Sub(found.since) >= settle
}

// done ends the wait for a source and returns when the file came to our notice.
func (w *waits) done(t task) (seen time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := w.all[t.job.key]
	found, ok := files[t.file.Key()]
	if !ok {
		return t.job.seen
	}
	if delete(files, t.file.Key()); len(files) == 0 {
		delete(w.all, t.job.key)
	}
	return found.seen
}

// keep ends the wait for all files of a representation but these.
func (w *waits) keep(key avalon.Key, due []avalon.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := w.all[key]
	kept := map[avalon.FileKey]wait{}
	for _, f := range due {
		if found, ok := files[f.Key()]; ok {
			kept[f.Key()] = found
		}
	}
	if delete(w.all, key); len(kept) > 0 {
		w.all[key] = kept
	}
}
