package main

import (
	"context"
	"fmt"
)

// cpu measures the processor time that a small file takes of the uploading process, without what the process takes for
// starting and stopping: that is measured with nothing to upload.
func (b *bench) cpu(ctx context.Context) ([]row, error) {
	what := fmt.Sprintf("CPU a small file, %d files, one folder, 8 transfers", b.Calls)
	progress("%s ...", what)
	files, err := b.publish(ctx, oneFolder("CPU", b.Calls))
	if err != nil {
		return nil, err
	}
	outcomes, err := b.turns(ctx, []tool{b.sitesync, b.rclone}, func(ctx context.Context, t tool) (outcome, error) {
		idle, err := t.upload(ctx, job{batch{}, b.newRoot(), 8})
		if err != nil {
			return outcome{}, fmt.Errorf("with nothing to do: %w", err)
		}
		o, err := t.upload(ctx, job{files, b.newRoot(), 8})
		o.cpu -= idle.cpu
		return o, err
	})
	if err != nil {
		return nil, err
	}
	return []row{{What: what, Unit: "ms", Peer: b.rclone.name, Missing: b.rclone.missing, Pictured: true,
		Ours: figures(outcomes[0], cpuPerFile), Theirs: figures(outcomes[1], cpuPerFile), Bar: &bar{Of: ofRatio, Limit: 0.5}}}, nil
}

// cpuPerFile is in milliseconds.
func cpuPerFile(o outcome) float64 { return o.cpu.Seconds() * 1000 / float64(o.files) }
