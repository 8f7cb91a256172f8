package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

const (
	// attempt is how long a publish may take; the primary hangs for a shorter time.
	attempt = 30 * time.Second

	// artists is how many publish at once at the most.
	artists = 64
)

// publishAll publishes each act at its time, and none much sooner than its part of the kills is done: there should
// always be something that is interrupted.
func (c *chaos) publishAll(ctx context.Context) error {
	open := map[string]*studio.Project{}
	for _, name := range projects {
		if err := c.insist(ctx, "open project "+name, func(ctx context.Context) (err error) {
			open[name], err = c.stage.Studio.Project(ctx, name)
			return err
		}); err != nil {
			return err
		}
	}
	done := make([]chan struct{}, len(c.script.acts))
	made := make([][]*studio.Representation, len(done))
	for i := range done {
		done[i] = make(chan struct{})
	}
	all := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(artists)
	for i, a := range c.script.acts {
		err := stage.Pause(ctx, time.Until(c.start.Add(a.at)))
		for kills := len(c.script.lives) * i / len(c.script.acts); err == nil && c.killed() < kills; {
			err = stage.Pause(ctx, 10*time.Millisecond)
		}
		if err != nil {
			break // of an artist, if it is not the run's end
		}
		g.Go(func() error {
			defer close(done[i])
			if a.after >= 0 {
				select {
				case <-done[a.after]:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			publishes := a.publishes
			if a.shared >= 0 {
				publishes[0].Shared = made[a.shared][0].Files[1:]
			}
			if err := c.insist(ctx, fmt.Sprintf("publish act %d", i), func(ctx context.Context) (err error) {
				made[i], err = open[a.project].PublishAll(ctx, publishes...)
				return err
			}); err != nil {
				return err
			}
			c.enterPublished(i, a, made[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(all)
}

// insist does what needs the database, and does it again when that fails, as artists do.
func (c *chaos) insist(ctx context.Context, what string, do func(context.Context) error) error {
	for n := 0; ; n++ {
		limited, cancel := context.WithTimeout(ctx, attempt)
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
		c.journal.tell("%s, again: %v", what, err)
		c.mu.Lock()
		c.repeated++
		c.mu.Unlock()
		if err := stage.Pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// enterPublished takes note of what an act has published.
func (c *chaos) enterPublished(i int, a act, reps []*studio.Representation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published += a.files
	if a.again {
		c.again++
	}
	for _, rep := range reps {
		c.reps[rep.ID] = rep
		c.journal.tell("act %d: published %s, %d file(s), again: %t", i, rep, len(rep.Files), a.again)
	}
}
