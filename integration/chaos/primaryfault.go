package main

import (
	"context"
	"fmt"
	"time"

	"sitesync/integration/mongod"
	"sitesync/integration/testenv"
)

// injectPrimaryFaults injects the faults of the scenario one after the other, so that the set always keeps a majority.
func (c *chaos) injectPrimaryFaults(ctx context.Context) error {
	for i, f := range c.scenario.primaryFaults {
		if err := testenv.Sleep(ctx, time.Until(c.start.Add(f.at))); err != nil {
			return err
		}
		primary, err := c.env.Mongo.Primary(ctx)
		if err != nil {
			return err
		}
		c.journal.record("primary fault %d: %s of %s for %s", i+1, f.kind, primary.Host(),
			f.length.Round(time.Millisecond))
		if err := c.injectPrimaryFault(ctx, f, primary); err != nil {
			return fmt.Errorf("%s of the primary %s: %w", f.kind, primary.Host(), err)
		}
		c.mu.Lock()
		c.primaryFaults[f.kind]++
		c.mu.Unlock()
	}
	return nil
}

// injectPrimaryFault returns when the member is back.
func (c *chaos) injectPrimaryFault(ctx context.Context, f primaryFault, primary *mongod.Member) error {
	switch f.kind {
	case steppedDown:
		return c.env.Mongo.StepDown(ctx)
	case hung:
		if err := primary.Pause(); err != nil {
			return err
		}
		if err := testenv.Sleep(ctx, f.length); err != nil {
			return err
		}
		return primary.Resume()
	}
	if err := primary.Kill(); err != nil {
		return err
	}
	if err := testenv.Sleep(ctx, f.length); err != nil {
		return err
	}
	return primary.Restart(ctx)
}
