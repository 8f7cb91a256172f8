package main

import (
	"context"
	"fmt"

	"sitesync/integration/studio"
)

// cpu measures the CPU time of the uploading process for a small file, without that of its start and stop, which is
// measured with nothing to upload.
func (b *bench) cpu(ctx context.Context) (rows []row, err error) {
	frames := min(b.CPU, 1000)
	var sequences []studio.Publish
	for i := range b.CPU / frames {
		sequences = append(sequences, studio.Publish{Asset: "CPU", Family: "render", Subset: "renderMain",
			Version: i + 1, Name: "exr", Frames: frames, Size: size})
	}
	for _, layout := range []struct {
		name      string
		publishes []studio.Publish
	}{
		{"each a representation", oneFolder("CPU", b.CPU)},
		{fmt.Sprintf("sequences of %d", frames), sequences},
	} {
		files, err := b.publish(ctx, layout.publishes)
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("CPU a small file, %d files, %s, 8 transfers", len(files.files), layout.name)
		progress("%s ...", what)
		outcomes, err := b.alternate(ctx, []tool{b.sitesync, b.rclone},
			func(ctx context.Context, t tool) (outcome, error) {
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
		rows = append(rows, row{What: what, Unit: "ms", Peer: b.rclone.name, Missing: b.rclone.missing, Pictured: true,
			Ours: figures(outcomes[0], cpuPerFile), Theirs: figures(outcomes[1], cpuPerFile),
			Bar: &bar{Of: ofRatio, Limit: 0.5}})
	}
	return rows, nil
}

// cpuPerFile is in milliseconds.
func cpuPerFile(o outcome) float64 { return o.cpu.Seconds() * 1000 / float64(o.files) }
