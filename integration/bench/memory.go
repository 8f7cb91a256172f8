package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// memoryLatency is Drive's latency while memory is measured, so that the backlog lasts.
const memoryLatency = 20 * time.Millisecond

// maxMemory is the bar, MiB.
const maxMemory = 96

// A backlog is made of chunks, each a sequence and single files.
const (
	sequenceFiles = 100
	chunkFiles    = 5 * sequenceFiles
)

// memory measures the resident memory of sitesync while it works on backlogs of several sizes. One round is enough:
// other load on the machine makes no difference.
func (b *bench) memory(ctx context.Context) ([]row, error) {
	b.latency(memoryLatency)
	defer b.latency(0)
	var steady, peak []float64
	for i := range len(b.Pending) + 1 {
		files, missing := b.Pending[min(i, len(b.Pending)-1)], i == len(b.Pending)
		progress("memory with %d pending files, missing %t ...", files, missing)
		s, p, err := b.memoryOf(ctx, files, missing)
		if errors.Is(err, process.ErrNoUsage) {
			return []row{{What: "memory", Missing: err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		steady, peak = append(steady, s), append(peak, p)
	}
	var rows []row
	for i := range peak {
		what := fmt.Sprintf("peak memory, %d pending files", b.Pending[min(i, len(b.Pending)-1)])
		if i == len(b.Pending) {
			what += ", sources missing"
		}
		rows = append(rows, row{What: what, Unit: "MiB", Peer: "the bar", Ours: peak[i : i+1],
			Theirs: []float64{maxMemory}, Bar: &bar{Of: ofRatio, Limit: 1}})
	}
	for i, files := range b.Pending[1:] {
		rows = append(rows, row{What: fmt.Sprintf("steady memory, %d pending files", files), Unit: "MiB",
			Peer: fmt.Sprintf("%d files", b.Pending[0]), Ours: steady[i+1 : i+2], Theirs: steady[:1],
			Bar: &bar{Of: ofRatio, Limit: 1.2}})
	}
	return rows, nil
}

// memoryOf returns the resident memory of sitesync, MiB, while it works on so many files in ten projects: the median of
// the second half of the time, and the peak. missing: the files are not on the storage.
func (b *bench) memoryOf(ctx context.Context, files int, missing bool) (steady, peak float64, err error) {
	h, err := b.newIsolatedEnv(time.Second)
	if err != nil {
		return 0, 0, err
	}
	defer h.close(ctx)
	const projects = 10
	chunks := max(files/projects/chunkFiles, 1)
	// Only as many chunks have files as can be uploaded in the time.
	exist := int(float64(8)/memoryLatency.Seconds()*b.Steady.Seconds())/projects/chunkFiles + 1
	for i := range projects {
		p, err := h.studio.Project(ctx, fmt.Sprintf("Memory%d%t", i, missing))
		if err != nil {
			return 0, 0, err
		}
		var parts []numbered
		for chunk := range chunks {
			record := missing || chunk >= exist
			parts = append(parts,
				numbered{studio.Publish{Name: "ma", RecordOnly: record}, chunk * chunkFiles,
					chunkFiles - sequenceFiles},
				numbered{studio.Publish{Name: "exr", Frames: sequenceFiles, RecordOnly: record}, chunk * chunkFiles, 1})
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
		if err := testenv.Sleep(ctx, 200*time.Millisecond); err != nil {
			return 0, 0, err
		}
		u, err := h.daemon.Usage()
		if err != nil {
			return 0, 0, err
		}
		samples = append(samples, float64(u.Resident)/(1<<20))
		peak = float64(u.Peak) / (1 << 20)
	}
	uploaded := h.env.Drive.Calls()["files.create.multipart"]
	if !missing && uploaded == 0 || uploaded >= files {
		return 0, 0, fmt.Errorf("%d of %d files were uploaded meanwhile, which is no backlog", uploaded, files)
	}
	return median(samples[len(samples)/2:]), peak, nil
}
