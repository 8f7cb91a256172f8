package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// failingLatency is Drive's latency while one file fails.
const failingLatency = 80 * time.Millisecond

// failing measures small files beside one that Drive, or a proxy, always refuses, in turn with the same files alone.
func (b *bench) failing(ctx context.Context) (rows []row, err error) {
	b.latency(failingLatency)
	defer b.latency(0)
	good, err := b.publish(ctx, oneFolder("Failing", b.Files))
	if err != nil {
		return nil, err
	}
	bad, err := b.publish(ctx, []studio.Publish{{Asset: "Failing", Subset: "modelMain", Name: "bad", Size: size}})
	if err != nil {
		return nil, err
	}
	beside := batch{publishes: append(slices.Clone(bad.publishes), good.publishes...), files: good.files, failing: 1}
	for _, m := range []struct {
		what  string
		fault drive.Fault
	}{
		{"refused by 403 HTML", drive.Fault{Effect: drive.EffectHTML, Status: 403}},
		{"answered 500 for ever", drive.Fault{Effect: drive.EffectStatus, Status: 500}},
	} {
		r := row{What: fmt.Sprintf("%d small files beside one %s", len(good.files), m.what), Unit: "s",
			Peer: "without it", Bar: &bar{Of: ofRatio, Limit: 1.1}}
		m.fault.Kind, m.fault.Name = "*", "*.bad"
		for round := range b.Rounds {
			progress("%s, round %d of %d ...", r.What, round+1, b.Rounds)
			for i := range 2 {
				j := job{batch: good, root: b.newRoot(), transfers: 8}
				into := &r.Theirs
				if (round+i)%2 == 1 {
					j.batch, into = beside, &r.Ours
				}
				fault := b.env.Drive.AddFault(m.fault)
				o, err := b.runSitesync(ctx, j)
				fault.Remove()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", r.What, err)
				}
				if j.batch.failing > 0 && fault.Hits() == 0 {
					return nil, fmt.Errorf("%s: the fault has hit no request", r.What)
				}
				*into = append(*into, o.seconds)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// finishing measures how often the content of a large file is sent while Drive finishes it.
func (b *bench) finishing(ctx context.Context) (rows []row, err error) {
	const mebibytes = 12
	batch, err := b.publish(ctx,
		[]studio.Publish{{Asset: "Finishing", Subset: "cacheMain", Name: "abc", Size: mebibytes << 20}})
	if err != nil {
		return nil, err
	}
	defer b.env.Drive.UpdateSettings(func(v *drive.Settings) { v.Finishing = drive.Finishing{} })
	for _, m := range []struct {
		what    string
		answers drive.Answers
	}{
		{"silent", drive.AnswerNone},
		{"answering when asked", drive.AnswerStatus},
		{"answering 308", drive.AnswerAll},
	} {
		r := row{What: fmt.Sprintf("bytes sent of a file of %d MiB, finished for %s, %s", mebibytes, b.Finishing,
			m.what), Unit: "MiB", Peer: "its size", Bar: &bar{Of: ofRatio, Limit: 1}}
		progress("%s ...", r.What)
		b.env.Drive.UpdateSettings(func(v *drive.Settings) {
			v.Finishing = drive.Finishing{Time: b.Finishing, Answers: m.answers}
		})
		if _, err := b.runSitesync(ctx, job{batch: batch, root: b.newRoot(), transfers: 8}); err != nil {
			return nil, err
		}
		var sent int64
		for _, e := range b.env.Drive.Log() {
			if e.Kind == "upload.put" {
				sent += e.Received
			}
		}
		r.Ours, r.Theirs = []float64{float64(sent) / (1 << 20)}, []float64{mebibytes}
		rows = append(rows, r)
	}
	return rows, nil
}
