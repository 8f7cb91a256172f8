package command

import (
	"context"
	"math"
	"os"
	"strings"

	"github.com/dustin/go-humanize"

	"sitesync/daemon"
	"sitesync/explain"
)

type explainCmd struct {
	Project string `arg:"" help:"The project."`
	File    string `arg:"" name:"id|path" help:"Id of a representation, or path or name of a file."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`
	MD5     bool   `name:"md5" help:"Compare the content of synced files with their sources beyond the first GiB too."`
}

func (explainCmd) Help() string {
	return `Examples:
  sitesync explain Test 6b050e7f95b3069bbeff69ac
  sitesync explain Test "P:\projects\Test\Assets\Cylinder\publish\model\modelMain\v001\test_Cylinder_modelMain_v001.ma"
  sitesync explain Test test_Cylinder_modelMain_v001.ma -o json

A path may be one as artists see it, as the document has it ({root}/...), or on the remote site. The name of a file
alone means the newest file of that name.

It evaluates the rules that decide whether a file is uploaded or downloaded on the document as it is now, and looks
where sitesync would look: on the storage, as this machine sees it, and on the remote site. The last line is the one
thing to do. A file that the active site waits for is a download, any other one an upload.

Nothing is changed. The exit status is 0 if all is synced or on its way, and 1 if something needs attention, if that is
unknown, or if there is no such file; 80 if the command line is wrong.`
}

func (c explainCmd) Run(ctx context.Context, e *env) error {
	x := daemon.NewExplainer(e.cfg, e.store, e.state)
	x.MaxRead = 1 << 30
	if c.MD5 {
		x.MaxRead = math.MaxInt64
	}
	r, err := x.Explain(ctx, c.Project, c.File)
	if err != nil {
		return e.client.Explain(err)
	}
	return writeResult(c.Output, r, explanation(r, colored(os.Stdout)), r.Healthy())
}

var severityStyles = map[explain.Severity]style{explain.OK: green, explain.Waiting: yellow, explain.Unknown: yellow,
	explain.Wrong: red}

// explanation is a report for people.
func explanation(r *explain.Report, color bool) string {
	t := styledText{color: color}
	t.findings(r.Findings)
	if r.Matched < r.Files {
		names := "names"
		if r.Matched != 1 {
			names = "name"
		}
		t.line("\n%s of its %s files, which %s the path:", humanize.Comma(int64(r.Matched)),
			humanize.Comma(int64(r.Files)), names)
	}
	for _, g := range r.Groups {
		t.line("")
		f := g.Example
		if g.Files > 1 {
			t.line("%s, %s, such as:", t.style(bold, humanize.Comma(int64(g.Files))+" files"),
				humanize.IBytes(uint64(g.Bytes)))
		}
		t.line("%s", t.style(bold, sanitize(f.Path)))
		if from := f.From(); from != "" {
			t.line("  from  %s", sanitize(from))
		}
		if to := f.To(); to != "" {
			t.line("  to    %s", sanitize(to))
		}
		t.findings(f.Findings)
	}
	if n := len(r.Others); n > 0 {
		older, does := explain.Plural(n, "older representation"), agree(int64(n), "name this path too")
		if r.More {
			older, does = older+" and more", "name this path too"
		}
		t.line("\n%s %s: %s", older, does, sanitize(strings.Join(r.Others, ", ")))
	}
	next := sanitize(r.NextStep.Text)
	if r.NextStep.Command != "" {
		next += ": " + t.style(bold, sanitize(r.NextStep.Command))
	}
	t.line("\n%s %s", t.style(bold, "Do:"), next)
	return t.String()
}

// findings lists findings, a line each.
func (t *styledText) findings(findings explain.Findings) {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Rule))
	}
	for _, f := range findings {
		pad := strings.Repeat(" ", max(0, len("waiting")-len(f.Severity)))
		t.line("%s%s  %-*s  %s", t.style(severityStyles[f.Severity], string(f.Severity)), pad, width, f.Rule,
			sanitize(f.Detail))
	}
}
