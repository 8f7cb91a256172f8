package uploader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/site"
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
	all       map[avalon.Key]map[avalon.FileKey]*wait
	files     [2]int // by lane
	forgotten time.Time
}

// wait is the wait for one source.
type wait struct {
	lane    watcher.Lane // that it began in
	seen    time.Time    // when the file came to our notice
	since   time.Time    // when its source was first looked for
	checked time.Time    // when it was last looked for
}

// nextCheck returns when to check the source again: a fifth of the time waited so far from now or, where it was not
// just published it, when it has been waited for twice as long. It is 0 if the time to settle is over, which does not
// begin before there is room for the wait.
func (w *sourceWaits) nextCheck(t task, now time.Time, settle time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.all[t.job.key][t.file.Key()]
	if found == nil {
		if w.files[t.lane] >= maxSourceWaits && !w.forget(now, settle) {
			if t.lane == watcher.Backlog {
				return max(settle, minSourceCheck)
			}
			return max(min(maxSourceCheck, settle), minSourceCheck)
		}
		found = &wait{lane: t.lane, seen: t.job.seen, since: now}
		w.add(t, found)
	}
	found.checked = now
	waited := now.Sub(found.since)
	if waited >= settle {
		return 0
	}
	if t.lane == watcher.Backlog {
		return min(max(waited, maxSourceCheck), settle-waited)
	}
	return min(max(waited/5, minSourceCheck), maxSourceCheck, settle-waited)
}

// add begins a wait.
func (w *sourceWaits) add(t task, found *wait) {
	if w.all == nil {
		w.all = map[avalon.Key]map[avalon.FileKey]*wait{}
	}
	if w.all[t.job.key] == nil {
		w.all[t.job.key] = map[avalon.FileKey]*wait{}
	}
	w.all[t.job.key][t.file.Key()] = found
	w.files[t.lane]++
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
			if now.Sub(found.checked) > 2*settle+forgetInterval {
				w.remove(key, f)
			}
		}
	}
	return w.files != before
}

// remove ends the wait for a source, and returns it; nil if there is none.
func (w *sourceWaits) remove(key avalon.Key, f avalon.FileKey) *wait {
	found := w.all[key][f]
	if found == nil {
		return nil
	}
	w.files[found.lane]--
	if delete(w.all[key], f); len(w.all[key]) == 0 {
		delete(w.all, key)
	}
	return found
}

// expired reports whether a source was waited for, and the time for that is over.
func (w *sourceWaits) expired(t task, now time.Time, settle time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.all[t.job.key][t.file.Key()]
	return found != nil && now.Sub(found.since) >= settle
}

// finish ends the wait for a source and returns when the file came to our notice.
func (w *sourceWaits) finish(t task) (seen time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.remove(t.job.key, t.file.Key()); found != nil {
		return found.seen
	}
	return t.job.seen
}

// retain ends the wait for all files of a representation but these.
func (w *sourceWaits) retain(key avalon.Key, due []avalon.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[key] == nil {
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

// staleGracePeriod is how long a newer source is waited for that nothing announces. It comes milliseconds after the
// document, as a rule; where the clock of the storage is behind the publisher's, none does.
const staleGracePeriod = 10 * time.Second

// How much older than published a source may be. Python 2 rounds the time in the hash to 10 ms. Some storages keep
// whole seconds (FAT: two), but show more to who has just written.
const (
	timeRounding = 10 * time.Millisecond
	coarseTime   = 2 * time.Second
)

// checkStaleSource returns an error if the source still is what was there before: when a path is published again,
// IntegrateNew inserts the document first and then copies over the file, which is of the same size often enough. A file
// that was waited for counts as it is: not every storage keeps times. That is logged once.
func (u *Uploader) checkStaleSource(ctx context.Context, t task, src site.SourceFile) error {
	announcer, ok := src.(site.Announcer)
	if rec, _ := t.file.RecordFor(u.Rules.To); !ok || rec.Tries > 0 || !older(src.ModTime(), &t.file) {
		return nil
	}
	err := fmt.Errorf("the source %s is of %s, a newer one was published", src,
		src.ModTime().UTC().Format(time.RFC3339Nano))
	patience := min(u.SourceGracePeriod, staleGracePeriod)
	switch announced, failed := announcer.NewerAnnounced(ctx); {
	case failed != nil:
		return failed
	case announced: // it is there already, and not renamed yet
		patience = u.SourceGracePeriod
	}
	if u.sourceWaits.expired(t, time.Now(), patience) {
		u.staleWarned.Do(func() {
			u.logFor(t.job.key).Warn("no newer file has come, so it is uploaded as it is, and others like it, each "+
				"after a wait; look at the clock of the storage if that goes on",
				zap.Duration("wait", staleGracePeriod),
				zap.Error(err))
		})
		return nil
	}
	return site.Classed(site.NotReady, err)
}

// older reports whether a file of that time was written before the one that was published.
func older(modified time.Time, f *avalon.File) bool {
	if f.Modified.IsZero() {
		return false
	}
	tolerance := timeRounding
	if modified.Nanosecond() == 0 {
		tolerance = coarseTime
	}
	return modified.Add(tolerance).Before(f.Modified)
}
