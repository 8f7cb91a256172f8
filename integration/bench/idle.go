package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitesync/integration/process"
	"sitesync/integration/testenv"
)

// idle measures the CPU time of an idle sitesync: polls, lease, change stream. It polls more often than by default,
// which is once a minute.
func (b *bench) idle(ctx context.Context) ([]row, error) {
	r := row{What: fmt.Sprintf("CPU of an idle sitesync, %d projects, a poll each %s", b.Projects, b.Idle),
		Unit: "% of a core", Peer: "one core", Bar: &bar{Of: ofRatio, Limit: 0.01}}
	progress("%s ...", r.What)
	h, err := b.newIsolatedEnv(b.Idle)
	if err != nil {
		return nil, err
	}
	defer h.close(ctx)
	for i := range b.Projects {
		if _, err := h.studio.Project(ctx, fmt.Sprintf("Idle%03d", i)); err != nil {
			return nil, err
		}
	}
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	if err := h.until(ctx, "the projects have their indexes", func() (bool, error) {
		specs, err := h.db.Collection(fmt.Sprintf("Idle%03d", b.Projects-1)).Indexes().ListSpecifications(ctx)
		return len(specs) == 2, err // that of _id too
	}); err != nil {
		return nil, err
	}
	for range b.Rounds {
		start := time.Now()
		before, err := h.daemon.Usage()
		if errors.Is(err, process.ErrNoUsage) {
			return []row{{What: r.What, Missing: err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		if err := testenv.Sleep(ctx, b.Idle); err != nil {
			return nil, err
		}
		after, err := h.daemon.Usage()
		if err != nil {
			return nil, err
		}
		// Linux counts in hundredths of a second.
		took := max(after.CPU-before.CPU, 10*time.Millisecond)
		r.Ours = append(r.Ours, 100*took.Seconds()/time.Since(start).Seconds())
		r.Theirs = append(r.Theirs, 100)
	}
	return []row{r}, nil
}
