package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// sequence is the cost of syncing one sequence.
type sequence struct {
	seconds float64
	bytes   float64 // between sitesync and MongoDB, both ways
	updates float64 // of its document
}

// sequences measures the cost of a frame in sequences of several lengths in turn, against the shortest. Each update
// rewrites the whole document on the server, so the cost grows faster than the sequence if the number of updates, or
// their size, does.
func (b *bench) sequences(ctx context.Context) (rows []row, err error) {
	h, p, err := b.newIsolatedProject(ctx)
	if err != nil {
		return nil, err
	}
	defer h.close(ctx)
	if err := h.db.CreateCollection(ctx, "system.profile", options.CreateCollection().SetCapped(true).
		SetSizeInBytes(256<<20)); err != nil {
		return nil, err
	}
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	if _, err := h.publish(ctx, p, "First", 1); err != nil { // so that folders and ids are cached
		return nil, err
	}
	took := make([][]sequence, len(b.Sequences)) // by round, the mean of those of one length
	version := 0
	for round := range b.Rounds {
		for i, frames := range b.Sequences {
			// About as many frames of each length, so that other load on the machine weighs the same.
			n := max(slices.Max(b.Sequences)/frames, 1)
			progress("%d sequence(s) of %d frames, round %d of %d ...", n, frames, round+1, b.Rounds)
			var mean sequence
			for range n {
				version++
				s, err := h.sequence(ctx, p, version, frames)
				if err != nil {
					return nil, err
				}
				mean.seconds += s.seconds / float64(n)
				mean.bytes += s.bytes / float64(n)
				mean.updates += s.updates / float64(n)
			}
			took[i] = append(took[i], mean)
		}
	}
	shortest := b.Sequences[0]
	for _, m := range []struct {
		what, unit string
		of         func(sequence, int) float64
		limit      float64
	}{
		{"time a frame", "ms", func(s sequence, frames int) float64 { return s.seconds * 1000 / float64(frames) },
			1.25},
		{"to and from MongoDB a frame", "KiB",
			func(s sequence, frames int) float64 { return s.bytes / 1024 / float64(frames) }, 1.25},
		{"updates of the document", "", func(s sequence, _ int) float64 { return s.updates }, 0},
	} {
		figures := func(i int) (out []float64) {
			for _, s := range took[i] {
				out = append(out, m.of(s, b.Sequences[i]))
			}
			return out
		}
		for i, frames := range b.Sequences[1:] {
			r := row{What: fmt.Sprintf("%s, sequence of %d", m.what, frames), Unit: m.unit,
				Peer: fmt.Sprintf("of %d", shortest), Ours: figures(i + 1), Theirs: figures(0)}
			if m.limit > 0 {
				r.Bar = &bar{Of: ofRatio, Limit: m.limit}
			} else {
				r.Bar = &bar{Of: ofOurs, Limit: 60}
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// sequence publishes a sequence and waits until it is synced.
func (e *isolatedEnv) sequence(ctx context.Context, p *studio.Project, version, frames int) (s sequence, err error) {
	before := len(e.daemon.Lines(process.Message("synced")))
	if err := e.profile(ctx, 2); err != nil {
		return s, err
	}
	rep, err := p.Publish(ctx, studio.Publish{Asset: "Sequence", Subset: "renderMain", Version: version, Name: "exr",
		Frames: frames, Size: size, NoTmp: true})
	if err != nil {
		return s, err
	}
	start, err := e.traffic(ctx)
	if err != nil {
		return s, err
	}
	// MongoDB must not be queried meanwhile, as that would count.
	seen := 0
	if _, err = e.daemon.Wait(ctx, func(l process.Line) bool {
		if l.Message == "synced" {
			seen++
		}
		return seen == before+frames
	}); err != nil {
		return s, err
	}
	s.seconds = time.Since(rep.Acknowledged).Seconds()
	end, err := e.traffic(ctx)
	if err != nil {
		return s, err
	}
	s.bytes = float64(end - start)
	if err := e.profile(ctx, 0); err != nil {
		return s, err
	}
	updates, err := e.db.Collection("system.profile").CountDocuments(ctx, bson.D{{Key: "appName", Value: "sitesync"},
		{Key: "op", Value: "update"}, {Key: "ts", Value: bson.D{{Key: "$gte", Value: rep.Acknowledged}}}})
	s.updates = float64(updates)
	return s, err
}

// profile sets the level of MongoDB's profiler.
func (e *isolatedEnv) profile(ctx context.Context, level int) error {
	return e.db.RunCommand(ctx, bson.D{{Key: "profile", Value: level}}).Err()
}

// traffic is how many bytes MongoDB has sent and received so far.
func (e *isolatedEnv) traffic(ctx context.Context) (int64, error) {
	var status struct {
		Network struct {
			BytesIn  int64 `bson:"bytesIn"`
			BytesOut int64 `bson:"bytesOut"`
		}
	}
	err := e.db.RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status)
	return status.Network.BytesIn + status.Network.BytesOut, err
}
