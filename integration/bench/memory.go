package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitesync/integration/daemon"
	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

// pilesLatency is what Drive takes for each request while memory is measured, so that the backlog lasts.
const pilesLatency = 20 * time.Millisecond

// sequenceOf is how many frames the sequences of a pile have, and aChunk how many files one of them and its single files
// are: four of five files are single.
const (
	sequenceOf = 100
	aChunk     = 5 * sequenceOf
)

// memory measures what sitesync has in memory while it works on backlogs of several sizes. Each is measured once: what
// else the machine does makes no difference.
func (b *bench) memory(ctx context.Context) ([]row, error) {
	b.latency(pilesLatency)
	defer b.latency(0)
	var steady, peak []float64
	for i := range len(b.Pending) + 1 {
		files, missing := b.Pending[min(i, len(b.Pending)-1)], i == len(b.Pending)
		progress("memory with %d pending files, missing %t ...", files, missing)
		s, p, err := b.memoryOf(ctx, files, missing)
		if errors.Is(err, daemon.ErrNoUsage) {
			return []row{{What: "memory", Missing: err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		steady, peak = append(steady, s), append(peak, p)
	}
	var rows []row
	for i := range peak {
		what := fmt.Sprintf("memory at the most, %d pending files", b.Pending[min(i, len(b.Pending)-1)])
		if i == len(b.Pending) {
			what += " that are not there"
		}
		rows = append(rows, row{What: what, Unit: "MiB", Peer: "the bar", Ours: peak[i : i+1], Theirs: []float64{64},
			Bar: &bar{Of: ofRatio, Limit: 1}})
	}
	for i, files := range b.Pending[1:] {
		rows = append(rows, row{What: fmt.Sprintf("memory in the long run, %d pending files", files), Unit: "MiB",
			Peer: fmt.Sprintf("%d files", b.Pending[0]), Ours: steady[i+1 : i+2], Theirs: steady[:1], Bar: &bar{Of: ofRatio, Limit: 1.2}})
	}
	return rows, nil
}

// memoryOf returns the median of the second half and the peak of the memory that sitesync takes, MiB, while it works on so
// many files in ten projects. They may be missing.
func (b *bench) memoryOf(ctx context.Context, files int, missing bool) (steady, peak float64, err error) {
	h, err := b.newHouse(time.Second)
	if err != nil {
		return 0, 0, err
	}
	defer h.close(ctx)
	const projects = 10
	chunks := max(files/projects/aChunk, 1)
	// As many chunks have files as can be uploaded meanwhile: of each file, its folder and all else that it takes.
	exist := int(float64(8)/pilesLatency.Seconds()*b.Steady.Seconds())/projects/aChunk + 1
	for i := range projects {
		p, err := h.studio.Project(ctx, fmt.Sprintf("Memory%d%t", i, missing))
		if err != nil {
			return 0, 0, err
		}
		var parts []numbered
		for chunk := range chunks {
			record := missing || chunk >= exist
			parts = append(parts,
				numbered{studio.Publish{Name: "ma", RecordOnly: record}, chunk * aChunk, aChunk - sequenceOf},
				numbered{studio.Publish{Name: "exr", Frames: sequenceOf, RecordOnly: record}, chunk * aChunk, 1})
		}
		if err := h.insert(ctx, p, parts...); err != nil {
			return 0, 0, err
		}
	}
	if err := h.start(ctx); err != nil {
		return 0, 0, err
	}
	var samples []float64
	for end := time.Now().Add(b.Steady); time.Now().Before(end); {
		if err := stage.Pause(ctx, 200*time.Millisecond); err != nil {
			return 0, 0, err
		}
		u, err := h.daemon.Usage()
		if err != nil {
			return 0, 0, err
		}
		samples = append(samples, float64(u.Resident)/(1<<20))
		peak = float64(u.Peak) / (1 << 20)
	}
	uploaded := h.stage.Drive.Calls()["files.create.multipart"]
	if !missing && uploaded == 0 || uploaded >= files {
		return 0, 0, fmt.Errorf("%d of %d files were uploaded meanwhile, which is no backlog", uploaded, files)
	}
	return median(samples[len(samples)/2:]), peak, nil
}
