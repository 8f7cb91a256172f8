package command

import (
	"context"
	"fmt"
	"time"

	"sitesync/config"
	"sitesync/explain"
	"sitesync/state"
)

type pauseCmd struct {
	Project string `arg:"" optional:"" help:"Only this project; without it, all."`
	Why     string `placeholder:"TEXT" help:"The reason, for others to read."`
}

func (pauseCmd) Help() string {
	return `Examples:
  sitesync pause --why 'the line is needed for the dailies'
  sitesync pause MY_PROJECT
  sitesync pause --direction up

Within a second no new upload or download begins; running ones finish. With --direction up or down only those are
paused. It concerns the transfers between the active site and the remote one, on whichever machine: an artist's machine
with another active_site goes on. A pause outlasts restarts, until sitesync resume. It costs no file a try, and a paused
project does not keep others from being synced. sitesync status, check, the log and the metrics show what is paused.`
}

func (c pauseCmd) Run(ctx context.Context, e *env) error {
	directions, err := e.directions()
	if err != nil {
		return err
	}
	if _, err := e.projects(ctx, c.Project); err != nil {
		return err
	}
	pause := state.Pause{Project: c.Project, By: state.Person(), Since: time.Now(), Why: c.Why}
	for _, d := range directions {
		if err := e.state.Pauses(e.leaseName(d)).Set(ctx, pause); err != nil {
			return err
		}
	}
	_, resume := explain.PauseSubject(e.cfg.RemoteSite, sanitize(c.Project))
	what, is, _ := pausedTransfers(directions, e.cfg.RemoteSite, c.Project)
	fmt.Printf("%s %s paused: running transfers finish, no other begins until %s\n", what, is, resume)
	return nil
}

// pausedTransfers are what a pause in these directions concerns, with its verbs: "site gdrive", "is", "was".
func pausedTransfers(directions []config.Direction, site, project string) (what, is, was string) {
	if len(directions) == 1 {
		return explain.PausedTransfers(directions[0], site, sanitize(project)), "are", "were"
	}
	what, _ = explain.PauseSubject(site, sanitize(project))
	return what, "is", "was"
}

type resumeCmd struct {
	Project string `arg:"" optional:"" help:"The project; without it, what was paused as a whole."`
}

func (resumeCmd) Help() string {
	return `Examples:
  sitesync resume
  sitesync resume MY_PROJECT
  sitesync resume --direction up

What was published meanwhile is looked for at once. Projects that were paused by name stay paused when the site is
resumed: sitesync status shows them. The exit status is 0 also if it was not paused.`
}

func (c resumeCmd) Run(ctx context.Context, e *env) error {
	directions, err := e.directions()
	if err != nil {
		return err
	}
	paused := false
	for _, d := range directions {
		found, err := e.state.Pauses(e.leaseName(d)).Clear(ctx, c.Project)
		if err != nil {
			return e.explain(err)
		}
		paused = paused || found
	}
	if !paused {
		if _, err := e.projects(ctx, c.Project); err != nil { // a typo
			return err
		}
	}
	what, is, was := pausedTransfers(directions, e.cfg.RemoteSite, c.Project)
	if paused {
		fmt.Println(what, is, "resumed")
	} else {
		fmt.Println(what, was, "not paused")
	}
	var routes []route
	for _, d := range []config.Direction{config.Up, config.Down} {
		paused, err := e.state.Pauses(e.leaseName(d)).List(ctx)
		if err != nil {
			return err
		}
		routes = append(routes, route{routeStatus: routeStatus{Paused: paused}, direction: d})
	}
	for _, p := range mergePauses(e.cfg.RemoteSite, routes) {
		fmt.Printf("%s %s still paused, by %s: %s\n", p.subject, p.verb, sanitize(p.By), p.resume)
	}
	return nil
}
