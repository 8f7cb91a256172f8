package uploader

import (
	"context"
	"errors"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"sitesync/avalon"
)

// writeTimeout bounds the wait for the database once no more files may be uploaded.
const writeTimeout = 2 * time.Second

// recordLoop records what has become late, until ctx ends.
func (u *Uploader) recordLoop(ctx, working context.Context) {
	for {
		j, results, err := u.schedule.late(ctx)
		if err != nil {
			return
		}
		u.record(working, j, results)
	}
}

// record writes results, and what gathers meanwhile.
func (u *Uploader) record(ctx context.Context, j *job, results []result) {
	for len(results) > 0 {
		u.write(ctx, j, results)
		results = u.schedule.recorded(j)
	}
}

// write writes results for as long as it takes: a file that is on the site and not marked would be looked at
// again. When ctx ends, there is one last try.
func (u *Uploader) write(ctx context.Context, j *job, results []result) {
	outcomes := make([]avalon.Outcome, len(results))
	for i, r := range results {
		outcomes[i] = r.Outcome
	}
	for {
		writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(writeTimeout, cancel) })
		err := u.Store.Record(writing, j.key, u.RemoteSite, outcomes)
		stop()
		cancel()
		var refused *avalon.RecordError
		if errors.As(err, &refused) {
			u.reports.replace(j.key, err.Error())
			return
		}
		u.database.saw(err)
		if err == nil {
			u.tell(j, results)
			return
		}
		if ctx.Err() != nil {
			u.about(j.key).Warn("results not recorded; the files are looked at again at the next start", zap.Error(err))
			return
		}
		select {
		case <-time.After(jitter(time.Second)):
		case <-ctx.Done():
		}
	}
}

// tell logs each file that is synced. The reaction is the time from when its representation came to our
// notice to when everybody can read that the file is synced.
func (u *Uploader) tell(j *job, results []result) {
	for _, r := range results {
		if r.Error != "" {
			continue
		}
		u.synced.Add(1)
		u.about(j.key).Info("synced", zap.String("path", r.File.Path), zap.Int64("bytes", r.bytes),
			zap.String("size", humanize.IBytes(uint64(r.bytes))), zap.Float64("seconds", r.took.Seconds()),
			zap.Float64("reaction", time.Since(r.seen).Seconds()))
	}
}
