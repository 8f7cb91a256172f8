package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

const (
	// publishTimeout is longer than the primary hangs.
	publishTimeout = 30 * time.Second

	// maxArtists is how many publish at once.
	maxArtists = 64
)

// publishAll makes each publish at its time, but not before the corresponding share of the kills: there should always
// be something to interrupt.
func (c *chaos) publishAll(ctx context.Context) error {
	open := map[bool]map[string]*studio.Project{false: {}, true: {}} // by home and name
	for home, of := range open {
		for _, name := range projects {
			if err := c.retry(ctx, "open project "+name, func(ctx context.Context) (err error) {
				of[name], err = c.machine(home).Studio.Project(ctx, name)
				return err
			}); err != nil {
				return err
			}
		}
	}
	done := make([]chan struct{}, len(c.scenario.publishes))
	made := make([][]*studio.Representation, len(done))
	for i := range done {
		done[i] = make(chan struct{})
	}
	all := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxArtists)
	for i, spec := range c.scenario.publishes {
		err := testenv.Sleep(ctx, time.Until(c.start.Add(spec.at)))
		for kills := len(c.scenario.kills) * i / len(c.scenario.publishes); err == nil && c.killed() < kills; {
			err = testenv.Sleep(ctx, 10*time.Millisecond)
		}
		if err != nil {
			break // g.Wait returns the error if a publish failed
		}
		g.Go(func() error {
			defer close(done[i])
			if spec.after >= 0 {
				select {
				case <-done[spec.after]:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			publishes := slices.Clone(spec.publishes)
			for i := range publishes {
				publishes[i].OtherSites = []string{c.machine(!spec.home).Site}
			}
			if spec.shared >= 0 {
				publishes[0].Shared = made[spec.shared][0].Files[1:]
			}
			if err := c.retry(ctx, fmt.Sprintf("publish %d", i), func(ctx context.Context) (err error) {
				made[i], err = open[spec.home][spec.project].PublishAll(ctx, publishes...)
				return err
			}); err != nil {
				return err
			}
			c.recordPublished(i, spec, made[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(all)
}

// retry calls do, which needs the database, until it succeeds, as artists do.
func (c *chaos) retry(ctx context.Context, what string, do func(context.Context) error) error {
	for n := 0; ; n++ {
		limited, cancel := context.WithTimeout(ctx, publishTimeout)
		err := do(limited)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n == 20:
			return fmt.Errorf("%s: %w", what, err)
		}
		c.journal.record("%s, retrying: %v", what, err)
		c.mu.Lock()
		c.repeated++
		c.mu.Unlock()
		if err := testenv.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// recordPublished takes note of the representations that a publish has made.
func (c *chaos) recordPublished(i int, spec publishSpec, reps []*studio.Representation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published += spec.files
	if spec.again {
		c.again++
	}
	from, to := c.machine(spec.home), c.machine(!spec.home)
	for _, rep := range reps {
		c.reps[rep.ID] = published{rep, from.Site, to.Site, to.Root}
		c.journal.record("publish %d: %s, from %s, %d file(s), again: %t", i, rep, from.Site, len(rep.Files),
			spec.again)
	}
}
