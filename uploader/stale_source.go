package uploader

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/site"
)

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
	if rec, _ := t.file.RecordFor(u.Rules.To); rec.Tries > 0 || !older(src.ModTime(), &t.file) {
		return nil
	}
	err := fmt.Errorf("the source %s is of %s, a newer one was published", src,
		src.ModTime().UTC().Format(time.RFC3339Nano))
	patience := min(u.SourceGracePeriod, staleGracePeriod)
	if src.NewerAnnounced(ctx) {
		patience = u.SourceGracePeriod // it is there already, and not renamed yet
	}
	if u.waits.expired(t, time.Now(), patience) {
		u.staleWarned.Do(func() {
			u.logFor(t.job.key).Warn("no newer file has come, so it is uploaded as it is, and others like it, each "+
				"after a wait; "+
				"look at the clock of the storage if that goes on", zap.Duration("wait", staleGracePeriod),
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
