package main

import (
	"context"
	"fmt"

	"sitesync/integration/drive"
)

// requestLimit is how many requests a second Drive allows an account, in limited.
const requestLimit = 10

// limited measures what users feel: many small files, while Drive allows only so many requests a second. One round is
// enough, as it takes minutes, and nearly all of that is waiting.
func (b *bench) limited(ctx context.Context) ([]row, error) {
	batch, err := b.publish(ctx, oneFolder("Limited", b.Limited))
	if err != nil {
		return nil, err
	}
	b.env.Drive.UpdateSettings(func(v *drive.Settings) {
		v.AccountRate = drive.Rate{PerSecond: requestLimit, Burst: requestLimit}
	})
	defer b.env.Drive.UpdateSettings(func(v *drive.Settings) { v.AccountRate = drive.Rate{} })
	r := row{What: fmt.Sprintf("%d small files, one folder, %d requests a second allowed, 8 transfers", b.Limited,
		requestLimit), Unit: "files/s", Peer: b.rclone.name, Missing: b.rclone.missing,
		Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1.9}}
	progress("%s ...", r.What)
	for _, t := range []tool{b.sitesync, b.rclone} {
		if t.missing != "" {
			continue
		}
		o, err := t.upload(ctx, job{batch, b.newRoot(), 8})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		if of := figures([]outcome{o}, filesPerSecond); t.name == b.sitesync.name {
			r.Ours = of
		} else {
			r.Theirs = of
		}
	}
	return []row{r}, nil
}
