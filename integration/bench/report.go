package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is all that was measured.
type report struct {
	About []string `json:"about"`
	Rows  []row    `json:"rows"`
}

// row compares sitesync with a peer.
type row struct {
	What    string    `json:"what"`
	Unit    string    `json:"unit"`
	Ours    []float64 `json:"sitesync"` // by round
	Peer    string    `json:"peer"`
	Theirs  []float64 `json:"peer_figures"`      // by round; none if the peer is missing
	Missing string    `json:"missing,omitempty"` // how to install the peer
	Bar     *bar      `json:"bar,omitempty"`

	Pictured bool `json:"-"`
}

// What a bar limits.
const (
	ofRatio = "ratio"
	ofOurs  = "sitesync"
)

// bar is the limit for sitesync.
type bar struct {
	Of      string  `json:"of"`
	AtLeast bool    `json:"at_least"` // else it is a maximum
	Limit   float64 `json:"limit"`
}

// figures returns one figure of each outcome.
func figures(outcomes []outcome, of func(outcome) float64) (out []float64) {
	for _, o := range outcomes {
		out = append(out, of(o))
	}
	return out
}

// median of no figures is 0.
func median(figures []float64) float64 {
	n := len(figures)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratios are those of each round, sitesync to the peer.
func (r row) ratios() (out []float64) {
	for i := range r.Theirs {
		out = append(out, r.Ours[i]/r.Theirs[i])
	}
	return out
}

// ratio returns the median of the ratios and their spread.
func (r row) ratio() (mid, low, high float64, ok bool) {
	ratios := r.ratios()
	if len(ratios) == 0 {
		return 0, 0, 0, false
	}
	return median(ratios), slices.Min(ratios), slices.Max(ratios), true
}

// verdict says whether the bar is met.
func (r row) verdict() string {
	if r.Bar == nil {
		return ""
	}
	sign, figure := "<=", median(r.Ours)
	if r.Bar.AtLeast {
		sign = ">="
	}
	text := fmt.Sprintf("%s %s %g", r.Bar.Of, sign, r.Bar.Limit)
	if r.Bar.Of == ofRatio {
		mid, _, _, ok := r.ratio()
		if !ok {
			return text + ": not measured"
		}
		figure = mid
	}
	if r.Bar.AtLeast == (figure >= r.Bar.Limit) || figure == r.Bar.Limit {
		return text + ": met"
	}
	return text + ": MISSED"
}

// table prints the report for people.
func (r report) table(out io.Writer) error {
	for _, line := range r.About {
		fmt.Fprintln(out, "#", line)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tUNIT\tSITESYNC\tPEER\t\tRATIO\tSPREAD\tBAR")
	for _, r := range r.Rows {
		ours := figure(median(r.Ours))
		if mid, low, high, ok := r.ratio(); ok {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f to %.2f\t%s\n", r.What, r.Unit, ours, r.Peer,
				figure(median(r.Theirs)), mid, low, high, r.verdict())
		} else {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\t\t\t%s\n", r.What, r.Unit, ours, r.Missing, r.verdict())
		}
	}
	return w.Flush()
}

// Marks in a document around the report.
const (
	documentBegin = "<!-- what follows is written by go run ./integration/bench --document -->\n"
	documentEnd   = "<!-- until here -->\n"
)

// document replaces the report in a Markdown document, between the marks.
func (r report) document(text string) (string, error) {
	before, after, begun := strings.Cut(text, documentBegin)
	_, after, ended := strings.Cut(after, documentEnd)
	if !begun || !ended {
		return "", fmt.Errorf("the document lacks the line %q or %q, between which the report goes", documentBegin,
			documentEnd)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n| What | sitesync | Peer | Ratio | Spread | Bar |\n|---|---|---|---|---|---|\n", before,
		documentBegin)
	for _, r := range r.Rows {
		peer, ratio, spread := r.Missing, "", ""
		if mid, low, high, ok := r.ratio(); ok {
			peer = r.Peer + " " + figure(median(r.Theirs))
			ratio, spread = fmt.Sprintf("%.2f", mid), fmt.Sprintf("%.2f to %.2f", low, high)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.What,
			strings.TrimSpace(figure(median(r.Ours))+" "+r.Unit), peer, ratio, spread,
			strings.Replace(r.verdict(), "MISSED", "**missed**", 1))
	}
	b.WriteString("\n")
	for _, line := range r.About {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	return b.String() + "\n" + documentEnd + after, nil
}

// json prints the report for programs.
func (r report) json(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// figure formats a figure with three digits, or all before the point.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
