package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sitesync/avalon"
	"sitesync/daemon"
	"sitesync/explain"
)

type retryCmd struct {
	Project        string   `arg:"" optional:"" help:"Only failed files of this project."`
	Representation []string `placeholder:"ID" help:"Only those of this representation; repeat it for several."`
	AllProjects    bool     `help:"Failed files of all projects."`
	Waiting        bool     `help:"Also files that wait for their next try, not only those that have no tries left."`
	DryRun         bool     `short:"n" help:"Only show what would be done."`
	Output         string   `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`
}

func (retryCmd) Help() string {
	return `Examples:
  sitesync retry MY_PROJECT --dry-run
  sitesync retry MY_PROJECT
  sitesync retry MY_PROJECT --representation 6b050e7f95b3069bbeff69ac
  sitesync retry --all-projects

Fix the cause first: sitesync status MY_PROJECT shows why files have failed. Then this deletes tries, error and
last_failed_dt from their records, of the remote site for uploads and of the active site for downloads, and the sitesync
that runs starts at once. With --direction up or down only uploads or downloads are retried. Files that are synced,
pending or not meant for these sites are not touched.

The exit status is 0 also if there was nothing to do, 1 if something failed, 80 if the command line is wrong.`
}

func (c retryCmd) Validate() error {
	switch {
	case c.Project == "" && !c.AllProjects:
		return errors.New("name a project, or give --all-projects")
	case c.Project != "" && c.AllProjects:
		return errors.New("--all-projects cannot be combined with a project")
	case c.AllProjects && len(c.Representation) > 0:
		return errors.New("--representation requires the name of its project")
	}
	return nil
}

func (c retryCmd) Run(ctx context.Context, e *env) error {
	directions, err := e.directions()
	if err != nil {
		return err
	}
	projects, err := e.projects(ctx, c.Project)
	if err != nil {
		return err
	}
	retry := avalon.Retry{MinTries: e.cfg.RetryCount}
	none := "no file has failed for good"
	if c.Waiting {
		retry.MinTries, none = 1, "no file has failed"
	}
	for _, text := range c.Representation {
		key, _, err := e.store.Find(ctx, c.Project, text)
		if errors.Is(err, avalon.ErrNotFound) {
			return fmt.Errorf("project %s has no representation %s", c.Project, text)
		}
		if key.ID.IsZero() {
			return err
		}
		retry.Representations = append(retry.Representations, key.ID)
	}
	out := newBulkResult(daemon.Rules(e.cfg, directions[0]).To, c.DryRun)
	for _, project := range projects {
		retry.EditOptions = out.options(project)
		var done avalon.EditResult
		var err error
		for _, d := range directions {
			retry.Site = daemon.Rules(e.cfg, d).To
			var some avalon.EditResult
			some, err = e.store.Retry(ctx, project, retry)
			if done.Add(some); err != nil {
				break
			}
		}
		if done.Files > 0 || err != nil || c.Project != "" || ctx.Err() != nil {
			out.add(ctx, project, done, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return out.write(c.Output, "are pending again", "would be pending again", none)
}

// bulkResult is what a command has changed in the documents, or would change. Its JSON is for scripts: fields may be
// added, but none changes or goes.
type bulkResult struct {
	Site     string            `json:"site"` // whose records; of retry, of the first direction
	DryRun   bool              `json:"dry_run"`
	Projects []editedProject   `json:"projects"` // in which something was changed, or could not be
	Total    avalon.EditResult `json:"total"`    // without examples

	progress *progressPrinter
}

// newBulkResult returns an empty result, and shows the progress until it is written.
func newBulkResult(site string, dryRun bool) *bulkResult {
	return &bulkResult{Site: site, DryRun: dryRun, Projects: []editedProject{},
		progress: startProgress(os.Stderr, isTerminal(os.Stderr))}
}

// options are those of an edit of a project.
func (b *bulkResult) options(project string) avalon.EditOptions {
	return avalon.EditOptions{DryRun: b.DryRun, OnProgress: func(e avalon.EditResult) {
		b.progress.set("%s: %s ...", sanitize(project), edited(e))
	}}
}

type editedProject struct {
	Project string `json:"project"`
	avalon.EditResult
	WithoutSites int64  `json:"without_sites,omitempty"` // files that are left alone
	Error        string `json:"error,omitempty"`
}

// add adds the result of a project.
func (b *bulkResult) add(ctx context.Context, project string, done avalon.EditResult, err error) *editedProject {
	row := editedProject{Project: project, EditResult: done}
	if ctx.Err() != nil {
		err = errors.New("interrupted; do it again to go on")
	}
	if err != nil {
		row.Error = err.Error()
	}
	b.Total.Representations += row.Representations
	b.Total.Files += row.Files
	b.Projects = append(b.Projects, row)
	return &b.Projects[len(b.Projects)-1]
}

// edited is how much was edited, or would be.
func edited(e avalon.EditResult) string {
	return explain.Plural(e.Files, "file") + " of " + explain.Plural(e.Representations, "representation")
}

// write prints the result: so many files "are pending again", or "would be".
func (b *bulkResult) write(output, did, would, none string) error {
	b.progress.stop()
	failed := slices.ContainsFunc(b.Projects, func(p editedProject) bool { return p.Error != "" })
	return writeResult(output, b, b.text(did, would, none), !failed)
}

func (b *bulkResult) text(did, would, none string) string {
	var text strings.Builder
	for _, p := range b.Projects {
		name := sanitize(p.Project)
		what := edited(p.EditResult)
		switch {
		case p.Files == 0:
			fmt.Fprintf(&text, "%s: %s\n", name, none)
		case b.DryRun:
			fmt.Fprintf(&text, "%s: %s %s, such as\n", name, what, would)
			for _, path := range p.Examples {
				fmt.Fprintf(&text, "  %s\n", sanitize(path))
			}
		default:
			fmt.Fprintf(&text, "%s: %s %s\n", name, what, agree(p.Files, did))
		}
		if p.WithoutSites > 0 {
			fmt.Fprintf(&text, "%s: %s %s no sites at all, from before Pype had sites: left alone\n",
				name, explain.Plural(p.WithoutSites, "file"), agree(p.WithoutSites, "have"))
		}
		if p.Error != "" {
			fmt.Fprintf(&text, "%s: %s\n", name, sanitize(p.Error))
		}
	}
	if len(b.Projects) == 0 {
		fmt.Fprintln(&text, none)
	}
	if len(b.Projects) > 1 {
		fmt.Fprintf(&text, "total: %s\n", edited(b.Total))
	}
	return text.String()
}
