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

PENDING files are transferred now or next, WAITING ones wait for their next try, FAILED ones have no tries left.
TO UPLOAD is the size of the pending and waiting ones, OLDEST the time since the first of them was published. Downloads
have a table of their own, if this machine has a local_root or some process downloads.

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
		Directions: append([]config.Direction{}, e.cfg.Directions()...), Projects: []projectStatus{}}
	s.Sitesync.Held, s.Paused = []string{}, []state.Pause{}
	if s.RemoteSite == "" {
		return s, nil
	}
	projects, err := e.projects(ctx, c.Project)
	if err != nil {
		return nil, err
	}
	for _, d := range []config.Direction{config.Up, config.Down} {
		r := readRoute(ctx, e, d)
		switch {
		case r.off != "" && !r.known:
			s.off = append(s.off, r)
			continue
		case d == config.Up:
			s.Sitesync, s.Paused = r.Sitesync, r.Paused
		default:
			s.Download = &downloads{routeStatus: r.routeStatus}
		}
		s.routes = append(s.routes, r)
	}

	progress("reading %d projects ...", len(projects))
	rows := make([]projectStatus, len(projects))
	var reading errgroup.Group
	reading.SetLimit(2) // the server has other work to do
	var done atomic.Int64
	for i, project := range projects {
		reading.Go(func() error {
			rows[i] = c.project(ctx, e, project, s)
			progress("reading the projects, %d of %d done ...", done.Add(1), len(projects))
			return nil
		})
	}
	_ = reading.Wait() // each error is in its row
	for _, row := range rows {
		s.Total.Add(row.Stats)
		if row.Download != nil {
			s.Download.Total.Add(*row.Download)
		}
		if !row.Stats.IsZero() || row.toDownload() || row.Error != "" || c.Project != "" {
			s.Projects = append(s.Projects, row)
		}
	}
	return s, nil
}

// readRoute reads which process works on a route, and what is paused there.
func readRoute(ctx context.Context, e *env, d config.Direction) route {
	r := route{direction: d, off: e.cfg.WhyOff(d)}
	info, err := e.state.LeaseInfo(ctx, e.leaseName(d))
	r.Sitesync = leaseHolderOf(info, err)
	r.known = info != nil
	paused, err := e.state.Pauses(e.leaseName(d)).List(ctx)
	r.Paused = append([]state.Pause{}, paused...)
	if err != nil && r.Sitesync.Error == "" {
		r.Sitesync.Error = err.Error()
	}
	return r
}

func (c statusCmd) project(ctx context.Context, e *env, name string, s *status) (row projectStatus) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // bounds the work of the server too
	defer cancel()
	row.Project = name
	for _, r := range s.routes {
		if err := c.count(ctx, e, &row, r.direction, s.At); err != nil {
			row.Error = err.Error()
			break
		}
	}
	return row
}

// count adds what there is to say of a project in one direction.
func (c statusCmd) count(ctx context.Context, e *env, row *projectStatus, d config.Direction, now time.Time) error {
	rules := daemon.Rules(e.cfg, d)
	stats, err := e.store.Stats(ctx, row.Project, rules, now)
	if err != nil {
		return err
	}
	if d == config.Down {
		row.Download = &stats
	} else {
		row.Stats = stats
	}
	// Without a local root it is another machine that downloads.
	if stats.Pending.Files+stats.BackingOff.Files > 0 && (d == config.Up || len(e.cfg.LocalRoot) > 0) {
		misfits, err := e.unfitFiles(ctx, row.Project, d)
		if err != nil {
			return err
		}
		row.Unfit = append(row.Unfit, misfits...)
	}
	if c.Project != "" && stats.Failed.Files > 0 {
		failed, err := e.store.Failed(ctx, row.Project, rules, c.Limit)
		if err != nil {
			return err
		}
		row.FailedFiles = append(row.FailedFiles, failedFiles(failed, d)...)
	}
	return nil
}

// unfitFiles finds the pending files of a project that the settings do not fit.
func (e *env) unfitFiles(ctx context.Context, project string, d config.Direction) ([]unfit, error) {
	remote, _ := e.cfg.Remote()
	uses, err := e.store.RootUses(ctx, project, daemon.Rules(e.cfg, d).Route)
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
		all = append(all, unfit{d, files[reason], reason})
	}
	return all, nil
}

// status is the result of sitesync status. Its JSON is for scripts: fields may be added, but none changes or goes. What
// is not in Download is of the uploads.
type status struct {
	At         time.Time          `json:"at"`
	ActiveSite string             `json:"active_site"`
	RemoteSite string             `json:"remote_site"` // "": nothing is synced
	Directions []config.Direction `json:"directions"`  // that are synced with the settings of this machine
	routeStatus
	Projects []projectStatus `json:"projects"`
	Total    avalon.Stats    `json:"total"`
	Download *downloads      `json:"download,omitempty"` // nil if nothing is downloaded

	routes []route // that there is something to say of, the one up first
	off    []route // the others
}

// downloads are the status of the route down.
type downloads struct {
	routeStatus
	Total avalon.Stats `json:"total"`
}

// routeStatus is what does not depend on projects.
type routeStatus struct {
	Sitesync leaseHolder   `json:"sitesync"`
	Paused   []state.Pause `json:"paused"`
}

// route is a direction, for the text.
type route struct {
	routeStatus
	direction config.Direction
	off       string // why nothing is synced in this direction with the settings of this machine; empty if it is
	known     bool   // some process has synced in this direction, or does
}

// leaseHolder is the process that syncs.
type leaseHolder struct {
	Runs   bool      `json:"runs"`
	Host   string    `json:"host,omitempty"` // of the last one, if none runs
	PID    int       `json:"pid,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Stream string    `json:"stream,omitempty"` // open, closed or not available
	Held   []string  `json:"held"`             // what holds transfers up
	Error  string    `json:"error,omitempty"`  // why this could not be read
}

type projectStatus struct {
	Project string `json:"project"`
	avalon.Stats
	Download    *avalon.Stats `json:"download,omitempty"` // nil if nothing is downloaded
	FailedFiles []failedFile  `json:"failed_files,omitempty"`
	Unfit       []unfit       `json:"unfit,omitempty"` // files that are held, as the settings do not fit them
	Error       string        `json:"error,omitempty"` // why the project could not be read
}

// toDownload reports whether the active site waits for files of the project.
func (p *projectStatus) toDownload() bool {
	if p.Download == nil {
		return false
	}
	waits := *p.Download
	waits.Synced = avalon.FileCount{} // which are also those that were published there
	return !waits.IsZero()
}

// unfit are files that the settings do not fit, as seen from this machine.
type unfit struct {
	Direction config.Direction `json:"direction"`
	Files     int64            `json:"files"`
	Reason    string           `json:"reason"`
}

type failedFile struct {
	Direction      config.Direction `json:"direction"`
	Representation string           `json:"representation"`
	Path           string           `json:"path"`
	Tries          int              `json:"tries"`
	Error          string           `json:"error"`
	LastFailed     time.Time        `json:"last_failed,omitzero"`
}

func failedFiles(all []avalon.FailedFile, d config.Direction) (list []failedFile) {
	for _, f := range all {
		list = append(list, failedFile{d, f.Key.ID.String(), f.Path, f.Tries, f.Error, f.LastFailed})
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
	return s.Sitesync.Error != "" || s.Download != nil && s.Download.Sitesync.Error != "" ||
		slices.ContainsFunc(s.Projects, func(p projectStatus) bool { return p.Error != "" })
}

// text is the status for people.
func (s *status) text(color bool) string {
	t := styledText{color: color}
	if s.RemoteSite == "" {
		t.line(nothingSynced)
		return t.String()
	}
	t.holders(s)
	t.pauses(s)
	for _, r := range s.off {
		t.line("%-9s off: %s", r.direction.Noun()+"s", sanitize(r.off))
	}
	for _, r := range s.routes {
		if r.off != "" && !r.Sitesync.Runs && r.Sitesync.Error == "" {
			t.line("%-9s off on this machine: %s", r.direction.Noun()+"s", sanitize(r.off))
		}
	}
	t.line("")
	if len(s.Projects) == 0 {
		t.line("no project has files for site %s", s.RemoteSite)
		return t.String()
	}
	for i, r := range s.routes {
		if i > 0 {
			t.line("")
		}
		if r.direction == config.Down {
			t.downloads(s)
		} else {
			t.uploads(s)
		}
	}
	for _, p := range s.Projects {
		name := sanitize(p.Project)
		if p.Error != "" {
			t.line("%s: %s", t.style(red, name), sanitize(p.Error))
		}
		note := func(st style, n int64, noun, does string) {
			if n > 0 {
				t.line("%s: %s %s", t.style(st, name), explain.Plural(n, noun), agree(n, does))
			}
		}
		note(plain, p.Paused.Files, "file", pausedFiles)
		for _, u := range p.Unfit {
			note(red, u.Files, what(u.Direction),
				"are held, as the settings do not fit: "+sanitize(u.Reason))
		}
		note(plain, p.SourceMissing.Files, "file",
			"are not on site "+s.ActiveSite+", so there is nothing to upload yet")
		note(red, p.Invalid.Files, "file", invalidFiles)
		if d := p.Download; d != nil {
			note(plain, d.Paused.Files, "download", pausedFiles)
			note(plain, d.SourceMissing.Files, "download", "wait until the file is on site "+s.RemoteSite)
			note(red, d.Invalid.Files, "download", invalidFiles)
		}
	}
	for _, p := range s.Projects {
		t.failed(p, s.At)
	}
	return t.String()
}

// What may be the case with files, after their number.
const (
	pausedFiles  = "have paused set in the record, and nothing is transferred until that is removed"
	invalidFiles = "have an invalid record; the log of sitesync says why"
)

// what a file of a direction is called, after a number.
func what(d config.Direction) string {
	if d == config.Down {
		return "download"
	}
	return "file"
}

// syncs is what a process does that works on a route.
func (s *status) syncs(d config.Direction) string {
	switch {
	case d == config.Down:
		return "downloads from site " + s.RemoteSite
	case len(s.routes) > 1:
		return "uploads to site " + s.RemoteSite
	}
	return "syncs to site " + s.RemoteSite
}

// sameProcess reports whether two routes have the same process, or none, or cannot be read for the same reason.
func (h leaseHolder) sameProcess(other leaseHolder) bool {
	return h.Runs == other.Runs && (h.Host == other.Host && h.PID == other.PID || !h.Runs && other.Host == "") &&
		h.Error == other.Error
}

// streamStart is how long a process that has just begun may take to open the change stream, and to report that.
const streamStart = 10 * time.Second

// holders shows which process syncs, and what it holds: that of both directions in one line.
func (t *styledText) holders(s *status) {
	if len(s.routes) == 2 && s.routes[0].Sitesync.sameProcess(s.routes[1].Sitesync) {
		t.holder(s, s.routes[0].Sitesync, "no sitesync runs for site "+s.RemoteSite, "syncs both ways with site "+
			s.RemoteSite)
	} else {
		for _, r := range s.routes {
			nobody := "no sitesync runs for site " + s.RemoteSite
			if len(s.routes) > 1 || r.direction == config.Down {
				nobody = "no sitesync " + s.syncs(r.direction)
			}
			t.holder(s, r.Sitesync, nobody, s.syncs(r.direction))
		}
	}
	runs := slices.ContainsFunc(s.routes, func(r route) bool { return r.Sitesync.Runs && r.Sitesync.Error == "" })
	if !runs {
		return
	}
	t.ofRoutes("stream", s, func(h leaseHolder) []string {
		if h.Stream == "open" {
			return []string{t.style(green, h.Stream)}
		}
		if s.At.Sub(h.Since) < streamStart {
			return []string{"not open yet; publishes are found by the poll"}
		}
		return []string{t.style(yellow, sanitize(h.Stream)+"; publishes are found by the poll only")}
	})
	held := func(h leaseHolder) (all []string) {
		for _, held := range h.Held {
			all = append(all, t.style(red, sanitize(held)))
		}
		return all
	}
	if !t.ofRoutes("held", s, held) {
		t.line("held      nothing")
	}
}

// holder shows a process.
func (t *styledText) holder(s *status, h leaseHolder, nobody, syncs string) {
	switch none := t.style(red, nobody); {
	case h.Error != "":
		t.line("sitesync  %s", t.style(red, "cannot read which process syncs: "+sanitize(h.Error)))
	case !h.Runs && h.Host == "":
		t.line("sitesync  %s", none)
	case !h.Runs:
		t.line("sitesync  %s; the last one was process %d on %s", none, h.PID, sanitize(h.Host))
	default:
		t.line("sitesync  process %d on %s %s, since %s (%s)", h.PID, sanitize(h.Host), syncs,
			h.Since.Local().Format(time.DateTime), duration.Rough(s.At.Sub(h.Since)))
	}
}

// ofRoutes shows what is the case with the processes of the routes, a line each, and reports whether that is anything.
// Of two directions, what is the case with one alone is said to be.
func (t *styledText) ofRoutes(label string, s *status, texts func(leaseHolder) []string) (any bool) {
	var running []route
	for _, r := range s.routes {
		if r.Sitesync.Runs && r.Sitesync.Error == "" {
			running = append(running, r)
		}
	}
	for i, r := range running {
		for _, text := range texts(r.Sitesync) {
			any = true
			if len(s.routes) > 1 {
				isShared := len(running) == 2 && slices.Contains(texts(running[1-i].Sitesync), text)
				if isShared && i > 0 {
					continue
				}
				if !isShared {
					text = r.direction.Noun() + "s: " + text
				}
			}
			t.line("%-9s %s", label, text)
		}
	}
	return any
}

// pauseOf is a pause of one direction, or of both.
type pauseOf struct {
	state.Pause
	subject, verb string // such as "site gdrive", "is"
	resume        string // the command that ends it
}

// mergePauses returns the pauses of all routes, and what is paused in both directions once.
func mergePauses(site string, routes []route) (all []pauseOf) {
	for i, r := range routes {
		for _, p := range r.Paused {
			both := len(routes) > 1 && slices.ContainsFunc(routes[1-i].Paused, func(other state.Pause) bool {
				return p.Project == other.Project && p.By == other.By && p.Why == other.Why
			})
			if both && i > 0 {
				continue
			}
			of, resume := explain.PauseSubject(site, sanitize(p.Project))
			verb := "is"
			if !both && len(routes) > 1 {
				of, verb = explain.PausedTransfers(r.direction, site, sanitize(p.Project)), "are"
			}
			all = append(all, pauseOf{p, of, verb, resume})
		}
	}
	return all
}

// pauses shows what is paused.
func (t *styledText) pauses(s *status) {
	for _, p := range mergePauses(s.RemoteSite, s.routes) {
		why := ""
		if p.Why != "" {
			why = ": " + sanitize(p.Why)
		}
		t.line("paused    %s, by %s, %s ago%s", t.style(yellow, p.subject), sanitize(p.By),
			duration.Rough(s.At.Sub(p.Since)), why)
	}
}

// uploads shows what is uploaded.
func (t *styledText) uploads(s *status) {
	t.projects(s, s.Projects, "TO UPLOAD", s.Total, func(p projectStatus) avalon.Stats { return p.Stats })
}

// downloads shows what is downloaded, of the projects that have some of it.
func (t *styledText) downloads(s *status) {
	var some []projectStatus
	for _, p := range s.Projects {
		if d := p.Download; d == nil || d.Pending.Files+d.BackingOff.Files+d.Failed.Files > 0 {
			some = append(some, p)
		}
	}
	if len(some) == 0 {
		t.line("nothing to download")
		return
	}
	t.projects(s, some, "TO DOWNLOAD", s.Download.Total, func(p projectStatus) avalon.Stats {
		if p.Download == nil { // it could not be read
			return avalon.Stats{}
		}
		return *p.Download
	})
}

// projects is a table of projects. Only of uploads it says what is done: what a site has, it may have got otherwise.
func (t *styledText) projects(s *status, projects []projectStatus, toDo string, total avalon.Stats,
	stats func(projectStatus) avalon.Stats) {
	uploads := toDo == "TO UPLOAD"
	header := []cell{{"PROJECT", bold}, {"PENDING", bold}, {"WAITING", bold}, {"FAILED", bold}}
	if uploads {
		header = append(header, cell{"SYNCED", bold}, cell{toDo, bold}, cell{"UPLOADED", bold})
	} else {
		header = append(header, cell{toDo, bold})
	}
	header = append(header, cell{"OLDEST", bold})
	rows := [][]cell{header}
	row := func(name string, c avalon.Stats, st style) {
		files := func(n int64, st style) cell {
			if n == 0 {
				st = plain
			}
			return cell{humanize.Comma(n), st}
		}
		bytes := func(n int64) cell { return cell{humanize.IBytes(uint64(n)), plain} }
		left := c.Pending
		left.Add(c.BackingOff)
		cells := []cell{{sanitize(name), st}, files(c.Pending.Files, plain), files(c.BackingOff.Files, yellow),
			files(c.Failed.Files, red)}
		if uploads {
			cells = append(cells, files(c.Synced.Files, green), bytes(left.Bytes), bytes(c.Synced.Bytes))
		} else {
			cells = append(cells, bytes(left.Bytes))
		}
		oldest := ""
		if !c.Oldest.IsZero() {
			oldest = duration.Rough(s.At.Sub(c.Oldest))
		}
		rows = append(rows, append(cells, cell{oldest, plain}))
	}
	for _, p := range projects {
		if c := stats(p); p.Error == "" || !c.IsZero() {
			row(p.Project, c, plain)
		} else {
			unknown := slices.Repeat([]cell{{"?", red}}, len(header)-1)
			rows = append(rows, append([]cell{{sanitize(p.Project), red}}, unknown...))
		}
	}
	if len(projects) > 1 {
		row("total", total, bold)
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
		when, of := "", ""
		if !f.LastFailed.IsZero() {
			when = ", " + duration.Rough(now.Sub(f.LastFailed)) + " ago"
		}
		if f.Direction == config.Down {
			of = "download of "
		}
		t.line("  %s\n      %srepresentation %s, %s%s: %s", sanitize(f.Path), of, sanitize(f.Representation),
			explain.Plural(f.Tries, "try"), when, t.style(red, sanitize(cmp.Or(f.Error, "no error is recorded"))))
	}
	all := p.Failed.Files
	if p.Download != nil {
		all += p.Download.Failed.Files
	}
	if more := all - int64(len(p.FailedFiles)); more > 0 {
		t.line("  ... and %s more (--limit)", humanize.Comma(more))
	}
}
