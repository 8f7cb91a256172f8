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
	minSourceCheck = 5 * time.Millisecond
	maxSourceCheck = 2 * time.Second
)

// maxSourceWaits is how many sources are waited for in each lane at the most, about 5 MB: of a million records whose
// files are not there, the others have their time when these are over.
const maxSourceWaits = 5_000

// forgetInterval is how often waits that have been abandoned are looked for, while there is no room for
// others.
const forgetInterval = time.Minute

// sourceWaits remembers the sources that are waited for, by representation. Its zero value is ready.
type sourceWaits struct {
	mu        sync.Mutex
	all       map[avalon.Key]map[avalon.FileKey]wait
	files     [2]int // by lane
	forgotten time.Time
}

// wait is the wait for one source.
type wait struct {
	lane   watcher.Lane // that it began in
	seen   time.Time    // when the file came to our notice
	since  time.Time    // when its source was first looked for
	looked time.Time    // when it was last looked for
}

// nextCheck returns when to check the source again: a fifth of the time waited so far from now or, where it was not
// just published it, when it has been waited for twice as long. It is 0 if the time to settle is over, which does not
// begin before there is room for the wait.
func (w *sourceWaits) nextCheck(t task, now time.Time, settle time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[avalon.Key]map[avalon.FileKey]wait{}
	}
	found, ok := w.all[t.job.key][t.file.Key()]
	if !ok {
		found = wait{lane: t.lane, seen: t.job.seen, since: now}
		if w.files[t.lane] >= maxSourceWaits && !w.forget(now, settle) {
			if t.lane == watcher.Backlog {
				return max(settle, minSourceCheck)
			}
			return max(min(maxSourceCheck, settle), minSourceCheck)
		}
		w.files[t.lane]++
	}
	found.looked = now
	files := w.all[t.job.key]
	if files == nil {
		files = map[avalon.FileKey]wait{}
		w.all[t.job.key] = files
	}
	files[t.file.Key()] = found
	waited := now.Sub(found.since)
	if waited >= settle {
		return 0
	}
	if t.lane == watcher.Backlog {
		return min(max(waited, maxSourceCheck), settle-waited)
	}
	return min(max(waited/5, minSourceCheck), maxSourceCheck, settle-waited)
}

// forget ends waits that should have been checked long ago: the representation is gone, or was synced by another
// process. It reports whether there were any.
func (w *sourceWaits) forget(now time.Time, settle time.Duration) bool {
	if now.Sub(w.forgotten) < forgetInterval {
		return false
	}
	w.forgotten = now
	before := w.files
	for key, files := range w.all {
		for f, found := range files {
			if now.Sub(found.looked) > 2*settle+forgetInterval {
				w.remove(key, f)
			}
		}
	}
	return w.files != before
}

// remove ends the wait for a source, if there is one.
func (w *sourceWaits) remove(key avalon.Key, f avalon.FileKey) (found wait, ok bool) {
	files := w.all[key]
	if found, ok = files[f]; !ok {
		return found, false
	}
	w.files[found.lane]--
	if delete(files, f); len(files) == 0 {
		delete(w.all, key)
	}
	return found, true
}

// expired reports whether a source was waited for, and the time to settle is expired.
func (w *sourceWaits) expired(t task, now time.Time, settle time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.all[t.job.key][t.file.Key()]
	return ok && now.Sub(found.since) >= settle
}

// finish ends the wait for a source and returns when the file came to our notice.
func (w *sourceWaits) finish(t task) (seen time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found, ok := w.remove(t.job.key, t.file.Key()); ok {
		return found.seen
	}
	return t.job.seen
}

// retain ends the wait for all files of a representation but these.
func (w *sourceWaits) retain(key avalon.Key, due []avalon.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all[key]) == 0 {
		return
	}
	kept := map[avalon.FileKey]bool{}
	for _, f := range due {
		kept[f.Key()] = true
	}
	for f := range w.all[key] {
		if !kept[f] {
			w.remove(key, f)
		}
	}
}
