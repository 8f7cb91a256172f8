package command

import (
	"context"
	"errors"
	"fmt"

	"sitesync/avalon"
)

type retryCmd struct {
	Project        string   `arg:"" optional:"" help:"Only failed files of this project."`
	Representation []string `placeholder:"ID" help:"Only those of this representation; repeat it for several."`
	AllProjects    bool     `help:"Failed files of all projects."`
	Waiting        bool     `help:"Also files that wait for their next try, not only those that have no tries left."`
	DryRun         bool     `short:"n" help:"Only show what would be done."`
	Output         string   `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`
}

// Help is shown below the summary of the command.
func (retryCmd) Help() string {
	return `Examples:
  sitesync retry MY_PROJECT --dry-run
  sitesync retry MY_PROJECT
  sitesync retry MY_PROJECT --representation 6b050e7f95b3069bbeff69ac
  sitesync retry --all-projects

Fix the cause first: sitesync status MY_PROJECT shows why files have failed. Then this deletes tries, error and
last_failed_dt from their records of the remote site, and the sitesync that runs starts at once. Files that are synced,
pending or not published to this site are not touched.

The exit status is 0 also if there was nothing to do, 1 if something failed, 80 if the command line is wrong.`
}

// Validate is called by kong.
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

// Run is sitesync retry.
func (c retryCmd) Run(ctx context.Context, e *env) error {
	site, err := e.remote()
	if err != nil {
		return err
	}
	projects, err := e.projects(ctx, c.Project)
	if err != nil {
		return err
	}
	retry := avalon.Retry{Site: site, MinTries: e.cfg.RetryCount}
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
	out := newBulkResult(site, c.DryRun)
	for _, project := range projects {
		retry.EditOptions = out.options(project)
		done, err := e.store.Retry(ctx, project, retry)
		if done.Files > 0 || err != nil || c.Project != "" {
			out.add(ctx, project, done, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return out.write(c.Output, "are pending again", "would be pending again", none)
}
