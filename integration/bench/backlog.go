package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

const (
	// busyLatency is Drive's latency beside other files.
	busyLatency = 50 * time.Millisecond

	// maxDelay is how much longer than alone a publish may take beside other files.
	maxDelay = 100 * time.Millisecond

	largeFiles = 4
	largeSize  = 5 << 30
	// largeSpeed is the bandwidth of all uploads together, bytes a second: low enough for them to last.
	largeSpeed = 64 << 20

	singles = 50 // that are published together
)

// backlog measures single publishes beside many or large pending files, in turn with the same on an idle sitesync.
func (b *bench) backlog(ctx context.Context) (rows []row, err error) {
	b.latency(busyLatency)
	defer b.latency(0)
	for _, m := range []struct {
		what string
		n    int
		load func(*isolatedEnv, context.Context, *studio.Project) error
	}{
		{fmt.Sprintf("beside %d pending files", b.Backlog), b.Fresh, (*isolatedEnv).addBacklog},
		{fmt.Sprintf("beside %d caches of %d GiB", largeFiles, largeSize>>30), max(b.Fresh/2, 1),
			(*isolatedEnv).largeFiles},
	} {
		what := fmt.Sprintf("of %d publishes a round %s", m.n, m.what)
		middle := row{What: "median " + what, Unit: "ms", Peer: "on an idle sitesync"}
		last := row{What: "p99 " + what, Unit: "ms",
			Peer: fmt.Sprintf("on an idle sitesync, and %d ms", maxDelay.Milliseconds()),
			Bar:  &bar{Of: ofRatio, Limit: 1}}
		for round := range b.Rounds {
			progress("%s, round %d of %d ...", m.what, round+1, b.Rounds)
			idle, busy, err := b.beside(ctx, m.n, m.load)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.what, err)
			}
			middle.Ours = append(middle.Ours, milliseconds(busy.Quantile(0.5)))
			middle.Theirs = append(middle.Theirs, milliseconds(idle.Quantile(0.5)))
			last.Ours = append(last.Ours, milliseconds(busy.Quantile(0.99)))
			last.Theirs = append(last.Theirs, milliseconds(idle.Quantile(0.99)+maxDelay))
		}
		rows = append(rows, middle, last)
	}
	r, err := b.besideASequence(ctx)
	return append(rows, r), err
}

// beside publishes one file after the other, in turn for an idle sitesync and for one with a load.
func (b *bench) beside(ctx context.Context, n int,
	load func(*isolatedEnv, context.Context, *studio.Project) error) (idle, busy studio.Reactions, err error) {
	calm, p, err := b.newIsolatedProject(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer calm.close(ctx)
	if err := calm.start(ctx); err != nil {
		return nil, nil, err
	}
	full, loaded, err := b.newIsolatedProject(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer full.close(ctx)
	defer b.env.Drive.UpdateSettings(func(v *drive.Settings) { v.UploadBandwidth = 0 })
	if err := load(full, ctx, loaded); err != nil {
		return nil, nil, err
	}
	for i := range n + 1 {
		one, err := calm.publish(ctx, p, "Idle", i+1)
		if err != nil {
			return nil, nil, err
		}
		other, err := full.publish(ctx, loaded, "Busy", i+1)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 { // the first one of an asset looks up its folders
			idle, busy = append(idle, one), append(busy, other)
		}
	}
	left, err := full.pending(ctx,
		bson.D{{Key: "context.asset", Value: bson.D{{Key: "$in", Value: bson.A{"Many", "Large"}}}}})
	if err == nil && left == 0 {
		err = errors.New("all was uploaded before the publishes were measured; raise --backlog")
	}
	return idle, busy, err
}

// newIsolatedProject is newIsolatedEnv, with a project.
func (b *bench) newIsolatedProject(ctx context.Context) (*isolatedEnv, *studio.Project, error) {
	h, err := b.newIsolatedEnv(time.Minute)
	if err != nil {
		return nil, nil, err
	}
	p, err := h.studio.Project(ctx, "Bench")
	return h, p, err
}

// publish publishes one file and returns how long it took until it was synced.
func (e *isolatedEnv) publish(ctx context.Context, p *studio.Project, asset string,
	version int) (time.Duration, error) {
	rep, err := p.Publish(ctx, studio.Publish{Asset: asset, Subset: "modelMain", Version: version, Name: "ma",
		Size: size})
	if err != nil {
		return 0, err
	}
	at, err := e.studio.WaitSynced(ctx, rep)
	return at.Sub(rep.Acknowledged), err
}

// pending counts what is not synced yet of what the filter finds.
func (e *isolatedEnv) pending(ctx context.Context, filter bson.D) (int, error) {
	n, err := e.db.Collection("Bench").CountDocuments(ctx, append(filter, bson.E{Key: "files.sites", Value: bson.D{
		{Key: "$elemMatch", Value: bson.D{{Key: "name", Value: testenv.RemoteSite},
			{Key: "created_dt", Value: nil}}}}}))
	return int(n), err
}

// addBacklog inserts a backlog, then starts sitesync and waits until it uploads.
func (e *isolatedEnv) addBacklog(ctx context.Context, p *studio.Project) error {
	// Enough of them have files to last.
	files := min(e.Backlog, 250*e.Fresh)
	single := studio.Publish{Name: "ma"}
	record := single
	record.RecordOnly = true
	if err := e.insert(ctx, p, numbered{single, 0, files}, numbered{record, files, e.Backlog - files}); err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return err
	}
	return e.until(ctx, "the backlog is uploaded", func() (bool, error) {
		return e.env.Drive.Calls()["files.create.multipart"] > 8, nil // start has reset them
	})
}

// largeFiles publishes large caches and waits until all are being uploaded.
func (e *isolatedEnv) largeFiles(ctx context.Context, p *studio.Project) error {
	e.env.Drive.UpdateSettings(func(v *drive.Settings) { v.UploadBandwidth = largeSpeed })
	if err := e.start(ctx); err != nil {
		return err
	}
	for i := range largeFiles {
		if _, err := p.Publish(ctx, studio.Publish{Asset: "Large", Subset: "cacheMain", Version: i + 1, Name: "abc",
			Size: largeSize, Sparse: true, NoTmp: true}); err != nil {
			return err
		}
	}
	return e.until(ctx, "the caches are being uploaded", func() (bool, error) {
		return e.env.Drive.Calls()["upload.put"] == largeFiles, nil
	})
}

// besideASequence measures single files that are published together, alone and with a long sequence before them.
func (b *bench) besideASequence(ctx context.Context) (row, error) {
	r := row{What: fmt.Sprintf("last of %d files published with %d frames", singles, b.Frames), Unit: "ms",
		Peer: fmt.Sprintf("without the frames, and %d ms", maxDelay.Milliseconds()), Bar: &bar{Of: ofRatio, Limit: 1}}
	h, p, err := b.newIsolatedProject(ctx)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	if err := h.start(ctx); err != nil {
		return r, err
	}
	if _, err := h.publish(ctx, p, "First", 1); err != nil { // so that folders and ids are cached
		return r, err
	}
	sequence := studio.Publish{Asset: "Sequence", Subset: "renderMain", Name: "exr", Frames: b.Frames, Size: size,
		NoTmp: true}
	// last publishes the single files together, after the others, and returns how long all of them take.
	last := func(asset string, others ...studio.Publish) (float64, error) {
		pubs := others
		for i := range singles {
			pubs = append(pubs, studio.Publish{Asset: asset, Subset: "modelMain", Version: i + 1, Name: "ma",
				Size: size, NoTmp: true})
		}
		reps, err := p.PublishAll(ctx, pubs...)
		if err != nil {
			return 0, err
		}
		err = h.until(ctx, "the single files are synced", func() (bool, error) {
			left, err := h.pending(ctx, bson.D{{Key: "context.asset", Value: asset}})
			return left == 0, err
		})
		took := milliseconds(time.Since(reps[0].Acknowledged))
		if len(others) > 0 && err == nil {
			_, err = h.studio.WaitSynced(ctx, reps[0])
		}
		return took, err
	}
	for round := range b.Rounds {
		progress("%s, round %d of %d ...", r.What, round+1, b.Rounds)
		alone, err := last(fmt.Sprint("Alone", round))
		if err != nil {
			return r, err
		}
		sequence.Version = round + 1
		beside, err := last(fmt.Sprint("Beside", round), sequence)
		if err != nil {
			return r, err
		}
		r.Ours, r.Theirs = append(r.Ours, beside), append(r.Theirs, alone+milliseconds(maxDelay))
	}
	return r, nil
}
