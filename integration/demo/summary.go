package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// summary prints the results. The error says that something is not synced, or not correct.
func (t *terminal) summary(s snapshot) error {
	fmt.Fprintln(t.out)
	fmt.Fprint(t.out, summaryOf(s, t.color))
	problems := problemsOf(s)
	if len(problems) == 0 {
		fmt.Fprintln(t.out, paint(t.color, green, "Everything that was published is synced, and every MD5 is right."))
		return nil
	}
	const maxShown = 20
	for _, text := range problems[:min(len(problems), maxShown)] {
		fmt.Fprintln(t.out, paint(t.color, red, "✗ "+text))
	}
	if more := len(problems) - maxShown; more > 0 {
		fmt.Fprintf(t.out, "and %d more\n", more)
	}
	return errors.New("there were problems; see above")
}

// problemsOf are all problems.
func problemsOf(s snapshot) []string {
	problems := slices.Clone(s.problems)
	for _, it := range s.items {
		if it.state != synced {
			problems = append(problems, fmt.Sprintf("%s %s is not synced", it.project, it.what))
		}
	}
	t := s.totals
	if t.published != t.synced {
		problems = append(problems, fmt.Sprintf("%d published, but %d synced", t.published, t.synced))
	}
	if t.files != t.compared {
		problems = append(problems, fmt.Sprintf("%d files synced, but the MD5s of %d compared", t.files, t.compared))
	}
	return problems
}

// summaryOf are the results as text.
func summaryOf(s snapshot, color bool) string {
	var b strings.Builder
	t := s.totals
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "published\t%d representations in %s\n", t.published, s.clock.Round(100*time.Millisecond))
	fmt.Fprintf(w, "synced\t%d representations, %d files, %s\n", t.synced, t.files, humanize.IBytes(uint64(t.bytes)))
	fmt.Fprintf(w, "compared\t%d MD5s, of the storage with what Drive holds; %d wrong\n", t.compared, len(s.problems))
	if t.repaired > 0 {
		fmt.Fprintf(w, "failed\t%d on purpose; explained by sitesync, repaired, and synced after sitesync retry\n",
			t.repaired)
	}
	fmt.Fprintf(w, "API calls\t%.2f a file (%d for %d files)\n", float64(s.calls)/float64(max(t.files, 1)), s.calls,
		t.files)
	w.Flush()

	fmt.Fprintln(&b)
	fmt.Fprintln(&b, paint(color, bold, "REACTION")+", from the acknowledged insert until all files are readably "+
		"synced:")
	const row = "  %-18s %9v %9s %9s %9s\n"
	fmt.Fprintf(&b, row, "", "publishes", "p50", "p99", "max")
	for _, k := range []kind{single, sequence, cache, broken} {
		all := t.reactions[k]
		if len(all) == 0 {
			continue
		}
		fmt.Fprintf(&b, row, k.name(s.settings), len(all),
			formatReaction(all.Quantile(0.5)), formatReaction(all.Quantile(0.99)), formatReaction(all.Quantile(1)))
	}
	fmt.Fprintln(&b)
	if s.explanation != "" {
		fmt.Fprintln(&b, paint(color, bold, "EXPLAINED")+", by sitesync explain, when the last one had failed:")
		for line := range strings.Lines(s.explanation) {
			fmt.Fprintln(&b, strings.TrimRight("  "+line, " \n"))
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}
