package command

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/duration"
	"sitesync/explain"
	"sitesync/state"
	"sitesync/uploader"
)

type statusCmd struct {
	Project string `arg:"" optional:"" help:"Only this project, and its failed files."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"table (the default) or json."`
	Limit   int    `default:"20" placeholder:"N" help:"How many failed files of PROJECT are listed, default 20."`
}

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

	rules := daemon.Rules(e.cfg, config.Up)
	progress("reading %d projects ...", len(projects))
	rows := make([]projectStatus, len(projects))
	var reading errgroup.Group
	reading.SetLimit(2) // the server has other work to do
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

func (c statusCmd) project(ctx context.Context, e *env, name string, rules avalon.Rules, now time.Time,
) (row projectStatus) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // bounds the work of the server too
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
		row.FailedFiles = failedFiles(failed)
	}
	if err != nil {
		row.Error = err.Error()
	}
	return row
}

// unfitFiles finds the pending files of a project that the settings do not fit.
func (e *env) unfitFiles(ctx context.Context, project string) ([]unfit, error) {
	remote, _ := e.cfg.Remote()
	uses, err := e.store.RootUses(ctx, project, daemon.Rules(e.cfg, config.Up).Route)
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

// status is the result of sitesync status. Its JSON is for scripts: fields may be added, but none changes or goes.
type status struct {
	At         time.Time       `json:"at"`
	ActiveSite string          `json:"active_site"`
	RemoteSite string          `json:"remote_site"` // "": nothing is synced
	Sitesync   leaseHolder     `json:"sitesync"`
	Paused     []state.Pause   `json:"paused"`
	Projects   []projectStatus `json:"projects"`
	Total      avalon.Stats    `json:"total"`
}

// leaseHolder is the process that syncs.
type leaseHolder struct {
	Runs   bool      `json:"runs"`
	Host   string    `json:"host,omitempty"` // of the last one, if none runs
	PID    int       `json:"pid,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Stream string    `json:"stream,omitempty"` // open, closed or not available
	Held   []string  `json:"held"`             // what holds uploads up
	Error  string    `json:"error,omitempty"`  // why this could not be read
}

type projectStatus struct {
	Project string `json:"project"`
	avalon.Stats
	FailedFiles []failedFile `json:"failed_files,omitempty"`
	Unfit       []unfit      `json:"unfit,omitempty"` // files that are held, as the settings do not fit them
	Error       string       `json:"error,omitempty"` // why the project could not be read
}

// unfit are files that the settings do not fit, as seen from this machine.
type unfit struct {
	Files  int64  `json:"files"`
	Reason string `json:"reason"`
}

type failedFile struct {
	Representation string    `json:"representation"`
	Path           string    `json:"path"`
	Tries          int       `json:"tries"`
	Error          string    `json:"error"`
	LastFailed     time.Time `json:"last_failed,omitzero"`
}

func failedFiles(all []avalon.FailedFile) (list []failedFile) {
	for _, f := range all {
		list = append(list, failedFile{f.Key.ID.String(), f.Path, f.Tries, f.Error, f.LastFailed})
	}
	return list
}

// leaseHolderOf is the process that holds the lease, or was the last one.
func leaseHolderOf(info *state.LeaseInfo, err error) leaseHolder {
	h := leaseHolder{Held: []string{}}
	if err != nil {
		h.Error = err.Error()
	}
	if info != nil {
		h.Host, h.PID, h.Runs = info.Holder.Host, info.Holder.PID, info.Active()
	}
	if h.Runs {
		h.Since, h.Stream = info.Holder.Since.UTC(), info.Status.Stream
		for _, hold := range explain.Holds(info.Status) {
			h.Held = append(h.Held, hold.String())
		}
	}
	return h
}

// incomplete reports whether something could not be read.
func (s *status) incomplete() bool {
	return s.Sitesync.Error != "" ||
		slices.ContainsFunc(s.Projects, func(p projectStatus) bool { return p.Error != "" })
}

// text is the status for people.
func (s *status) text(color bool) string {
	t := styledText{color: color}
	if s.RemoteSite == "" {
		t.line(nothingSynced)
		return t.String()
	}
	t.holder(s)
	t.paused(s)
	t.line("")
	if len(s.Projects) == 0 {
		t.line("no project has files for site %s", s.RemoteSite)
		return t.String()
	}
	t.projects(s)
	for _, p := range s.Projects {
		name := sanitize(p.Project)
		if p.Error != "" {
			t.line("%s: %s", t.style(red, name), sanitize(p.Error))
		}
		note := func(st style, files int64, text string) {
			if files > 0 {
				t.line("%s: %s file(s) %s", t.style(st, name), humanize.Comma(files), text)
			}
		}
		note(plain, p.Paused.Files, "are paused in their records, and are left alone until paused is removed")
		for _, u := range p.Unfit {
			note(red, u.Files, "are held, as the settings do not fit: "+sanitize(u.Reason))
		}
		note(plain, p.SourceMissing.Files, "are not on site "+s.ActiveSite+", so there is nothing to upload yet")
		note(red, p.Invalid.Files, "have an invalid record; the log of sitesync says why")
	}
	for _, p := range s.Projects {
		t.failed(p, s.At)
	}
	return t.String()
}

// holder shows which process syncs, and what it holds.
func (t *styledText) holder(s *status) {
	w, none := s.Sitesync, t.style(red, "no sitesync runs for site "+s.RemoteSite)
	switch {
	case w.Error != "":
		t.line("sitesync  %s", t.style(red, "cannot read which process syncs: "+sanitize(w.Error)))
		return
	case !w.Runs && w.Host == "":
		t.line("sitesync  %s", none)
		return
	case !w.Runs:
		t.line("sitesync  %s; the last one was process %d on %s", none, w.PID, sanitize(w.Host))
		return
	}
	t.line("sitesync  process %d on %s syncs to site %s, since %s (%s)", w.PID, sanitize(w.Host), s.RemoteSite,
		w.Since.Local().Format(time.DateTime), duration.Rough(s.At.Sub(w.Since)))
	stream := t.style(green, w.Stream)
	if w.Stream != "open" {
		stream = t.style(yellow, sanitize(w.Stream)+"; publishes are found by the poll only")
	}
	t.line("stream    %s", stream)
	if len(w.Held) == 0 {
		t.line("held      nothing")
	}
	for _, held := range w.Held {
		t.line("held      %s", t.style(red, sanitize(held)))
	}
}

func (t *styledText) paused(s *status) {
	for _, p := range s.Paused {
		why := ""
		if p.Why != "" {
			why = ": " + sanitize(p.Why)
		}
		what, _ := explain.PauseSubject(s.RemoteSite, sanitize(p.Project))
		t.line("paused    %s, by %s, %s ago%s", t.style(yellow, what), sanitize(p.By),
			duration.Rough(s.At.Sub(p.Since)), why)
	}
}

func (t *styledText) projects(s *status) {
	header := []cell{{"PROJECT", bold}, {"PENDING", bold}, {"WAITING", bold}, {"FAILED", bold}, {"SYNCED", bold},
		{"TO UPLOAD", bold}, {"UPLOADED", bold}, {"OLDEST", bold}}
	rows := [][]cell{header}
	row := func(name string, c avalon.Stats, st style) {
		files := func(n int64, st style) cell {
			if n == 0 {
				st = plain
			}
			return cell{humanize.Comma(n), st}
		}
		oldest := ""
		if !c.Oldest.IsZero() {
			oldest = duration.Rough(s.At.Sub(c.Oldest))
		}
		left := c.Pending
		left.Add(c.BackingOff)
		rows = append(rows, []cell{{sanitize(name), st}, files(c.Pending.Files, plain),
			files(c.BackingOff.Files, yellow), files(c.Failed.Files, red), files(c.Synced.Files, green),
			{humanize.IBytes(uint64(left.Bytes)), plain}, {humanize.IBytes(uint64(c.Synced.Bytes)), plain},
			{oldest, plain}})
	}
	for _, p := range s.Projects {
		if p.Error == "" || !p.Stats.IsZero() {
			row(p.Project, p.Stats, plain)
		} else {
			unknown := slices.Repeat([]cell{{"?", red}}, len(header)-1)
			rows = append(rows, append([]cell{{sanitize(p.Project), red}}, unknown...))
		}
	}
	if len(s.Projects) > 1 {
		row("total", s.Total, bold)
	}
	t.table(rows)
}

// failed lists the failed files of a project, if they were asked for.
func (t *styledText) failed(p projectStatus, now time.Time) {
	if len(p.FailedFiles) == 0 {
		return
	}
	t.line("\n%s, the most recent first; fix the cause, then retry: sitesync retry %s",
		t.style(bold, "failed files of "+sanitize(p.Project)), explain.ShellQuote(p.Project))
	for _, f := range p.FailedFiles {
		when := ""
		if !f.LastFailed.IsZero() {
			when = ", " + duration.Rough(now.Sub(f.LastFailed)) + " ago"
		}
		t.line("  %s\n      representation %s, %d tries%s: %s", sanitize(f.Path), sanitize(f.Representation), f.Tries,
			when, t.style(red, sanitize(cmp.Or(f.Error, "no error is recorded"))))
	}
	if more := p.Failed.Files - int64(len(p.FailedFiles)); more > 0 {
		t.line("  ... and %s more (--limit)", humanize.Comma(more))
	}
}
