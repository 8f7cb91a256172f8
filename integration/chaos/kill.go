package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sitesync/integration/process"
	"sitesync/integration/testenv"
)

// killAll kills sitesync and restarts it, once for each killPlan. The last process keeps running.
func (c *chaos) killAll(ctx context.Context) error {
	for i, k := range c.scenario.kills {
		m := c.machine(k.home)
		d := m.Daemon
		var err error
		switch k.point {
		case duringCreate:
			err = c.awaitRequest(ctx, "files.create", "upload.put")
		case duringDownload:
			err = c.awaitRequest(ctx, "files.download")
		}
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, k.after)
		status, err := d.Exit(limited)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			c.addProblem("sitesync of %s ended by itself with status %d:\n%s", m.Site, status, d.Tail(10))
		} else {
			d.Kill()
			c.journal.record("kill %d: sitesync of %s, %s, after %s", i+1, m.Site, k.point,
				k.after.Round(time.Millisecond))
		}
		c.checkLog(d)
		c.mu.Lock()
		c.kills[k.point]++
		c.mu.Unlock()
		if err := m.Restart(); err != nil {
			return err
		}
	}
	return nil
}

// awaitRequest waits until a request of such a kind reaches Drive, for maxRequestWait at most: there may be nothing to
// do.
func (c *chaos) awaitRequest(ctx context.Context, kinds ...string) error {
	count := func() (n int) {
		for made, calls := range c.env.Drive.Calls() {
			if slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(made, kind) }) {
				n += calls
			}
		}
		return n
	}
	before := count()
	for since := time.Now(); count() == before && time.Since(since) < maxRequestWait; {
		if err := testenv.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// checkLog reads the log of a sitesync that has ended: it counts the tries, and reports races and panics.
func (c *chaos) checkLog(d *process.Process) {
	tries := len(d.Lines(func(l process.Line) bool { return isFailure(l.Message) }))
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

// isFailure reports whether a message says that a try was spent.
func isFailure(message string) bool {
	return strings.HasPrefix(message, "upload failed") || strings.HasPrefix(message, "download failed")
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
