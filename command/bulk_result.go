package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"sitesync/avalon"
)

// edited is what a command has changed in the documents, or would change. Its JSON is for scripts: fields may come, but
// none changes or goes.
type edited struct {
	Site     string          `json:"site"`
	DryRun   bool            `json:"dry_run"`
	Projects []editedProject `json:"projects"` // in which something was changed, or could not be
	Total    editedCount     `json:"total"`
}

type editedCount struct {
	Representations int64 `json:"representations"`
	Files           int64 `json:"files"`
}

type editedProject struct {
	Project string `json:"project"`
	editedCount
	Examples     []string `json:"examples,omitempty"`      // paths of files
	WithoutSites int64    `json:"without_sites,omitempty"` // files that are left alone
	Error        string   `json:"error,omitempty"`
}

// add takes note of what was done in a project.
func (e *edited) add(project string, done avalon.EditResult, err error) *editedProject {
	row := editedProject{Project: project, editedCount: editedCount{done.Representations, done.Files}, Examples: done.Examples}
	if err != nil {
		row.Error = err.Error()
	}
	e.Total.Representations += row.Representations
	e.Total.Files += row.Files
	e.Projects = append(e.Projects, row)
	return &e.Projects[len(e.Projects)-1]
}

// text is it for people: so many files "are pending again", or "would be".
func (e *edited) text(did, would, none string) string {
	var b strings.Builder
	for _, p := range e.Projects {
		name := printable(p.Project)
		what := fmt.Sprintf("%s file(s) of %s representation(s)", humanize.Comma(p.Files), humanize.Comma(p.Representations))
		switch {
		case p.Files == 0:
			fmt.Fprintf(&b, "%s: %s\n", name, none)
		case e.DryRun:
			fmt.Fprintf(&b, "%s: %s %s, such as\n", name, what, would)
			for _, path := range p.Examples {
				fmt.Fprintf(&b, "  %s\n", printable(path))
			}
		default:
			fmt.Fprintf(&b, "%s: %s %s\n", name, what, did)
		}
		if p.WithoutSites > 0 {
			fmt.Fprintf(&b, "%s: %s file(s) have no sites at all, from before Pype knew sites, and are left alone\n", name, humanize.Comma(p.WithoutSites))
		}
		if p.Error != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, printable(p.Error))
		}
	}
	if len(e.Projects) == 0 {
		fmt.Fprintln(&b, none)
	}
	if len(e.Projects) > 1 {
		fmt.Fprintf(&b, "total: %s file(s) of %s representation(s)\n", humanize.Comma(e.Total.Files), humanize.Comma(e.Total.Representations))
	}
	return b.String()
}

// failed reports whether something could not be done.
func (e *edited) failed() bool {
	for _, p := range e.Projects {
		if p.Error != "" {
			return true
		}
	}
	return false
}

// counter shows somebody at a terminal how far an edit is.
type counter struct {
	out      io.Writer
	terminal bool
	last     time.Time
}

func newCounter() *counter {
	return &counter{out: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd())), last: time.Now()}
}

// of is told of each step in a project.
func (c *counter) of(project string) func(avalon.EditResult) {
	return func(e avalon.EditResult) {
		if c.terminal && time.Since(c.last) > 200*time.Millisecond {
			c.last = time.Now()
			fmt.Fprintf(c.out, "\r\x1b[K%s: %s file(s) of %s representation(s) ...", printable(project), humanize.Comma(e.Files), humanize.Comma(e.Representations))
		}
	}
}

// end removes what was shown.
func (c *counter) end() {
	if c.terminal {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}
