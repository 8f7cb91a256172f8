package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

const (
	// busyLatency is what Drive takes for each request while others are under way.
	busyLatency = 50 * time.Millisecond

	// mayLast is how much longer than alone a publish may take beside others.
	mayLast = 100 * time.Millisecond

	giants    = 4
	giantSize = 5 << 30
	// giantSpeed is what all uploads have together, bytes a second: slow enough for the giants to be there all the time.
	giantSpeed = 64 << 20

	singles = 50 // that are published together
)

// backlog measures single publishes while a lot else is to be uploaded, in turn with the same on a sitesync that is idle.
func (b *bench) backlog(ctx context.Context) (rows []row, err error) {
	b.latency(busyLatency)
	defer b.latency(0)
	for _, m := range []struct {
		what string
		n    int
		load func(*house, context.Context, *studio.Project) error
	}{
		{fmt.Sprintf("beside %d pending files", b.Backlog), b.Fresh, (*house).pileUp},
		{fmt.Sprintf("beside %d caches of %d GiB", giants, giantSize>>30), max(b.Fresh/2, 1), (*house).giants},
	} {
		what := fmt.Sprintf("of %d publishes a round %s", m.n, m.what)
		middle := row{What: "median " + what, Unit: "ms", Peer: "on an idle sitesync"}
		last := row{What: "p99 " + what, Unit: "ms", Peer: fmt.Sprintf("on an idle sitesync, and %d ms", mayLast.Milliseconds()),
			Bar: &bar{Of: ofRatio, Limit: 1}}
		for round := range b.Rounds {
			progress("%s, round %d of %d ...", m.what, round+1, b.Rounds)
			idle, busy, err := b.beside(ctx, m.n, m.load)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.what, err)
			}
			middle.Ours = append(middle.Ours, milliseconds(busy.Quantile(0.5)))
			middle.Theirs = append(middle.Theirs, milliseconds(idle.Quantile(0.5)))
			last.Ours = append(last.Ours, milliseconds(busy.Quantile(0.99)))
			last.Theirs = append(last.Theirs, milliseconds(idle.Quantile(0.99)+mayLast))
		}
		rows = append(rows, middle, last)
	}
	r, err := b.besideASequence(ctx)
	return append(rows, r), err
}

// beside publishes one file after the other, in turn for an idle sitesync and for one with a load.
func (b *bench) beside(ctx context.Context, n int, load func(*house, context.Context, *studio.Project) error) (idle, busy studio.Reactions, err error) {
	calm, p, err := b.openHouse(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer calm.close(ctx)
	if err := calm.start(ctx); err != nil {
		return nil, nil, err
	}
	full, loaded, err := b.openHouse(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer full.close(ctx)
	defer b.stage.Drive.UpdateSettings(func(v *drive.Settings) { v.UploadBandwidth = 0 })
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
		if i > 0 { // the first one of an asset finds out about its folders
			idle, busy = append(idle, one), append(busy, other)
		}
	}
	left, err := full.pending(ctx, bson.D{{Key: "context.asset", Value: bson.D{{Key: "$in", Value: bson.A{"Many", "Giant"}}}}})
	if err == nil && left == 0 {
		err = errors.New("all was uploaded before the publishes were measured; let there be more")
	}
	return idle, busy, err
}

// openHouse is newHouse, with a project.
func (b *bench) openHouse(ctx context.Context) (*house, *studio.Project, error) {
	h, err := b.newHouse(time.Minute)
	if err != nil {
		return nil, nil, err
	}
	p, err := h.studio.Project(ctx, "Bench")
	return h, p, err
}

// publish publishes one file and returns how long it took until it was synced.
func (h *house) publish(ctx context.Context, p *studio.Project, asset string, version int) (time.Duration, error) {
	rep, err := p.Publish(ctx, studio.Publish{Asset: asset, Subset: "modelMain", Version: version, Name: "ma", Size: size})
	if err != nil {
		return 0, err
	}
	at, err := h.studio.WaitSynced(ctx, rep)
	return at.Sub(rep.Acknowledged), err
}

// pending counts what is not synced yet of what the filter finds.
func (h *house) pending(ctx context.Context, filter bson.D) (int, error) {
	n, err := h.db.Collection("Bench").CountDocuments(ctx, append(filter, bson.E{Key: "files.sites", Value: bson.D{
		{Key: "$elemMatch", Value: bson.D{{Key: "name", Value: stage.RemoteSite}, {Key: "created_dt", Value: nil}}}}}))
	return int(n), err
}

// pileUp leaves a backlog to sitesync, then starts it and waits until it is at work.
func (h *house) pileUp(ctx context.Context, p *studio.Project) error {
	// More than can be uploaded meanwhile have files.
	files := min(h.Backlog, 250*h.Fresh)
	single := studio.Publish{Name: "ma"}
	record := single
	record.RecordOnly = true
	if err := h.insert(ctx, p, numbered{single, 0, files}, numbered{record, files, h.Backlog - files}); err != nil {
		return err
	}
	if err := h.start(ctx); err != nil {
		return err
	}
	return h.until(ctx, "the backlog is uploaded", func() (bool, error) {
		return h.stage.Drive.Calls()["files.create.multipart"] > 8, nil // start has reset them
	})
}

// giants publishes large caches and waits until all are on their way.
func (h *house) giants(ctx context.Context, p *studio.Project) error {
	h.stage.Drive.UpdateSettings(func(v *drive.Settings) { v.UploadBandwidth = giantSpeed })
	if err := h.start(ctx); err != nil {
		return err
	}
	for i := range giants {
		if _, err := p.Publish(ctx, studio.Publish{Asset: "Giant", Subset: "cacheMain", Version: i + 1, Name: "abc", Size: giantSize,
			Sparse: true, NoTmp: true}); err != nil {
			return err
		}
	}
	return h.until(ctx, "the caches are on their way", func() (bool, error) {
		return h.stage.Drive.Calls()["upload.put"] == giants, nil
	})
}

// besideASequence measures single files that are published together, alone and with a long sequence before them.
func (b *bench) besideASequence(ctx context.Context) (row, error) {
	r := row{What: fmt.Sprintf("last of %d files published with %d frames", singles, b.Frames), Unit: "ms",
		Peer: fmt.Sprintf("without the frames, and %d ms", mayLast.Milliseconds()), Bar: &bar{Of: ofRatio, Limit: 1}}
	h, p, err := b.openHouse(ctx)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	if err := h.start(ctx); err != nil {
		return r, err
	}
	if _, err := h.publish(ctx, p, "First", 1); err != nil { // so that folders and ids are known
		return r, err
	}
	sequence := studio.Publish{Asset: "Sequence", Subset: "renderMain", Name: "exr", Frames: b.Frames, Size: size, NoTmp: true}
	// last publishes the single files together, after the others, and returns how long all of them take.
	last := func(asset string, others ...studio.Publish) (float64, error) {
		pubs := others
		for i := range singles {
			pubs = append(pubs, studio.Publish{Asset: asset, Subset: "modelMain", Version: i + 1, Name: "ma", Size: size, NoTmp: true})
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
		r.Ours, r.Theirs = append(r.Ours, beside), append(r.Theirs, alone+milliseconds(mayLast))
	}
	return r, nil
}
