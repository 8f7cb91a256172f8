package main

import (
	"context"
	"fmt"
	"time"

	"sitesync/integration/mongod"
	"sitesync/integration/stage"
)

// strikeAll does to the primary what the script says, one after the other: the set always keeps a majority.
func (c *chaos) strikeAll(ctx context.Context) error {
	for i, k := range c.script.strikes {
		if err := stage.Pause(ctx, time.Until(c.start.Add(k.at))); err != nil {
			return err
		}
		primary, err := c.stage.Mongo.Primary(ctx)
		if err != nil {
			return err
		}
		c.journal.tell("strike %d: %s of the primary %s for %s", i+1, k.kind, primary.Host(), k.length.Round(time.Millisecond))
		if err := c.strike(ctx, k, primary); err != nil {
			return fmt.Errorf("%s of the primary %s: %w", k.kind, primary.Host(), err)
		}
		c.mu.Lock()
		c.strikes[k.kind]++
		c.mu.Unlock()
	}
	return nil
}

// strike returns when the member is back.
func (c *chaos) strike(ctx context.Context, k strike, primary *mongod.Member) error {
	switch k.kind {
	case steppedDown:
		return c.stage.Mongo.StepDown(ctx)
	case hung:
		if err := primary.Pause(); err != nil {
			return err
		}
		if err := stage.Pause(ctx, k.length); err != nil {
			return err
		}
		return primary.Resume()
	}
	if err := primary.Kill(); err != nil {
		return err
	}
	if err := stage.Pause(ctx, k.length); err != nil {
		return err
	}
	return primary.Restart(ctx)
}
