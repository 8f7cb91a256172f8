package command

import (
	"context"
	"errors"
	"fmt"

	"sitesync/avalon"
	"sitesync/config"
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
func (c retryCmd) Run(ctx context.Context, flags *config.Flags) error {
	return withEnv(flags, func(e *env) error {
		done, err := c.retry(ctx, e)
		if err != nil {
			return err
		}
		none := "no file has failed for good"
		if c.Waiting {
			none = "no file has failed"
		}
		return done.write(c.Output, "are pending again", "would be pending again", none)
	})
}

func (c retryCmd) retry(ctx context.Context, e *env) (*bulkResult, error) {
	site, err := e.remote()
	if err != nil {
		return nil, err
	}
	projects, err := e.projects(ctx, c.Project)
	if err != nil {
		return nil, err
	}
	var ids []avalon.ID
	for _, text := range c.Representation {
		key, _, err := e.store.Find(ctx, c.Project, text)
		if errors.Is(err, avalon.ErrNotFound) {
			return nil, fmt.Errorf("project %s has no representation %s", c.Project, text)
		}
		if key.ID.IsZero() {
			return nil, err
		}
		ids = append(ids, key.ID)
	}
	minTries := e.cfg.RetryCount
	if c.Waiting {
		minTries = 1
	}
	out := newBulkResult(site, c.DryRun)
	defer out.progress.stop()
	for _, project := range projects {
		done, err := e.store.Retry(ctx, project, avalon.Retry{Site: site, MinTries: minTries, Representations: ids,
			EditOptions: avalon.EditOptions{DryRun: c.DryRun, OnProgress: out.onProgress(project)}})
		if ctx.Err() != nil {
			err = errors.New("interrupted; do it again to go on")
		}
		if done.Files > 0 || err != nil || c.Project != "" {
			out.add(project, done, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return out, nil
}
