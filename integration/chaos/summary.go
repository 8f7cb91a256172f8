package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/integration/testenv"
)

// progressInterval is the time between two lines of progress.
const progressInterval = 5 * time.Second

// reportProgress prints the progress until ctx ends.
func (c *chaos) reportProgress(ctx context.Context) {
	known := "?"
	for testenv.Sleep(ctx, progressInterval) == nil {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		if synced, _, err := c.progress(limited); err == nil { // the primary may be away
			known = fmt.Sprint(synced)
		}
		cancel()
		kills := c.killed()
		c.mu.Lock()
		records, faults := 0, 0
		for _, rep := range c.reps {
			records += 2 * len(rep.Files) // of Drive, and of the other storage
		}
		for _, n := range c.primaryFaults {
			faults += n
		}
		fmt.Fprintf(c.out, "%4.0fs  %s: %d of %d files published, %s of %d records synced, %d of %d kills, "+
			"%d of %d primary faults\n", time.Since(c.start).Seconds(), c.phase, c.published, c.files, known, records,
			kills, len(c.scenario.kills), faults, len(c.scenario.primaryFaults))
		c.mu.Unlock()
	}
}

// violations are all kinds of defects.
func (c *chaos) violations(found *findings) []violation {
	return append(found.violations(), violation{"half-written", len(c.visible.early),
		fmt.Sprintf("files that could be seen with a content that was not published, of %d that were looked at",
			c.visible.files), c.visible.early})
}

// summary prints the results. The error says that a check failed.
func (c *chaos) summary(found *findings) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "seed\t%d\t%s\n", c.seed, c.repeat)
	fmt.Fprintf(w, "killed\t%d\tsitesync, by kill -9: %s\n", c.killed(),
		list([]killPoint{anytime, early, duringCreate, duringDownload}, c.kills))
	fmt.Fprintf(w, "primary\t%d\t%s\n", len(c.scenario.primaryFaults),
		list([]faultKind{killed, steppedDown, hung}, c.primaryFaults))
	fmt.Fprintf(w, "failed\t%d\tof %d requests to Drive (%.1f %%), whose listings lag by %s\n", c.refused, c.requests,
		100*float64(c.refused)/float64(max(c.requests, 1)), c.listingLag)
	fmt.Fprintf(w, "published\t%d\tfiles (%s) in %d representations, within %s; %d publishes of the same path again, "+
		"%d attempts failed with the database\n", found.files, humanize.IBytes(uint64(found.bytes)), len(c.reps),
		time.Since(c.start).Round(time.Second), c.again, c.repeated)
	fmt.Fprintf(w, "synced\t%d\tof %d records of these files, to Drive\n", found.synced, found.records)
	fmt.Fprintf(w, "arrived\t%d\tof %d records of these files, on the other storage\n", found.arrived, found.records)
	for _, line := range c.violations(found) {
		fmt.Fprintf(w, "%s\t%d\t%s\n", line.name, line.n, line.what)
	}
	fmt.Fprintf(w, "tries spent\t%d\t%d of them still in the records\n", c.tries, found.tries)
	w.Flush()
	fmt.Fprint(c.out, "\n"+b.String())

	ok := len(c.problems) == 0
	for _, text := range c.problems {
		fmt.Fprintln(c.out, "✗", text)
	}
	for _, text := range c.env.Drive.Violations() {
		ok = false
		fmt.Fprintln(c.out, "✗ a request that Drive does not allow:", text)
	}
	for _, line := range c.violations(found) {
		const maxShown = 10
		for i, text := range line.cases {
			ok = false
			c.journal.record("WRONG: %s: %s", line.name, text)
			if i < maxShown {
				fmt.Fprintf(c.out, "✗ %s: %s\n", line.name, text)
			}
		}
		if more := len(line.cases) - maxShown; more > 0 {
			fmt.Fprintf(c.out, "✗ %s: and %d more\n", line.name, more)
		}
	}
	if !ok {
		return errors.New("a check failed; see above")
	}
	return nil
}
