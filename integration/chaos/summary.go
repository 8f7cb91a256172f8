package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/integration/stage"
)

// tellEvery is the time between two lines that tell of the progress.
const tellEvery = 5 * time.Second

// tell tells of the progress until ctx ends.
func (c *chaos) tell(ctx context.Context) {
	known := "?"
	for stage.Pause(ctx, tellEvery) == nil {
		look, cancel := context.WithTimeout(ctx, time.Second)
		if synced, _, err := c.progress(look); err == nil { // the primary may be away
			known = fmt.Sprint(synced)
		}
		cancel()
		kills := c.killed()
		c.mu.Lock()
		records, strikes := 0, 0
		for _, rep := range c.reps {
			records += len(rep.Files)
		}
		for _, n := range c.strikes {
			strikes += n
		}
		fmt.Fprintf(c.out, "%4.0fs  %s: %d of %d files published, %s of %d records synced, sitesync killed %d of %d times, primary struck %d of %d times\n",
			time.Since(c.start).Seconds(), c.phase, c.published, c.files, known, records, kills, len(c.script.lives), strikes, len(c.script.strikes))
		c.mu.Unlock()
	}
}

// summary prints what has come out. The error says that something is not as it should be.
func (c *chaos) summary(found *findings) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "seed\t%d\t%s\n", c.seed, c.repeat)
	fmt.Fprintf(w, "killed\t%d\tsitesync, by kill -9: %s\n", c.killed(), list([]moment{anytime, early, amidst}, c.kills))
	fmt.Fprintf(w, "primary\t%d\t%s\n", len(c.script.strikes), list([]blow{killed, steppedDown, hung}, c.strikes))
	fmt.Fprintf(w, "failed\t%d\tof %d requests to Drive (%.1f %%), whose listings lag by %s\n", c.refused, c.requests,
		100*float64(c.refused)/float64(max(c.requests, 1)), c.listingLag)
	fmt.Fprintf(w, "published\t%d\tfiles (%s) in %d representations, within %s; %d publishes of the same path again, %d attempts failed with the database\n",
		found.files, humanize.IBytes(uint64(found.bytes)), len(c.reps), time.Since(c.start).Round(time.Second), c.again, c.repeated)
	fmt.Fprintf(w, "synced\t%d\tof %d records of these files\n", found.synced, found.records)
	for _, line := range found.bad() {
		fmt.Fprintf(w, "%s\t%d\t%s\n", line.name, line.n, line.what)
	}
	fmt.Fprintf(w, "tries spent\t%d\t%d of them still in the records\n", c.tries, found.tries)
	w.Flush()
	fmt.Fprint(c.out, "\n"+b.String())

	ok := len(c.trouble) == 0
	for _, text := range c.trouble {
		fmt.Fprintln(c.out, "✗", text)
	}
	for _, text := range c.stage.Drive.Violations() {
		ok = false
		fmt.Fprintln(c.out, "✗ a request that Drive does not allow:", text)
	}
	for _, line := range found.bad() {
		const most = 10
		for i, text := range line.cases {
			ok = false
			c.journal.tell("WRONG: %s: %s", line.name, text)
			if i < most {
				fmt.Fprintf(c.out, "✗ %s: %s\n", line.name, text)
			}
		}
		if more := len(line.cases) - most; more > 0 {
			fmt.Fprintf(c.out, "✗ %s: and %d more\n", line.name, more)
		}
	}
	if !ok {
		return errors.New("not everything is as it should be")
	}
	return nil
}
