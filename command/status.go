package command

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/daemon"
	"sitesync/state"
	"sitesync/uploader"
)

const (
	// readTimeout bounds the reading of one project, in the server too.
	readTimeout = 5 * time.Minute
	// maxReads bounds how many projects are read at once. The server has other work to do.
	maxReads = 2
)

type statusCmd struct {
	Project string `arg:"" optional:"" help:"Only this project, and its failed files."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"table (the default) or json."`
	Limit   int    `default:"20" placeholder:"N" help:"How many failed files of PROJECT are listed, default 20."`
}

// Help is shown below the summary of the command.
func (statusCmd) Help() string {
	return `Examples:
  sitesync status                  which process syncs, what is held, and how far each project is
  sitesync status MY_PROJECT       the same for one project, with its failed files
  sitesync status -o json | jq '.total.failed.files'

PENDING files are uploaded now or next, WAITING ones wait for their next try, FAILED ones have no tries left.
TO UPLOAD is the size of the pending and waiting ones, OLDEST the time since the first of them was published.

Nothing is changed. The exit status is 0 if all could be read, whatever the status is, and 1 if not; 80 if the command
line is wrong.`
}

// Run is sitesync status.
func (c statusCmd) Run(ctx context.Context, e *env) error {
	p := startProgress(os.Stderr, isTerminal(os.Stderr))
	s, err := c.read(ctx, e, p.set)
	p.stop()
	if err != nil {
		return err
	}
	return writeResult(c.Output, s, s.text(colored(os.Stdout)), !s.incomplete())
}

// read reads the status from the two databases.
func (c statusCmd) read(ctx context.Context, e *env, progress func(string, ...any)) (*status, error) {
	s := &status{At: time.Now().UTC(), ActiveSite: e.cfg.ActiveSite, RemoteSite: e.cfg.RemoteSite,
		Sitesync: leaseHolder{Held: []string{}}, Paused: []state.Pause{}, Projects: []projectStatus{}}
	if s.RemoteSite == "" {
		return s, nil
	}
	projects, err := e.projects(ctx, c.Project)
	if err != nil {
		return nil, err
	}
	info, err := e.state.LeaseInfo(ctx, e.leaseName())
	s.Sitesync = leaseHolderOf(info, err)
	paused, err := e.state.Pauses(e.leaseName()).List(ctx)
	s.Paused = append(s.Paused, paused...)
	if err != nil && s.Sitesync.Error == "" {
		s.Sitesync.Error = err.Error()
	}

	rules := daemon.Rules(e.cfg)
	progress("reading %d projects ...", len(projects))
	rows := make([]projectStatus, len(projects))
	var reading errgroup.Group
	reading.SetLimit(maxReads)
	var done atomic.Int64
	for i, project := range projects {
		reading.Go(func() error {
			rows[i] = c.project(ctx, e, project, rules, s.At)
			progress("reading the projects, %d of %d done ...", done.Add(1), len(projects))
			return nil
		})
	}
	_ = reading.Wait() // each error is in its row
	for _, row := range rows {
		s.Total.Add(row.Stats)
		if !row.Stats.IsZero() || row.Error != "" || c.Project != "" {
			s.Projects = append(s.Projects, row)
		}
	}
	return s, nil
}

// project reads one project.
func (c statusCmd) project(ctx context.Context, e *env, name string, rules avalon.Rules, now time.Time,
) (row projectStatus) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row.Project = name
	var err error
	row.Stats, err = e.store.Stats(ctx, name, rules, now)
	if err == nil && row.Pending.Files+row.BackingOff.Files > 0 {
		row.Unfit, err = e.unfitFiles(ctx, name)
	}
	if err == nil && c.Project != "" && row.Failed.Files > 0 {
		var failed []avalon.FailedFile
		failed, err = e.store.Failed(ctx, name, rules, c.Limit)
		for _, f := range failed {
			row.FailedFiles = append(row.FailedFiles,
				failedFile{f.Key.ID.String(), f.Path, f.Tries, f.Error, f.LastFailed})
		}
	}
	if err != nil {
		row.Error = err.Error()
	}
	return row
}

// unfitFiles finds the pending files of a project that the settings do not fit.
func (e *env) unfitFiles(ctx context.Context, project string) ([]unfit, error) {
	remote, _ := e.cfg.Remote()
	uses, err := e.store.RootUses(ctx, project, daemon.Rules(e.cfg).Route)
	if err != nil {
		return nil, err
	}
	files := map[string]int64{}
	for _, u := range uses {
		if err := uploader.Unfit(u.Path, u.Roots, e.cfg.LocalRoot, remote.Root); err != nil {
			files[err.Error()] += u.Files
		}
	}
	var all []unfit
	for _, reason := range slices.Sorted(maps.Keys(files)) {
		all = append(all, unfit{files[reason], reason})
	}
	return all, nil
}
