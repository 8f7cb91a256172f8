package command

import (
	"context"
	"fmt"
	"time"

	"sitesync/explain"
	"sitesync/state"
)

type pauseCmd struct {
	Project string `arg:"" optional:"" help:"Only this project; without it, all of the remote site."`
	Why     string `placeholder:"TEXT" help:"The reason, for others to read."`
}

func (pauseCmd) Help() string {
	return `Examples:
  sitesync pause --why 'the line is needed for the dailies'
  sitesync pause MY_PROJECT

Within a second no new upload begins; running ones finish. A pause outlasts restarts, until sitesync resume. It costs no
file a try, and a paused project does not keep others from being synced. sitesync status, check, the log and the metrics
show what is paused.`
}

func (c pauseCmd) Run(ctx context.Context, e *env) error {
	pauses, err := e.pauses()
	if err != nil {
		return err
	}
	if _, err := e.projects(ctx, c.Project); err != nil {
		return err
	}
	pause := state.Pause{Project: c.Project, By: state.Person(), Since: time.Now(), Why: c.Why}
	if err := pauses.Set(ctx, pause); err != nil {
		return err
	}
	what, resume := explain.PauseSubject(e.cfg.RemoteSite, sanitize(c.Project))
	fmt.Printf("%s is paused: running uploads finish, no other begins until %s\n", what, resume)
	return nil
}

type resumeCmd struct {
	Project string `arg:"" optional:"" help:"The project; without it, the remote site as a whole."`
}

func (resumeCmd) Help() string {
	return `Examples:
  sitesync resume
  sitesync resume MY_PROJECT

What was published meanwhile is looked for at once. Projects that were paused by name stay paused when the site is
resumed: sitesync status shows them. The exit status is 0 also if it was not paused.`
}

func (c resumeCmd) Run(ctx context.Context, e *env) error {
	pauses, err := e.pauses()
	if err != nil {
		return err
	}
	paused, err := pauses.Clear(ctx, c.Project)
	if err != nil {
		return e.explain(err)
	}
	if !paused {
		if _, err := e.projects(ctx, c.Project); err != nil { // a typo
			return err
		}
	}
	what, _ := explain.PauseSubject(e.cfg.RemoteSite, sanitize(c.Project))
	fmt.Println(what, map[bool]string{true: "is resumed", false: "was not paused"}[paused])
	left, err := pauses.List(ctx)
	for _, p := range left {
		what, resume := explain.PauseSubject(e.cfg.RemoteSite, sanitize(p.Project))
		fmt.Printf("%s is still paused, by %s: %s\n", what, sanitize(p.By), resume)
	}
	return err
}
