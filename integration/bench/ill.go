package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// illLatency is what Drive takes for each request while one file is ill.
const illLatency = 80 * time.Millisecond

// ill measures small files beside one that Drive, or something on the way to it, refuses for ever, in turn with the same
// files alone.
func (b *bench) ill(ctx context.Context) (rows []row, err error) {
	b.latency(illLatency)
	defer b.latency(0)
	well, err := b.publish(ctx, oneFolder("Ill", b.Files))
	if err != nil {
		return nil, err
	}
	one, err := b.publish(ctx, []studio.Publish{{Asset: "Ill", Subset: "modelMain", Name: "ill", Size: size}})
	if err != nil {
		return nil, err
	}
	beside := batch{publishes: append(slices.Clone(one.publishes), well.publishes...), files: well.files, ill: 1}
	for _, m := range []struct {
		what  string
		fault drive.Fault
	}{
		{"refused by 403 HTML", drive.Fault{Effect: drive.EffectHTML, Status: 403}},
		{"answered 500 for ever", drive.Fault{Effect: drive.EffectStatus, Status: 500}},
	} {
		r := row{What: fmt.Sprintf("%d small files beside one %s", len(well.files), m.what), Unit: "s", Peer: "without it",
			Bar: &bar{Of: ofRatio, Limit: 1.1}}
		m.fault.Kind, m.fault.Name = "*", "*.ill"
		for round := range b.Rounds {
			progress("%s, round %d of %d ...", r.What, round+1, b.Rounds)
			for i := range 2 {
				j := job{batch: well, root: b.newRoot(), transfers: 8}
				into := &r.Theirs
				if (round+i)%2 == 1 {
					j.batch, into = beside, &r.Ours
				}
				fault := b.stage.Drive.AddFault(m.fault)
				o, err := b.runSitesync(ctx, j)
				fault.Remove()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", r.What, err)
				}
				if j.batch.ill > 0 && fault.Hits() == 0 {
					return nil, fmt.Errorf("%s: the fault has hit nothing", r.What)
				}
				*into = append(*into, o.seconds)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// finishing measures how often the content of a large file is sent that Drive takes its time to finish.
func (b *bench) finishing(ctx context.Context) (rows []row, err error) {
	const mebibytes = 12
	batch, err := b.publish(ctx, []studio.Publish{{Asset: "Finishing", Subset: "cacheMain", Name: "abc", Size: mebibytes << 20}})
	if err != nil {
		return nil, err
	}
	defer b.stage.Drive.UpdateSettings(func(v *drive.Settings) { v.Finishing = drive.Finishing{} })
	for _, m := range []struct {
		what    string
		answers drive.Answers
	}{
		{"silent", drive.AnswerNone},
		{"answering when asked", drive.AnswerStatus},
		{"answering 308", drive.AnswerAll},
	} {
		r := row{What: fmt.Sprintf("bytes sent of a file of %d MiB, finished for %s, %s", mebibytes, b.Finishing, m.what), Unit: "MiB",
			Peer: "its size", Bar: &bar{Of: ofRatio, Limit: 1}}
		progress("%s ...", r.What)
		b.stage.Drive.UpdateSettings(func(v *drive.Settings) {
			v.Finishing = drive.Finishing{Time: b.Finishing, Answers: m.answers}
		})
		if _, err := b.runSitesync(ctx, job{batch: batch, root: b.newRoot(), transfers: 8}); err != nil {
			return nil, err
		}
		var sent int64
		for _, e := range b.stage.Drive.Log() {
			if e.Kind == "upload.put" {
				sent += e.Received
			}
		}
		r.Ours, r.Theirs = []float64{float64(sent) / (1 << 20)}, []float64{mebibytes}
		rows = append(rows, r)
	}
	return rows, nil
}
