package uploader

import (
	"context"
	"math"
	"time"

	"go.uber.org/zap"
)

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
				if err := u.Store.DropProgress(ctx, t.job.key, u.Rules.To, t.file); err != nil {
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
		if err := u.Store.NoteProgress(noting, t.job.key, u.Rules.To, t.file, done); err != nil {
			log.Debug("progress can't be noted", zap.Error(err))
		}
		cancel()
	}
}
