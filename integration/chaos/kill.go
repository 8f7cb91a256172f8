package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sitesync/integration/daemon"
	"sitesync/integration/stage"
)

// killAll kills sitesync and starts it anew, over and over. The last one lives on.
func (c *chaos) killAll(ctx context.Context) error {
	for i, l := range c.script.lives {
		d := c.stage.Daemon
		if l.moment == amidst {
			if err := c.awaitCreate(ctx); err != nil {
				return err
			}
		}
		living, cancel := context.WithTimeout(ctx, l.after)
		status, err := d.Exit(living)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			c.wrong("sitesync has ended by itself with status %d:\n%s", status, d.Tail(10))
		} else {
			d.Kill()
			c.journal.tell("kill %d: sitesync, %s and %s", i+1, l.moment, l.after.Round(time.Millisecond))
		}
		c.bury(d)
		c.mu.Lock()
		c.kills[l.moment]++
		c.mu.Unlock()
		if err := c.stage.Restart(); err != nil {
			return err
		}
	}
	return nil
}

// awaitCreate waits until a create has reached Drive, but not for too long: there may be nothing to be created.
func (c *chaos) awaitCreate(ctx context.Context) error {
	count := func() (n int) {
		for kind, calls := range c.stage.Drive.Calls() {
			if strings.HasPrefix(kind, "files.create") || kind == "upload.put" {
				n += calls
			}
		}
		return n
	}
	before := count()
	for since := time.Now(); count() == before && time.Since(since) < longest; {
		if err := stage.Pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// bury reads the log of a sitesync that has ended: how many tries it has spent, and whether anything is in it that
// must not be.
func (c *chaos) bury(d *daemon.Daemon) {
	tries := len(d.Lines(func(l daemon.Line) bool { return strings.HasPrefix(l.Message, "upload failed") }))
	for _, l := range d.Lines(func(l daemon.Line) bool {
		return l.Fields == nil && (strings.Contains(l.Message, "DATA RACE") || strings.HasPrefix(l.Message, "panic:") ||
			strings.HasPrefix(l.Message, "fatal error:"))
	}) {
		c.wrong("sitesync's log has: %s", l.Message)
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

// list names numbers, such as "3 at the start, 2 at any time".
func list[K comparable](names []K, numbers map[K]int) string {
	var parts []string
	for _, name := range names {
		if n := numbers[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, name))
		}
	}
	return strings.Join(parts, ", ")
}
