package web

import (
	"fmt"
	"html/template"
	"path"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/duration"
	"sitesync/explain"
	"sitesync/uploader"
)

// verdict is what an explanation comes to.
func verdict(s explain.Severity) string {
	switch s {
	case explain.OK:
		return "Synced"
	case explain.Waiting:
		return "On its way: no action is needed"
	case explain.Wrong:
		return "Needs attention"
	}
	return "Cannot be seen from here"
}

// waitsFor says in a few words what a file waits for.
func waitsFor(w uploader.Waiting, remoteSite string) string {
	switch {
	case w.Failed:
		return "the next try"
	case w.Away:
		return remoteSite
	}
	return "its source"
}

// wrap lets a browser break a path where a person would.
func wrap(p string) template.HTML {
	breaks := strings.NewReplacer("/", "/<wbr>", "_", "_<wbr>", `\`, `\<wbr>`)
	return template.HTML(breaks.Replace(template.HTMLEscapeString(p)))
}

// name is the last part of a path.
func name(p string) string { return path.Base(strings.ReplaceAll(p, `\`, "/")) }

// folder is a path without its last part, and without the root and the project that Pype's paths begin with.
func folder(project, p string) string {
	dir := strings.TrimPrefix(path.Dir(strings.ReplaceAll(p, `\`, "/")), "{root}")
	if dir == "." {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(dir, "/"), project+"/")
}

func size(n int64) string {
	if n < 0 {
		return "size unknown"
	}
	return humanize.IBytes(uint64(n))
}

// plural is a number of things: 1 try, 2 tries, 1,234 files.
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return humanize.Comma(int64(n)) + " " + noun + "s"
}

// elapsed is a duration for people, in up to two units.
func elapsed(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/day)
}

// ago is how long ago, or in how long, a time is.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + duration.Rough(-d)
	}
	return duration.Rough(d) + " ago"
}

// Reaction is how long the files of the group took.
func (g syncedGroup) Reaction() string {
	if g.Files > 1 && g.Slowest >= g.Fastest+g.Fastest/2 {
		return elapsed(g.Fastest) + " to " + elapsed(g.Slowest)
	}
	return elapsed(g.Slowest)
}

// Level is how good or bad something is. It is a class of the style sheet.
type Level string

// The levels.
const (
	OK         Level = "ok"
	InProgress Level = "in-progress"
	Warning    Level = "warning"
	Error      Level = "error"
	Neutral    Level = "neutral"
)

// levelOf is the level of a verdict of explain.
func levelOf(v explain.Severity) Level {
	switch v {
	case explain.OK:
		return OK
	case explain.Waiting:
		return InProgress
	case explain.Wrong:
		return Error
	}
	return Warning
}

// Text is the level for people who do not see colors.
func (l Level) Text() string {
	switch l {
	case OK:
		return "ok"
	case InProgress:
		return "in progress"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return "not known"
}
