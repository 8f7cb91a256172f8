package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/duration"
	"sitesync/explain"
	"sitesync/state"
	"sitesync/uploader"
)

const (
	// readTimeout bounds the reading of one project, in the server too.
	readTimeout = 5 * time.Minute
	// readAtOnce is how many projects are read at once. The server has other things to do.
	readAtOnce = 2
	// progressAfter is when somebody at a terminal begins to wonder.
	progressAfter = 2 * time.Second
)

type statusCmd struct {
	Project string `arg:"" optional:"" help:"Only this project, and its failed files."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"table (the default) or json."`
	Limit   int    `default:"20" placeholder:"N" help:"How many failed files of PROJECT are listed, default 20."`
}

// Help is shown below the summary of the command.
func (statusCmd) Help() string {
	return `Examples:
  sitesync status                  who works, what holds uploads up, and how far each project is
  sitesync status MY_PROJECT       the same of one project, with its failed files
  sitesync status -o json | jq '.total.failed.files'

PENDING files are uploaded now or next, WAITING ones are waiting for their next try, FAILED ones have no tries left.
TO UPLOAD is the size of the pending and waiting ones, OLDEST the time since the first of them was published.

Nothing is changed. The exit status is 0 if all could be read, whatever it says, and 1 if not; 80 if the command line
is wrong.`
}

// status is what sitesync status tells. Its JSON is for scripts: fields may come, but none changes or goes.
type status struct {
	At         time.Time       `json:"at"`
	ActiveSite string          `json:"active_site"`
	RemoteSite string          `json:"remote_site"` // "": nothing is synced
	Sitesync   worker          `json:"sitesync"`
	Paused     []pauseStatus   `json:"paused"`
	Projects   []projectStatus `json:"projects"`
	Total      tally           `json:"total"`
}

// worker is the process that works.
type worker struct {
	Runs   bool       `json:"runs"`
	Host   string     `json:"host,omitempty"` // of the last one, if none runs
	PID    int        `json:"pid,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Stream string     `json:"stream,omitempty"` // open, closed or not available
	Held   []string   `json:"held"`             // what holds uploads up
	Error  string     `json:"error,omitempty"`  // why this could not be read
}

// pauseStatus is a [state.Pause] for scripts.
type pauseStatus struct {
	Project string    `json:"project,omitempty"` // none: all of the site
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why,omitempty"`
}

type projectStatus struct {
	Project string `json:"project"`
	tally
	FailedFiles []failedFile `json:"failed_files,omitempty"`
	Unfit       []unfit      `json:"unfit,omitempty"` // files that are held, as the settings do not fit them
	Error       string       `json:"error,omitempty"` // why the project could not be read
}

// unfit are files that the settings do not fit, seen from this machine.
type unfit struct {
	Files  int64  `json:"files"`
	Reason string `json:"reason"`
}

// unfitFiles tells which pending files of a project the settings do not fit.
func unfitFiles(ctx context.Context, store *avalon.Store, project string, cfg *config.Config) ([]unfit, error) {
	remote, _ := cfg.Remote()
	uses, err := store.RootUses(ctx, project, daemon.Rules(cfg).Route)
	if err != nil {
		return nil, err
	}
	files := map[string]int64{}
	for _, u := range uses {
		if err := uploader.Unfit(u.Path, u.Roots, cfg.LocalRoot, remote.Root); err != nil {
			files[err.Error()] += u.Files
		}
	}
	var all []unfit
	for _, reason := range slices.Sorted(maps.Keys(files)) {
		all = append(all, unfit{files[reason], reason})
	}
	return all, nil
}

// tally is an [avalon.Stats] for scripts.
type tally struct {
	Pending  count      `json:"pending"`
	Waiting  count      `json:"waiting"`
	Paused   count      `json:"paused"` // by a field of their records
	Failed   count      `json:"failed"`
	Synced   count      `json:"synced"`
	Absent   count      `json:"absent"`
	Unusable count      `json:"unusable"`
	Oldest   *time.Time `json:"oldest,omitempty"`
}

type count struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

func tallyOf(t avalon.Stats) tally {
	out := tally{count(t.Pending), count(t.BackingOff), count(t.Paused), count(t.Failed), count(t.Synced), count(t.SourceMissing), count(t.Invalid), nil}
	if !t.Oldest.IsZero() {
		out.Oldest = &t.Oldest
	}
	return out
}

type failedFile struct {
	Representation string     `json:"representation"`
	Path           string     `json:"path"`
	Tries          int        `json:"tries"`
	Error          string     `json:"error"`
	LastFailed     *time.Time `json:"last_failed,omitempty"`
}

// Run is sitesync status.
func (c statusCmd) Run(ctx context.Context, flags *config.Flags) error {
	cfg, _, err := config.Load(*flags, os.LookupEnv) // check tells what is odd
	if err != nil {
		return err
	}
	p := startProgress(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())))
	s, err := c.read(ctx, cfg, nil, p)
	p.stop()
	if err != nil {
		return err
	}
	return show(c.Output, s, s.text(colored(os.Stdout)), !s.incomplete())
}

// read reads it all from the two databases.
func (c statusCmd) read(ctx context.Context, cfg *config.Config, e *env, p *progress) (*status, error) {
	s := &status{At: time.Now().UTC(), ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite,
		Sitesync: worker{Held: []string{}}, Paused: []pauseStatus{}, Projects: []projectStatus{}}
	remote, ok := cfg.Remote()
	if !ok {
		return s, nil
	}
	if e == nil {
		var err error
		if e, err = newEnv(cfg); err != nil {
			return nil, err
		}
		defer e.close()
	}
	store := e.store
	listed, err := store.Projects(ctx)
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", cfg.Mongo.URI, e.client.Explain(err))
	}
	projects, err := c.projects(listed, cfg.Mongo.Database)
	if err != nil {
		return nil, err
	}
	db, lease := e.state, state.LeaseName(cfg.Mongo.Database, remote.Name)
	standing, err := db.LeaseInfo(ctx, lease)
	s.Sitesync = workerOf(standing, err)
	paused, err := db.Pauses(lease).List(ctx)
	for _, p := range paused {
		s.Paused = append(s.Paused, pauseStatus(p))
	}
	if err != nil && s.Sitesync.Error == "" {
		s.Sitesync.Error = err.Error()
	}

	rules := daemon.Rules(cfg)
	p.total.Store(int64(len(projects)))
	rows := make([]projectStatus, len(projects))
	tallies := make([]avalon.Stats, len(projects))
	var reading errgroup.Group
	reading.SetLimit(readAtOnce)
	for i, project := range projects {
		reading.Go(func() error {
			rows[i], tallies[i] = c.project(ctx, store, project, cfg, rules, s.At)
			p.done.Add(1)
			return nil
		})
	}
	_ = reading.Wait() // each error is in its row
	var total avalon.Stats
	for i, row := range rows {
		total.Add(tallies[i])
		if !tallies[i].IsZero() || row.Error != "" || c.Project != "" {
			s.Projects = append(s.Projects, row)
		}
	}
	s.Total = tallyOf(total)
	return s, nil
}

// projects are the names of those to tell of.
func (c statusCmd) projects(listed []avalon.Project, database string) ([]string, error) {
	var names []string
	for _, p := range listed {
		names = append(names, p.Name)
	}
	if c.Project == "" {
		return names, nil
	}
	if slices.Contains(names, c.Project) {
		return []string{c.Project}, nil
	}
	return nil, config.UnknownProject(c.Project, database, names)
}

// project reads one project.
func (c statusCmd) project(ctx context.Context, store *avalon.Store, name string, cfg *config.Config, rules avalon.Rules, now time.Time) (projectStatus, avalon.Stats) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := projectStatus{Project: name}
	t, err := store.Stats(ctx, name, rules, now)
	row.tally = tallyOf(t)
	if err == nil && t.Pending.Files+t.BackingOff.Files > 0 {
		row.Unfit, err = unfitFiles(ctx, store, name, cfg)
	}
	if err == nil && c.Project != "" && t.Failed.Files > 0 {
		var failed []avalon.FailedFile
		failed, err = store.Failed(ctx, name, rules, c.Limit)
		for _, f := range failed {
			out := failedFile{Representation: f.Key.ID.String(), Path: f.Path, Tries: f.Tries, Error: f.Error}
			if !f.LastFailed.IsZero() {
				out.LastFailed = &f.LastFailed
			}
			row.FailedFiles = append(row.FailedFiles, out)
		}
	}
	if err != nil {
		row.Error = err.Error()
	}
	return row, t
}

// workerOf is the process that holds the lease, or was the last one.
func workerOf(s *state.LeaseInfo, err error) worker {
	w := worker{Held: []string{}}
	if err != nil {
		w.Error = err.Error()
	}
	if s == nil {
		return w
	}
	w.Host, w.PID = s.Holder.Host, s.Holder.PID
	if s.Expired {
		return w
	}
	since := s.Holder.Since.UTC()
	w.Runs, w.Since, w.Stream = true, &since, s.Status.Stream
	for _, h := range explain.Holds(s.Status) {
		w.Held = append(w.Held, h.String())
	}
	return w
}

// incomplete reports whether something could not be read.
func (s *status) incomplete() bool {
	return s.Sitesync.Error != "" || slices.ContainsFunc(s.Projects, func(p projectStatus) bool { return p.Error != "" })
}

// text is the status for people.
func (s *status) text(color bool) string {
	t := page{color: color}
	if s.RemoteSite == "" {
		t.line("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
		return t.String()
	}
	t.worker(s)
	t.paused(s)
	t.line("")
	if len(s.Projects) == 0 {
		t.line("no project has files for site %s", s.RemoteSite)
		return t.String()
	}
	t.projects(s)
	for _, p := range s.Projects {
		name := printable(p.Project)
		if p.Error != "" {
			t.line("%s: %s", t.paint(red, name), printable(p.Error))
		}
		if n := p.Paused.Files; n > 0 {
			t.line("%s: %s file(s) are paused in their records, and are left alone until that is taken away", name, humanize.Comma(n))
		}
		for _, u := range p.Unfit {
			t.line("%s: %s file(s) are held, as the settings do not fit: %s", t.paint(red, name), humanize.Comma(u.Files), printable(u.Reason))
		}
		if n := p.Absent.Files; n > 0 {
			t.line("%s: %s file(s) are not on site %s, so there is nothing to upload yet", name, humanize.Comma(n), s.ActiveSite)
		}
		if n := p.Unusable.Files; n > 0 {
			t.line("%s: %s file(s) have an invalid record; the log of sitesync says why", t.paint(red, name), humanize.Comma(n))
		}
	}
	for _, p := range s.Projects {
		t.failed(p, s.At)
	}
	return t.String()
}

// page is text that may have colors.
type page struct {
	strings.Builder
	color bool
}

const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (t *page) paint(how, text string) string {
	if !t.color || how == "" {
		return text
	}
	return "\x1b[" + how + "m" + text + "\x1b[0m"
}

func (t *page) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

func (t *page) worker(s *status) {
	w := s.Sitesync
	switch {
	case w.Error != "":
		t.line("sitesync  %s", t.paint(red, "it can't be told who works: "+printable(w.Error)))
		return
	case !w.Runs && w.Host == "":
		t.line("sitesync  %s", t.paint(red, "no sitesync runs for site "+s.RemoteSite))
		return
	case !w.Runs:
		t.line("sitesync  %s; the last one was process %d on %s", t.paint(red, "no sitesync runs for site "+s.RemoteSite), w.PID, printable(w.Host))
		return
	}
	t.line("sitesync  process %d on %s syncs to site %s, since %s (%s)", w.PID, printable(w.Host), s.RemoteSite,
		w.Since.Local().Format(time.DateTime), duration.Rough(s.At.Sub(*w.Since)))
	stream := t.paint(green, w.Stream)
	if w.Stream != "open" {
		stream = t.paint(yellow, printable(w.Stream)+"; publishes are found by the poll only")
	}
	t.line("stream    %s", stream)
	if len(w.Held) == 0 {
		t.line("held      nothing")
	}
	for _, held := range w.Held {
		t.line("held      %s", t.paint(red, printable(held)))
	}
}

// paused tells what people have paused.
func (t *page) paused(s *status) {
	for _, p := range s.Paused {
		what := "site " + s.RemoteSite
		if p.Project != "" {
			what = "project " + printable(p.Project)
		}
		why := ""
		if p.Why != "" {
			why = ": " + printable(p.Why)
		}
		t.line("paused    %s, by %s, %s ago%s", t.paint(yellow, what), printable(p.By), duration.Rough(s.At.Sub(p.Since)), why)
	}
}

// cell is a cell of a table, and its color.
type cell struct{ text, how string }

func (t *page) projects(s *status) {
	var rows [][]cell
	var header []cell
	for _, name := range []string{"PROJECT", "PENDING", "WAITING", "FAILED", "SYNCED", "TO UPLOAD", "UPLOADED", "OLDEST"} {
		header = append(header, cell{name, bold})
	}
	rows = append(rows, header)
	row := func(name string, c tally, how string) {
		files := func(n int64, how string) cell {
			if n == 0 {
				how = ""
			}
			return cell{humanize.Comma(n), how}
		}
		oldest := ""
		if c.Oldest != nil {
			oldest = duration.Rough(s.At.Sub(*c.Oldest))
		}
		left := avalon.FileCount(c.Pending)
		left.Add(avalon.FileCount(c.Waiting))
		rows = append(rows, []cell{{printable(name), how}, files(c.Pending.Files, ""), files(c.Waiting.Files, yellow), files(c.Failed.Files, red),
			files(c.Synced.Files, green), {humanize.IBytes(uint64(left.Bytes)), ""}, {humanize.IBytes(uint64(c.Synced.Bytes)), ""}, {oldest, ""}})
	}
	for _, p := range s.Projects {
		if p.Error == "" || p.tally != (tally{}) {
			row(p.Project, p.tally, "")
		} else {
			rows = append(rows, []cell{{printable(p.Project), red}, {"?", red}, {"?", red}, {"?", red}, {"?", red}, {"?", red}, {"?", red}, {"?", red}})
		}
	}
	if len(s.Projects) > 1 {
		row("total", s.Total, bold)
	}
	t.table(rows)
}

// table aligns the first column left, the others right. (A tabwriter would count colors as text.)
func (t *page) table(rows [][]cell) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if i == 0 {
				line.WriteString(t.paint(c.how, c.text) + pad)
			} else {
				line.WriteString("  " + pad + t.paint(c.how, c.text))
			}
		}
		t.line("%s", strings.TrimRight(line.String(), " "))
	}
}

// failed lists the failed files of a project, if they were asked for.
func (t *page) failed(p projectStatus, now time.Time) {
	if len(p.FailedFiles) == 0 {
		return
	}
	t.line("\n%s, the last to fail first; repair the cause, then: sitesync retry %s", t.paint(bold, "failed files of "+printable(p.Project)),
		argument(p.Project))
	for _, f := range p.FailedFiles {
		when := ""
		if f.LastFailed != nil {
			when = ", " + duration.Rough(now.Sub(*f.LastFailed)) + " ago"
		}
		t.line("  %s\n      representation %s, %d tries%s: %s", printable(f.Path), printable(f.Representation), f.Tries, when,
			t.paint(red, printable(cmp.Or(f.Error, "no error is recorded"))))
	}
	if more := p.Failed.Files - int64(len(p.FailedFiles)); more > 0 {
		t.line("  ... and %s more (--limit)", humanize.Comma(more))
	}
}

// printable is a text that others wrote, without what could control a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// progress tells somebody at a terminal how far the reading is, if it takes long.
type progress struct {
	total, done atomic.Int64
	end         chan struct{}
	ended       sync.WaitGroup
}

func startProgress(out io.Writer, terminal bool) *progress {
	p := &progress{end: make(chan struct{})}
	if !terminal {
		return p
	}
	p.ended.Go(func() {
		select {
		case <-time.After(progressAfter):
		case <-p.end:
			return
		}
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		const start = "\r\x1b[K" // of an empty line
		for {
			fmt.Fprintf(out, start+"reading the projects, %d of %d done ...", p.done.Load(), p.total.Load())
			select {
			case <-tick.C:
			case <-p.end:
				fmt.Fprint(out, start)
				return
			}
		}
	})
	return p
}

// stop removes what was told.
func (p *progress) stop() {
	close(p.end)
	p.ended.Wait()
}
