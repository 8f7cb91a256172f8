package command

import (
	"context"
	"fmt"
	"time"

	"sitesync/config"
	"sitesync/state"
)

type pauseCmd struct {
	Project string `arg:"" optional:"" help:"Only this project; without it, all of the remote site."`
	Why     string `placeholder:"TEXT" help:"What others are told about it."`
}

// Help is shown below the summary of the command.
func (pauseCmd) Help() string {
	return `Examples:
  sitesync pause --why 'the line is needed for the dailies'
  sitesync pause MY_PROJECT

Within a second no new upload begins; those that run finish. It stays so, whatever is restarted, until sitesync resume. No
file loses a try by it, and a paused project does not keep the others from being synced. sitesync status, check, the log and
the metrics show what is paused.`
}

// Run is sitesync pause.
func (c pauseCmd) Run(ctx context.Context, flags *config.Flags) error {
	e, err := openEnv(flags)
	if err != nil {
		return err
	}
	defer e.close()
	pauses, err := e.pauses()
	if err != nil {
		return err
	}
	if _, err := e.projects(ctx, c.Project); err != nil {
		return err
	}
	if err := pauses.Set(ctx, state.Pause{Project: c.Project, By: state.Person(), Since: time.Now(), Why: c.Why}); err != nil {
		return err
	}
	fmt.Printf("%s is paused: running uploads finish, no other begins until sitesync %s\n", e.what(c.Project), resumeOf(c.Project))
	return nil
}

// what is paused, for people.
func (e *env) what(project string) string {
	if project == "" {
		return "site " + e.cfg.RemoteSite
	}
	return "project " + printable(project)
}

// resumeOf is the command that ends a pause.
func resumeOf(project string) string {
	if project == "" {
		return "resume"
	}
	return "resume " + argument(project)
}

type resumeCmd struct {
	Project string `arg:"" optional:"" help:"The project; without it, the remote site as a whole."`
}

// Help is shown below the summary of the command.
func (resumeCmd) Help() string {
	return `Examples:
  sitesync resume
  sitesync resume MY_PROJECT

What was left alone meanwhile is looked for at once. Projects that were paused one by one stay so when the site is resumed:
sitesync status shows them. The exit status is 0 also if it was not paused.`
}

// Run is sitesync resume.
func (c resumeCmd) Run(ctx context.Context, flags *config.Flags) error {
	e, err := openEnv(flags)
	if err != nil {
		return err
	}
	defer e.close()
	pauses, err := e.pauses()
	if err != nil {
		return err
	}
	was, err := pauses.Clear(ctx, c.Project)
	if err != nil {
		return fmt.Errorf("mongo %s: %w", e.cfg.Mongo.URI, e.client.Explain(err))
	}
	if !was {
		if _, err := e.projects(ctx, c.Project); err != nil { // a name that was mistyped
			return err
		}
		fmt.Printf("%s was not paused\n", e.what(c.Project))
	} else {
		fmt.Printf("%s is resumed\n", e.what(c.Project))
	}
	left, err := pauses.List(ctx)
	for _, p := range left {
		fmt.Printf("%s is still paused, by %s: sitesync %s\n", e.what(p.Project), printable(p.By), resumeOf(p.Project))
	}
	return err
}
