package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Colors, as the terminal's user has chosen them.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint gives a text a color, if there are colors; none is the empty one.
func paint(color bool, code, text string) string {
	if !color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// shorten cuts a text to a width, in characters. None that the demo shows is wider than one column.
func shorten(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// cell is a text in one color.
type cell struct{ text, color string }

// line puts cells beside each other, as many as the width has room for.
func line(width int, color bool, cells ...cell) string {
	const gap = 3
	var b strings.Builder
	used := 0
	for i, c := range cells {
		if i == 0 {
			c.text = shorten(c.text, width)
		} else {
			if used+gap+utf8.RuneCountInString(c.text) > width {
				break
			}
			b.WriteString(strings.Repeat(" ", gap))
			used += gap
		}
		used += utf8.RuneCountInString(c.text)
		b.WriteString(paint(color, c.color, c.text))
	}
	return b.String()
}

const (
	// widest is the width up to which a line is pleasant to read.
	widest = 120
	// sectionLines is the room for the upload that fails: a title, what happened, the tries, the repair, the end.
	sectionLines = 4 + retryCount
)

// render draws a snapshot, as lines that are no longer than width and no more than height.
func render(s snapshot, width, height int, color bool) []string {
	width = max(1, min(width, widest))
	lines := header(s, width, color)
	section := sectionOf(s, width, color)
	const spare = 2 // an empty line, and the head of the table
	rows := height - len(lines) - spare - 1 - len(section)
	if rows < 5 { // the table matters more
		rows += 1 + len(section)
		section = nil
	}
	lines = append(lines, "")
	lines = append(lines, table(visible(s.items, rows), width, color)...)
	if section != nil {
		lines = append(append(lines, ""), section...)
	}
	return lines[:min(len(lines), max(height, 0))]
}

// header is what is true of all publishes.
func header(s snapshot, width int, color bool) []string {
	t := s.totals
	clock := minutes(s.clock)
	switch {
	case !s.settings.Forever:
		clock += " of " + minutes(s.settings.Duration)
	case s.phase == publishing:
		clock += ", Ctrl-C ends it"
	}
	perSecond := func(n float64) float64 { return n / max(s.clock.Seconds(), 1) }
	lines := []string{
		line(width, color, cell{"sitesync demo", bold}, cell{s.phase, cyan}, cell{clock, ""},
			cell{"Drive latency " + s.settings.Latency.String(), faint}),
		paint(color, faint, strings.Repeat("─", width)),
		line(width, color, cell{fmt.Sprintf("published %d (%.1f/s)", t.published, perSecond(float64(t.published))), ""},
			cell{fmt.Sprintf("synced %d", t.synced), green},
			cell{fmt.Sprintf("files %d (%.0f/s)", t.files, perSecond(float64(t.files))), ""},
			cell{fmt.Sprintf("%s (%s/s)", humanize.IBytes(uint64(t.bytes)),
				humanize.IBytes(uint64(perSecond(float64(t.bytes))))), ""},
			cell{callsPerFile(s), ""}, cell{fmt.Sprintf("MD5s compared %d", t.compared), faint}),
	}
	if !s.settings.Forever {
		done := int(float64(width) * min(1, s.clock.Seconds()/s.settings.Duration.Seconds()))
		lines[1] = paint(color, cyan, strings.Repeat("━", done)) + paint(color, faint, strings.Repeat("─", width-done))
	}
	reactions := []cell{{"reaction p50/p99", ""}}
	for _, k := range []kind{single, sequence, cache} {
		text := k.name(s.settings) + " -"
		if all := t.reactions[k]; len(all) > 0 {
			text = fmt.Sprintf("%s %s/%s", k.name(s.settings), formatReaction(all.Quantile(0.5)),
				formatReaction(all.Quantile(0.99)))
		}
		reactions = append(reactions, cell{text, ""})
	}
	return append(lines, line(width, color, reactions...))
}

// sectionOf is the upload that fails, padded so that the layout stays when it grows.
func sectionOf(s snapshot, width int, color bool) []string {
	lines := []string{line(width, color, cell{"ONE UPLOAD FAILS, AND IS REPAIRED", bold})}
	for i, text := range s.section {
		c := cell{"  " + text, ""}
		switch {
		case strings.HasPrefix(text, "try "):
			c.color = red
		case strings.HasPrefix(text, "the file"):
			c.color = yellow
		case i == len(s.section)-1 && strings.HasPrefix(text, "synced"):
			c.color = green
		}
		lines = append(lines, line(width, color, c))
	}
	if len(s.section) == 0 {
		lines = append(lines, line(width, color, cell{"  in a moment", faint}))
	}
	for len(lines) < sectionLines {
		lines = append(lines, "")
	}
	return lines
}

// visible are the last items, in their order; what is not synced is kept before what is.
func visible(items []item, most int) []item {
	unsynced := 0
	for _, it := range items {
		if it.state != synced {
			unsynced++
		}
	}
	room, roomSynced := max(0, most), max(0, most-unsynced)
	var out []item
	for _, it := range slices.Backward(items) {
		if room == 0 {
			break
		}
		if it.state == synced {
			if roomSynced == 0 {
				continue
			}
			roomSynced--
		}
		room--
		out = append(out, it)
	}
	slices.Reverse(out)
	return out
}

// column is one of the table's.
type column struct {
	head   string
	width  int // 0: what is left
	right  bool
	narrow int // it is left out below this width of the table
	cell   func(item) cell
}

var columns = []column{
	{head: "PROJECT", width: 8, cell: func(it item) cell { return cell{it.project, ""} }},
	{head: "ROOT", width: 6, narrow: 92, cell: func(it item) cell { return cell{it.root, faint} }},
	{head: "PUBLISHED", cell: func(it item) cell { return cell{it.what, ""} }},
	{head: "FILES", width: 5, right: true, narrow: 60,
		cell: func(it item) cell { return cell{fmt.Sprint(it.files), ""} }},
	{head: "SIZE", width: 8, right: true, narrow: 70,
		cell: func(it item) cell { return cell{humanize.IBytes(uint64(it.size)), ""} }},
	{head: "STATE", width: stateWidth, cell: stateOf},
	{head: "REACTION", width: 8, right: true, cell: func(it item) cell {
		if it.state != synced {
			return cell{}
		}
		return cell{formatReaction(it.reaction), ""}
	}},
}

const (
	columnGap  = 2
	stateWidth = 15
	// widestName is the longest name of a publish that is expected, in characters.
	widestName = 32
)

// table is the head and a line for each item.
func table(items []item, width int, color bool) []string {
	var shown []column
	flexible, left := 0, width+columnGap
	for _, c := range columns {
		if width < c.narrow {
			continue
		}
		if c.width == 0 {
			flexible = len(shown)
		}
		left -= c.width + columnGap
		shown = append(shown, c)
	}
	shown[flexible].width = min(max(left, 0), widestName)
	row := func(cellOf func(column) cell) string {
		var b strings.Builder
		used := 0
		for i, c := range shown {
			content := cellOf(c)
			text := shorten(content.text, c.width)
			pad := strings.Repeat(" ", c.width-utf8.RuneCountInString(text))
			if used += c.width; used > width {
				break
			}
			used += columnGap
			if c.right {
				b.WriteString(pad)
			}
			b.WriteString(paint(color, content.color, text))
			if i < len(shown)-1 {
				if !c.right {
					b.WriteString(pad)
				}
				b.WriteString(strings.Repeat(" ", columnGap))
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	lines := []string{row(func(c column) cell { return cell{c.head, bold} })}
	for _, it := range items {
		lines = append(lines, row(func(c column) cell { return c.cell(it) }))
	}
	return lines
}

// stateOf is how far a publish is.
func stateOf(it item) cell {
	switch it.state {
	case writing:
		return cell{"writing", faint}
	case uploading:
		if it.files == 1 {
			return cell{"uploading", cyan}
		}
		count := fmt.Sprintf(" %d/%d", it.done, it.files)
		return cell{bar(float64(it.done)/float64(it.files), max(0, stateWidth-len(count))) + count, cyan}
	case failing:
		return cell{fmt.Sprintf("failed, try %d/%d", it.tries, retryCount), red}
	case synced:
		if it.tries > 0 {
			return cell{"repaired", green}
		}
		return cell{"synced", green}
	}
	return cell{"NOT SYNCED", red}
}

// bar is a share, 0 to 1, as a bar of that width.
func bar(share float64, width int) string {
	done := int(share * float64(width))
	return strings.Repeat("█", done) + strings.Repeat("░", width-done)
}

// eventLine is an event for a log.
func eventLine(e event) string {
	files := "1 file"
	if e.item.files > 1 {
		files = fmt.Sprintf("%d files", e.item.files)
	}
	text := fmt.Sprintf("%6.1fs  %-9s  %-8s  %-6s  %-*s  %10s  %8s  %s", e.at.Seconds(), e.verb, e.item.project,
		e.item.root, widestName, e.item.what, files, humanize.IBytes(uint64(e.item.size)), e.text)
	return strings.TrimRight(text, " ")
}

// name is what publishes of a kind are called.
func (k kind) name(s settings) string {
	switch k {
	case sequence:
		return fmt.Sprintf("%d frames", s.Frames)
	case cache:
		return fmt.Sprintf("%d MiB cache", s.Cache)
	case broken:
		return "after the repair"
	}
	return "small"
}

func callsPerFile(s snapshot) string {
	if s.totals.files == 0 {
		return "API calls -"
	}
	return fmt.Sprintf("API calls a file %.2f", float64(s.calls)/float64(s.totals.files))
}

// formatReaction has two or three digits that mean something.
func formatReaction(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	switch {
	case ms < 9.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 99_950:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	return fmt.Sprintf("%.0f s", ms/1000)
}

func minutes(d time.Duration) string {
	seconds := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
