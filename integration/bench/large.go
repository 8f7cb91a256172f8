package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// limitedLatency is Drive's latency at the end of a limited line.
const limitedLatency = 50 * time.Millisecond

// large measures one large file, as fast as the machine can, and over a limited line with latency.
func (b *bench) large(ctx context.Context) ([]row, error) {
	rows, err := b.largeFile(ctx, b.Large, fmt.Sprintf("one file of %d MiB", b.Large))
	if err != nil {
		return nil, err
	}
	limit := func(latency time.Duration, bandwidth int64) {
		b.env.Drive.UpdateSettings(func(v *drive.Settings) { v.Latency, v.UploadBandwidth = latency, bandwidth })
	}
	limit(limitedLatency, b.Line<<20)
	defer limit(0, 0)
	limited, err := b.largeFile(ctx, b.LineFile, fmt.Sprintf("one file of %d MiB, %d ms, line of %d MiB/s", b.LineFile,
		limitedLatency.Milliseconds(), b.Line))
	return append(rows, limited...), err
}

// largeFile measures one file of so many MiB. It is sparse and in the page cache, so that no disk is measured.
func (b *bench) largeFile(ctx context.Context, mebibytes int64, what string) ([]row, error) {
	progress("%s ...", what)
	b.runs++
	batch, err := b.publish(ctx, []studio.Publish{{Asset: "Large", Subset: "cacheMain", Version: b.runs, Name: "abc",
		Size: mebibytes << 20, Sparse: true}})
	if err != nil {
		return nil, err
	}
	if err := readAll(filepath.Join(b.storage, filepath.FromSlash(batch.files[0]))); err != nil {
		return nil, err
	}
	tools := []tool{b.sitesync, b.rclone, b.curl}
	outcomes, err := b.alternate(ctx, tools, func(ctx context.Context, t tool) (outcome, error) {
		return t.upload(ctx, job{batch, b.newRoot(), 8})
	})
	if err != nil {
		return nil, err
	}
	var rows []row
	for i, peer := range tools[1:] {
		rows = append(rows, row{What: what, Unit: "MiB/s", Peer: peer.name, Missing: peer.missing, Pictured: true,
			Ours: figures(outcomes[0], mebibytesPerSecond), Theirs: figures(outcomes[1+i], mebibytesPerSecond)})
	}
	rows[1].Bar = &bar{Of: ofRatio, AtLeast: true, Limit: 0.9}
	return rows, nil
}

// readAll reads a file into the page cache.
func readAll(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

func mebibytesPerSecond(o outcome) float64 { return float64(o.bytes) / (1 << 20) / o.seconds }
