package command

import (
	"context"
	"math"
	"os"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"sitesync/config"
	"sitesync/daemon"
	"sitesync/explain"
)

// mostCompared is how much of the sources sitesync explain reads to compare them, unless it is told to compare all.
const mostCompared = 1 << 30

type explainCmd struct {
	Project string `arg:"" help:"The project."`
	File    string `arg:"" name:"id|path" help:"Id of a representation, or path of a file: as artists see it, as the document has it ({root}/...), or on the remote site. Of a file's name alone the newest counts."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`
	MD5     bool   `name:"md5" help:"Compare the content of all synced files with their sources, however large they are, and not only the first GiB."`
}

// Help is shown below the summary of the command.
func (explainCmd) Help() string {
	return `Examples:
  sitesync explain Test 6b050e7f95b3069bbeff69ac
  sitesync explain Test P:\projects\Test\Assets\Cylinder\publish\model\modelMain\v001\test_Cylinder_modelMain_v001.ma
  sitesync explain Test test_Cylinder_modelMain_v001.ma -o json

It walks through the rules that decide whether a file is uploaded, on the document as it stands, and looks where sitesync
would look: at the source, as this machine sees it, and on the remote site. The last line is the one thing to do.

Nothing is changed. The exit status is 0 if all is synced or on its way, and 1 if somebody has to do something, if that
can't be told, or if there is no such file; 80 if the command line is wrong.`
}

// Run is sitesync explain.
func (c explainCmd) Run(ctx context.Context, flags *config.Flags) error {
	e, err := openEnv(flags)
	if err != nil {
		return err
	}
	defer e.close()
	x := daemon.NewExplainer(e.cfg, e.store, e.state)
	x.MaxRead = mostCompared
	if c.MD5 {
		x.MaxRead = math.MaxInt64
	}
	r, err := x.Explain(ctx, c.Project, c.File)
	if err != nil {
		return e.client.Explain(err)
	}
	return show(c.Output, r, explanation(r, colored(os.Stdout)), r.Healthy())
}

// colored reports whether an output is a terminal that may have colors.
func colored(out *os.File) bool {
	return term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == "" // https://no-color.org
}

var verdictColors = map[explain.Severity]string{explain.OK: green, explain.Waiting: yellow, explain.Unknown: yellow, explain.Wrong: red}

// explanation is a report for people.
func explanation(r *explain.Report, color bool) string {
	t := page{color: color}
	t.steps(r.Findings)
	if r.Matched < r.Files {
		names := "names"
		if r.Matched != 1 {
			names = "name"
		}
		t.line("\n%s of its %s files, which %s the path:", humanize.Comma(int64(r.Matched)), humanize.Comma(int64(r.Files)), names)
	}
	for _, g := range r.Groups {
		t.line("")
		f := g.Example
		if g.Files > 1 {
			t.line("%s, %s, such as:", t.paint(bold, humanize.Comma(int64(g.Files))+" files"), humanize.IBytes(uint64(g.Bytes)))
		}
		t.line("%s", t.paint(bold, printable(f.Path)))
		if f.Source != "" {
			t.line("  from  %s", printable(f.Source))
		}
		if f.Remote != "" {
			t.line("  to    %s", printable(f.Remote))
		}
		t.steps(f.Findings)
	}
	if n := len(r.Others); n > 0 {
		more := ""
		if r.More {
			more = " and more"
		}
		t.line("\n%d older representation(s)%s name this path too: %s", n, more, printable(strings.Join(r.Others, ", ")))
	}
	next := printable(r.NextStep.Text)
	if r.NextStep.Command != "" {
		next += ": " + t.paint(bold, printable(r.NextStep.Command))
	}
	t.line("\n%s %s", t.paint(bold, "Do:"), next)
	return t.String()
}

// steps are the rules, and what was found.
func (t *page) steps(steps explain.Findings) {
	width := 0
	for _, s := range steps {
		width = max(width, len(s.Rule))
	}
	for _, s := range steps {
		pad := func(text string, width int) string { return strings.Repeat(" ", max(0, width-len(text))) }
		t.line("%s%s  %s%s  %s", t.paint(verdictColors[s.Severity], string(s.Severity)), pad(string(s.Severity), len("waiting")),
			s.Rule, pad(s.Rule, width), printable(s.Detail))
	}
}
