package main

import (
	"context"
	"fmt"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// size of the published files, bytes: a Maya scene of the smallest kind.
const size = 4822

// ownFolders are publishes in a folder each, as artists make them.
func ownFolders(asset string, n int) (publishes []studio.Publish) {
	for i := range n {
		publishes = append(publishes, studio.Publish{Asset: asset, Subset: "modelMain", Version: i + 1, Name: "ma",
			Size: size})
	}
	return publishes
}

// oneFolder are publishes of files in one folder.
func oneFolder(asset string, n int) (publishes []studio.Publish) {
	for i := range n {
		publishes = append(publishes, studio.Publish{Asset: asset, Subset: "modelMain", Name: fmt.Sprintf("a%04d", i),
			Size: size})
	}
	return publishes
}

// throughput measures small files a second.
func (b *bench) throughput(ctx context.Context) (rows []row, err error) {
	defer b.latency(0)
	for _, layout := range []struct {
		name      string
		publishes []studio.Publish
	}{
		{"a new folder each", ownFolders("Own", b.Folders)},
		{"one folder", oneFolder("One", b.Files)},
	} {
		batch, err := b.publish(ctx, layout.publishes)
		if err != nil {
			return nil, err
		}
		for _, ms := range b.Latency {
			b.latency(time.Duration(ms) * time.Millisecond)
			for _, transfers := range b.Transfers {
				what := fmt.Sprintf("%d small files, %s, %d ms, %d transfers", len(batch.files), layout.name, ms,
					transfers)
				progress("%s ...", what)
				outcomes, err := b.alternate(ctx, []tool{b.sitesync, b.rclone},
					func(ctx context.Context, t tool) (outcome, error) {
						return t.upload(ctx, job{batch, b.newRoot(), transfers})
					})
				if err != nil {
					return nil, fmt.Errorf("%s: %w", what, err)
				}
				r := row{What: what, Unit: "files/s", Peer: b.rclone.name, Missing: b.rclone.missing,
					Ours: figures(outcomes[0], filesPerSecond), Theirs: figures(outcomes[1], filesPerSecond)}
				if transfers == 8 && ms > 0 {
					r.Bar, r.Pictured = &bar{Of: ofRatio, AtLeast: true, Limit: 1.5}, true
				}
				rows = append(rows, r)
			}
		}
	}
	return rows, nil
}

// latency sets Drive's latency.
func (b *bench) latency(d time.Duration) {
	b.env.Drive.UpdateSettings(func(v *drive.Settings) { v.Latency = d })
}

func filesPerSecond(o outcome) float64 { return float64(o.files) / o.seconds }
