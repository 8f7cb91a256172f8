package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// both measures uploads and downloads at once, by one sitesync, against each alone. They share one budget of transfers,
// so at best all takes as long as the one after the other.
func (b *bench) both(ctx context.Context) (rows []row, err error) {
	const transfers = 8
	d, err := b.newDownloads()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	d.limit(func(v *drive.Settings) { v.Latency = limitedLatency })
	down, err := d.offer(ctx, oneFolder("Down", b.Files))
	if err != nil {
		return nil, err
	}
	up := oneFolder("Up", b.Files)
	if _, err := b.publish(ctx, slices.Clone(up)); err != nil {
		return nil, err
	}
	r := row{What: fmt.Sprintf("%d small files up and %d down at once, %d ms, %d transfers", len(up), len(down.files),
		limitedLatency.Milliseconds(), transfers), Unit: "files/s", Peer: "one after the other",
		Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 0.9}}
	progress("%s ...", r.What)
	for range b.Rounds {
		var took [3]time.Duration
		for i, wanted := range [][]studio.Publish{up, down.publishes, slices.Concat(up, down.publishes)} {
			if took[i], err = d.sync(ctx, down, wanted, transfers); err != nil {
				return nil, err
			}
		}
		n := float64(len(up) + len(down.files))
		r.Ours = append(r.Ours, n/took[2].Seconds())
		r.Theirs = append(r.Theirs, n/(took[0]+took[1]).Seconds())
	}
	return []row{r}, nil
}

// sync has a sitesync, whose storage has what was published here, sync all that is wanted: uploads into a new folder,
// and downloads of what it does not have yet.
func (d *downloads) sync(ctx context.Context, down offer, wanted []studio.Publish, transfers int) (took time.Duration,
	err error) {
	defer func() {
		for name := range down.files { // the next run downloads them again
			err = cmp.Or(err, ignoreMissing(os.Remove(filepath.Join(d.storage, filepath.FromSlash(name)))))
		}
	}()
	d.runs++
	root := fmt.Sprintf("root-%d", d.runs)
	d.drive.Mkdir(d.show, root)
	m, drop, err := d.newDaemon(ctx, root, d.storage, sitesyncArgs(transfers)...)
	defer drop()
	if err != nil {
		return 0, err
	}
	wanted = slices.Clone(wanted)
	for i := range wanted {
		wanted[i].RecordOnly = true // the files exist, here or on Drive
	}
	if _, err := m.project.PublishAll(ctx, wanted...); err != nil {
		return 0, err
	}
	d.drive.ResetCalls()
	end, _, err := m.sync(ctx, len(wanted))
	first, _ := d.seen()
	return end.Sub(first), err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
