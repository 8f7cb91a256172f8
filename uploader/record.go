package uploader

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"sitesync/avalon"
)

// recordLoop records what has become late, until ctx ends.
func (u *Uploader) recordLoop(ctx, writing context.Context) {
	for {
		j, results, err := u.scheduler.awaitLate(ctx)
		if err != nil {
			return
		}
		u.record(writing, j, results)
	}
}

// record writes results, and what gathers meanwhile.
func (u *Uploader) record(ctx context.Context, j *job, results []result) {
	for len(results) > 0 {
		u.write(ctx, j, results)
		results = u.scheduler.recorded(j)
	}
}

// write writes results for as long as it takes, until ctx ends: a file that is on the site and not marked would
// be looked at again.
func (u *Uploader) write(ctx context.Context, j *job, results []result) {
	outcomes := make([]avalon.Outcome, len(results))
	for i, r := range results {
		outcomes[i] = r.Outcome
	}
	for {
		lost, err := u.Recorder.Record(ctx, j.key, outcomes)
		var refused *avalon.RecordError
		if errors.As(err, &refused) {
			u.rejections.add(j.key, refused)
			u.invalidDocs.replace(j.key, refused.Error())
			results = slices.DeleteFunc(results, func(r result) bool { return refused.Files[r.File.Key()] != nil })
			err = nil
		}
		if err == nil {
			u.writing.observe(nil)
			u.logLost(j, results, lost)
			u.logSynced(j, slices.DeleteFunc(results, func(r result) bool { return lost[r.File.Key()] != "" }))
			return
		}
		if ctx.Err() != nil {
			u.logFor(j.key).Warn("results not recorded; the files are checked again later", zap.Error(err))
			return
		}
		u.writing.observe(err)
		select {
		case <-time.After(jitter(time.Second)):
		case <-ctx.Done():
		}
	}
}

// logLost logs the uploads whose outcomes were lost, once for each reason: they count as nothing.
func (u *Uploader) logLost(j *job, results []result, lost avalon.Lost) {
	first, files := map[string]string{}, map[string]int{} // by reason
	for _, r := range results {
		if why, is := lost[r.File.Key()]; is && r.Error == "" {
			if files[why]++; files[why] == 1 {
				first[why] = r.File.Path
			}
		}
	}
	for why, path := range first {
		u.logFor(j.key).Info("transferred, but not recorded: the record is no longer what it was",
			zap.Int("files", files[why]),
			zap.String("path", path), zap.String("why", why))
	}
}

// logSynced logs each file that is synced. The reaction is the time from when its representation came to our
// notice to when everybody can read that the file is synced.
func (u *Uploader) logSynced(j *job, results []result) {
	for _, r := range results {
		if r.Error != "" {
			continue
		}
		reaction := time.Since(r.seen)
		u.synced.Add(1)
		u.bytes.Add(r.bytes)
		if u.Synced != nil {
			u.Synced(SyncedFile{j.key, u.Direction, r.File.Path, r.bytes, r.took, reaction})
		}
		u.Log.Info("synced", zap.String("project", j.key.Project), zap.Stringer("representation", j.key.ID),
			zap.String("path", r.File.Path), zap.Int64("bytes", r.bytes),
			zap.String("size", humanize.IBytes(uint64(r.bytes))), zap.Float64("seconds", r.took.Seconds()),
			zap.Float64("reaction", reaction.Seconds()))
	}
}

// progressInterval is the time between two notes of how far an upload is. Each is a small update of a document that may
// be large.
const progressInterval = 5 * time.Second

// progressTimeout bounds each write: an old figure is of no use.
const progressTimeout = 5 * time.Second

// progress is that of one upload. A nil one is not noted anywhere.
type progress struct {
	recorded chan bool // the upload is over, and whether an outcome is written, which takes the note away
}

// reportProgress notes the progress of a large file in its record until end is called.
func (u *Uploader) reportProgress(ctx context.Context, t task) *progress {
	if !u.RecordProgress || t.file.Size < largeFile {
		return nil
	}
	p := &progress{recorded: make(chan bool, 1)}
	u.progressReports.Go(func() { p.note(ctx, u, t) })
	return p
}

// end ends the notes. It does not wait for one that is on its way: beside an outcome it does nothing.
func (p *progress) end(recorded bool) {
	if p != nil {
		p.recorded <- recorded
	}
}

func (p *progress) note(ctx context.Context, u *Uploader, t task) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	log := u.logFor(t.job.key)
	last, noted := 0.0, false
	for {
		select {
		case recorded := <-p.recorded:
			if noted && !recorded {
				ctx, cancel := context.WithTimeout(ctx, progressTimeout)
				defer cancel()
				if err := u.Recorder.ClearProgress(ctx, t.job.key, t.file); err != nil {
					log.Debug("progress stays in the record", zap.Error(err))
				}
			}
			return
		case <-tick.C:
		}
		// In thousandths; a session that is begun anew goes back.
		done := math.Floor(1000*min(float64(t.transfer.sent.Load())/float64(t.file.Size), 1)) / 1000
		if done == last {
			continue
		}
		last, noted = done, true
		noting, cancel := context.WithTimeout(ctx, progressTimeout)
		if err := u.Recorder.SetProgress(noting, t.job.key, t.file, done); err != nil {
			log.Debug("progress can't be noted", zap.Error(err))
		}
		cancel()
	}
}
