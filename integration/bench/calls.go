package main

import (
	"context"
	"fmt"

	"sitesync/integration/studio"
)

// callFolders is the number of folders of the files whose calls are counted.
const callFolders = 20

// versions are publishes in callFolders folders, their files' names beginning with the prefix.
func versions(prefix string, n int, size int64) (publishes []studio.Publish) {
	for i := range n {
		publishes = append(publishes, studio.Publish{Asset: "Calls", Subset: "modelMain", Version: i%callFolders + 1,
			Name: fmt.Sprintf("%s%04d", prefix, i/callFolders), Size: size})
	}
	return publishes
}

// calls counts the requests of all kinds that Drive gets for a file, by a process that has just started. The numbers do
// not vary, so one round is enough.
func (b *bench) calls(ctx context.Context) (rows []row, err error) {
	tools := []tool{b.sitesync, b.rclone}
	roots := []string{b.newRoot(), b.newRoot()}
	few := fmt.Sprintf("%d files, %d ", b.Calls, callFolders)
	for _, m := range []struct {
		what      string
		publishes []studio.Publish
		limit     float64
	}{
		{few + "new folders", versions("a", b.Calls, size), 1.05},
		{few + "existing folders", versions("b", b.Calls, size), 1.1},
		{few + "overwritten with another size", versions("b", b.Calls, size+1), 1.1},
		{few + "overwritten with the same size", reseeded(versions("b", b.Calls, size+1)), 1.1},
		{fmt.Sprintf("%d files in one new folder", b.SameFolder), sameFolder("a", b.SameFolder), 1.05},
		{fmt.Sprintf("%d files more in it", b.SameFolder), sameFolder("b", b.SameFolder), 1.05},
	} {
		r := row{What: "calls a file, " + m.what, Unit: "calls",
			Peer: b.rclone.name, Missing: b.rclone.missing, Pictured: true, Bar: &bar{Of: ofOurs, Limit: m.limit}}
		progress("%s ...", r.What)
		batch, err := b.publish(ctx, m.publishes)
		if err != nil {
			return nil, err
		}
		for i, t := range tools {
			if t.missing != "" {
				continue
			}
			o, err := t.upload(ctx, job{batch, roots[i], 8})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			calls := figures([]outcome{o}, callsPerFile)
			if i == 0 {
				r.Ours = calls
			} else {
				r.Theirs = calls
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// maxFrames bounds the sequences that fill one folder.
const maxFrames = 1000

// sameFolder are publishes of so many files into one folder, their names beginning with the prefix.
func sameFolder(prefix string, n int) (publishes []studio.Publish) {
	for ; n > 0; n -= maxFrames {
		publishes = append(publishes, studio.Publish{Asset: "SameFolder", Subset: "renderMain",
			Name: fmt.Sprintf("%s%d", prefix, n), Frames: min(n, maxFrames), Size: 1})
	}
	return publishes
}

// reseeded are the same publishes with other content.
func reseeded(publishes []studio.Publish) []studio.Publish {
	for i := range publishes {
		publishes[i].Seed = 1
	}
	return publishes
}

func callsPerFile(o outcome) float64 { return float64(o.calls) / float64(o.files) }
