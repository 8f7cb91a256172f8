package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sitesync/integration/process"
	"sitesync/integration/testenv"
)

// killAll kills sitesync and restarts it, once for each killPlan. The last process keeps running.
func (c *chaos) killAll(ctx context.Context) error {
	for i, k := range c.scenario.kills {
		d := c.env.Daemon
		if k.point == duringCreate {
			if err := c.awaitCreate(ctx); err != nil {
				return err
			}
		}
		limited, cancel := context.WithTimeout(ctx, k.after)
		status, err := d.Exit(limited)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			c.addProblem("sitesync ended by itself with status %d:\n%s", status, d.Tail(10))
		} else {
			d.Kill()
			c.journal.record("kill %d: sitesync, %s, after %s", i+1, k.point, k.after.Round(time.Millisecond))
		}
		c.checkLog(d)
		c.mu.Lock()
		c.kills[k.point]++
		c.mu.Unlock()
		if err := c.env.Restart(); err != nil {
			return err
		}
	}
	return nil
}

// awaitCreate waits until a create reaches Drive, for maxCreateWait at most: there may be nothing to create.
func (c *chaos) awaitCreate(ctx context.Context) error {
	count := func() (n int) {
		for kind, calls := range c.env.Drive.Calls() {
			if strings.HasPrefix(kind, "files.create") || kind == "upload.put" {
				n += calls
			}
		}
		return n
	}
	before := count()
	for since := time.Now(); count() == before && time.Since(since) < maxCreateWait; {
		if err := testenv.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// checkLog reads the log of a sitesync that has ended: it counts the tries, and reports races and panics.
func (c *chaos) checkLog(d *process.Process) {
	tries := len(d.Lines(func(l process.Line) bool { return strings.HasPrefix(l.Message, "upload failed") }))
	for _, l := range d.Lines(func(l process.Line) bool {
		return l.Fields == nil && (strings.Contains(l.Message, "DATA RACE") || strings.HasPrefix(l.Message, "panic:") ||
			strings.HasPrefix(l.Message, "fatal error:"))
	}) {
		c.addProblem("sitesync's log has: %s", l.Message)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries += tries
}

// killed is how often sitesync was killed.
func (c *chaos) killed() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kills {
		n += k
	}
	return n
}

// list formats counts, such as "3 at the start, 2 at any time".
func list[K comparable](names []K, numbers map[K]int) string {
	var parts []string
	for _, name := range names {
		if n := numbers[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, name))
		}
	}
	return strings.Join(parts, ", ")
}
