package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/site/registry"
	"sitesync/state"
	"sitesync/uploader"
)

type checkCmd struct {
	Report    bool `help:"Write a report for a bug: versions, settings, this check, status. It has no secrets."`
	Anonymous bool `help:"Replace names of projects, machines, people and folders in the report with numbers."`
}

func (checkCmd) Help() string {
	return `Examples:
  sitesync check --presets /etc/sitesync --mongo mongodb://mongo1/?replicaSet=rs0
  sitesync check --report --anonymous > report.txt

Each line is ok, warn or fail, with what to do. The exit status is 1 if anything fails.`
}

// checkPrinter prints the lines of a check.
type checkPrinter struct {
	out    io.Writer
	failed bool
}

func (r *checkPrinter) ok(what string)   { fmt.Fprintln(r.out, "ok   ", what) }
func (r *checkPrinter) warn(what string) { fmt.Fprintln(r.out, "warn ", what) }
func (r *checkPrinter) fail(what string, err error) {
	r.failed = true
	fmt.Fprintf(r.out, "fail  %s: %v\n", what, err)
}

func (c checkCmd) Run(ctx context.Context, flags *config.Flags) error {
	if c.Report {
		return printBugReport(ctx, flags, c.Anonymous)
	}
	r := checkPrinter{out: os.Stdout}
	cfg, warnings, err := config.Load(*flags, os.LookupEnv)
	checkConfig(&r, warnings, err)
	if err == nil {
		e, err := newEnv(cfg)
		defer e.close()
		runCheck(ctx, &r, cfg, e, err)
	}
	if r.failed {
		return errFailed
	}
	return nil
}

func (c checkCmd) Validate() error {
	if c.Anonymous && !c.Report {
		return errors.New("--anonymous requires --report")
	}
	return nil
}

// checkConfig prints the errors and warnings of the settings.
func checkConfig(r *checkPrinter, warnings []string, err error) {
	for _, w := range warnings {
		r.warn(w)
	}
	if err != nil {
		// All errors are there at once, a line each.
		for _, line := range strings.Split(err.Error(), "\n") {
			r.fail("configuration", errors.New(line))
		}
	}
}

// runCheck checks all that the settings name. e is nil if there is no connection, for the reason in connErr.
func runCheck(ctx context.Context, r *checkPrinter, cfg *config.Config, e *env, connErr error) {
	r.ok("configuration in " + cfg.Presets)
	remote, ok := cfg.Remote()
	if !ok {
		r.warn("remote_site is empty: nothing is synced")
		return
	}
	site, siteErr := registry.Open(ctx, remote, registry.Options{})
	if siteErr == nil {
		defer site.Close()
	}
	if connErr != nil {
		r.fail("mongo", connErr)
	} else {
		checkMongo(ctx, r, e, site)
	}
	if siteErr != nil {
		r.fail("site", siteErr)
	} else {
		checkSite(ctx, r, cfg, remote, site)
	}
	checkAccessible(r, cfg)
	checkLocalRoots(ctx, r, cfg)
}

// checkMongo checks both databases, and pending files. The remote site is nil if it cannot be opened.
func checkMongo(ctx context.Context, r *checkPrinter, e *env, remote site.Storage) {
	cfg, store := e.cfg, e.store
	projects, err := store.Projects(ctx)
	if err != nil {
		r.fail("mongo "+cfg.Mongo.URI.Redacted(), e.client.Explain(err))
		return
	}
	if len(projects) == 0 {
		r.warn(fmt.Sprintf("mongo %s: database %s has no projects; is it the right one? (--db)", cfg.Mongo.URI,
			cfg.Mongo.Database))
	} else {
		r.ok(fmt.Sprintf("mongo %s: database %s has %s", cfg.Mongo.URI, cfg.Mongo.Database,
			explain.Plural(len(projects), "project")))
	}
	e.client.WaitForMembers(ctx)
	if lost := e.client.LostMajority(); lost != nil {
		r.fail("replica set", errors.New(lost.Remedy()))
	}
	switch missing, err := store.MissingRights(ctx, cfg.Index); {
	case err != nil:
		r.fail("rights", err)
	case len(missing) > 0:
		r.fail("rights", fmt.Errorf("the user may not %s in database %s; grant it the role readWrite there",
			strings.Join(missing, ", "), cfg.Mongo.Database))
	default:
		r.ok("rights to read and to write what is synced")
	}
	checkState(ctx, r, e)
	checkStream(ctx, r, e)
	if len(projects) > 0 {
		checkIndex(ctx, r, e, projects)
		for _, d := range cfg.Directions() {
			if d == config.Up || remote != nil {
				checkSources(ctx, r, e, projects, d, remote)
			}
		}
	}
}

// checkStream opens a change stream for each direction.
func checkStream(ctx context.Context, r *checkPrinter, e *env) {
	for _, d := range e.cfg.Directions() {
		changes, err := e.store.Changes(ctx, daemon.Rules(e.cfg, d).Route)
		switch {
		case errors.Is(err, avalon.ErrNoChangeStreams):
			r.warn("change stream: this MongoDB is no replica set, so publishes are found by the poll only; " +
				"make it one (one member will do)")
			return
		case err != nil:
			r.fail("change stream of "+d.Noun()+"s", err)
			return
		}
		_ = changes.Close(ctx) // it was only tried
	}
	r.ok("replica set with change streams")
}

// checkState checks sitesync's own database, and shows which process syncs.
func checkState(ctx context.Context, r *checkPrinter, e *env) {
	what := "sitesync's own database " + e.cfg.Mongo.State
	missing, err := avalon.MissingActions(ctx, e.client.Database(e.cfg.Mongo.State), state.Actions)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("the user may not %s; grant it the role readWrite there", strings.Join(missing, ", "))
	}
	if err != nil {
		r.fail(what, err)
		return
	}
	var routes []route
	for _, d := range e.cfg.Directions() {
		route := readRoute(ctx, e, d)
		if route.Sitesync.Error != "" {
			r.fail(what, errors.New(route.Sitesync.Error))
			return
		}
		routes = append(routes, route)
	}
	checkHolders(r, what, routes)
	if trouble := explain.ClockTrouble(ctx, e.state, nil); trouble != "" {
		r.warn(trouble)
	}
	for _, p := range mergePauses(e.cfg.RemoteSite, routes) {
		r.warn(fmt.Sprintf("%s %s paused, since %s, by %s: %s ends that", p.subject, p.verb,
			p.Since.Local().Format(time.DateTime), sanitize(p.By), p.resume))
	}
}

// checkHolders shows which processes sync, and what they hold.
func checkHolders(r *checkPrinter, what string, routes []route) {
	var running []string
	holds := false
	for _, route := range routes {
		h := route.Sitesync
		if !h.Runs {
			continue
		}
		process := fmt.Sprintf("process %d on %s", h.PID, sanitize(h.Host))
		for _, held := range h.Held {
			holds = true
			r.fail(fmt.Sprintf("sitesync, %s, holds %ss up", process, route.direction.Noun()),
				errors.New(sanitize(held)))
		}
		running = append(running, process)
	}
	switch {
	case holds:
	case len(running) == 0:
		r.ok(what + "; no sitesync runs now")
	case len(running) == len(routes) && running[0] == running[len(running)-1]:
		r.ok(what + "; sitesync runs as " + running[0])
	default:
		for _, route := range routes {
			if route.Sitesync.Runs {
				r.ok(fmt.Sprintf("%s; sitesync runs as %s for %ss", what, running[0], route.direction.Noun()))
				running = running[1:]
			} else {
				r.ok(fmt.Sprintf("%s; no sitesync runs for %ss now", what, route.direction.Noun()))
			}
		}
	}
}

func checkIndex(ctx context.Context, r *checkPrinter, e *env, projects []avalon.Project) {
	var without []string
	for _, p := range projects {
		for _, d := range e.cfg.Directions() {
			indexed, err := e.store.Indexed(ctx, p, daemon.Rules(e.cfg, d).Route)
			if err != nil {
				r.fail("index", err)
				return
			}
			if !indexed {
				without = append(without, p.Name)
				break
			}
		}
	}
	switch {
	case len(without) == 0:
		r.ok("index of pending files in every project")
	case e.cfg.Index:
		r.ok("index of pending files: sitesync run creates it in " + explain.Plural(len(without), "project"))
	default:
		r.warn("index of pending files is missing, so each poll reads all documents of " + strings.Join(without, ", ") +
			"; start without --no-index once, or create it by hand")
	}
}

// checkSources checks where a pending file of each project would be read from. The remote site may be nil for uploads.
func checkSources(ctx context.Context, r *checkPrinter, e *env, projects []avalon.Project, d config.Direction,
	remote site.Storage) {
	found, seen := 0, map[string]bool{}
	place := "storage of project "
	if d == config.Down {
		place = "downloads of project "
	}
	failOnce := func(p avalon.Project, reason string) {
		if !seen[reason] {
			seen[reason] = true
			r.fail(place+p.Name, errors.New(reason))
		}
	}
	ofSite, _ := e.cfg.Remote()
	inspector := uploader.Inspector{Route: daemon.Rules(e.cfg, d).Route, Direction: d, Source: remote,
		LocalRoot: e.cfg.LocalRoot, RemoteRoot: ofSite.Root}
	if d == config.Up {
		inspector.Source = daemon.InspectionStorage(e.cfg)
	}
	for _, p := range projects {
		misfits, err := e.unfitFiles(ctx, p.Name, d)
		for _, u := range misfits {
			failOnce(p, u.Reason)
		}
		if err != nil {
			r.fail(place+p.Name, err)
			continue
		}
		f, roots, err := e.pendingFile(ctx, p.Name, d)
		if f != nil {
			_, err = inspector.CheckSource(ctx, f, roots)
		}
		switch {
		case err != nil:
			failOnce(p, err.Error())
		case f != nil:
			found++
		}
	}
	switch {
	case found == 0:
	case d == config.Down:
		r.ok(fmt.Sprintf("site %s, for %s with files to download", ofSite.Name, explain.Plural(found, "project")))
	default:
		r.ok(fmt.Sprintf("storage of %s with pending files", explain.Plural(found, "project")))
	}
}

// pendingFile returns a file of the project that waits for its transfer, nil if there is none.
func (e *env) pendingFile(ctx context.Context, project string, d config.Direction) (*avalon.File, avalon.Roots, error) {
	rules := daemon.Rules(e.cfg, d)
	for c, err := range e.store.Pending(ctx, project, rules) {
		if err != nil {
			return nil, nil, err
		}
		rep, err := e.store.Representation(ctx, c.Key)
		if err != nil {
			continue // sitesync run logs it
		}
		for i := range rep.Files {
			switch rules.Evaluate(&rep.Files[i], time.Now()).Status {
			case avalon.Pending, avalon.BackingOff:
				return &rep.Files[i], rep.Roots, nil
			}
		}
	}
	return nil, nil, nil
}

// checkSite checks that each root can be written to for uploads, and read for downloads.
func checkSite(ctx context.Context, r *checkPrinter, cfg *config.Config, remote config.Site, s site.Storage) {
	by := ""
	if account, ok := s.(site.Accounter); ok {
		by = " by " + account.Account()
	}
	up, down := cfg.WhyOff(config.Up) == "", cfg.WhyOff(config.Down) == ""
	for _, root := range remote.Root.All() {
		var err error
		if up {
			if err = s.CheckRoot(ctx, root); err == nil { // then it can be read too
				r.ok(fmt.Sprintf("site %s: %s can be written to%s", remote.Name, root, by))
				continue
			}
			r.fail("site "+remote.Name, err)
		}
		if !down {
			continue
		}
		readErr := s.CheckReadable(ctx, root)
		switch {
		case readErr == nil:
			r.ok(fmt.Sprintf("site %s: %s can be read%s", remote.Name, root, by))
		case err == nil || readErr.Error() != err.Error():
			r.fail("site "+remote.Name, readErr)
		}
	}
	if trouble := explain.ClockTrouble(ctx, nil, s); trouble != "" {
		r.warn(trouble)
	}
}

// checkAccessible says who brings files to the sites of always_accessible_on. A wrong name would be written into all
// documents.
func checkAccessible(r *checkPrinter, cfg *config.Config) {
	served := map[string]bool{cfg.RemoteSite: false, cfg.ActiveSite: false}
	for _, d := range cfg.Directions() {
		served[map[config.Direction]string{config.Up: cfg.RemoteSite, config.Down: cfg.ActiveSite}[d]] = true
	}
	known := slices.Concat(slices.Collect(maps.Keys(cfg.Sites)), []string{cfg.ActiveSite, cfg.LocalID})
	slices.Sort(known)
	for _, name := range cfg.AlwaysAccessibleOn {
		const what = "always_accessible_on: every published file gets a record of site %q"
		here, ours := served[name]
		switch near := config.Nearest(name, known); {
		case here:
			r.ok(fmt.Sprintf(what+", and is brought there", name))
		case ours:
			r.warn(fmt.Sprintf(what+", but this sitesync brings none there; for downloads it needs local_root, "+
				"and --direction must not exclude them", name))
		case slices.Contains(known, name):
			r.warn(fmt.Sprintf(what+"; another sitesync must bring the files there", name))
		case near == "":
			r.warn(fmt.Sprintf(what+", which no setting here names: look whether it is spelled right. Another "+
				"sitesync must bring the files there", name))
		default:
			r.warn(fmt.Sprintf(what+", which no setting here names; did you mean %q? "+
				"If not, another sitesync must bring the files there", name, near))
		}
	}
}

// checkLocalRoots checks that each root of this machine can be written to for downloads, and read for uploads.
func checkLocalRoots(ctx context.Context, r *checkPrinter, cfg *config.Config) {
	storage := daemon.InspectionStorage(cfg)
	defer storage.Close()
	down := cfg.WhyOff(config.Down)
	if down != "" && len(cfg.LocalRoot) == 0 && cfg.Direction == config.Both {
		r.ok("downloads are off: " + down)
	}
	for name, root := range cfg.LocalRoot.All() {
		what := "local_root " + root
		if name != "" {
			what = fmt.Sprintf("local_root %q %s", name, root)
		}
		readErr := storage.CheckReadable(ctx, root)
		if down != "" {
			if readErr != nil {
				r.fail(what, readErr)
			} else {
				r.ok(what + " can be read")
			}
			continue
		}
		switch err := storage.CheckRoot(ctx, root); {
		case err != nil && readErr != nil:
			r.fail(what, err)
			continue
		case err != nil:
			r.fail(what+" can be read, but not written to, so nothing is downloaded to it", err)
			continue
		}
		space := ""
		if left, known, err := storage.Left(ctx, root); err == nil && known {
			space = ", " + humanize.IBytes(uint64(max(left, 0))) + " are free"
		}
		r.ok(what + " can be written to" + space)
	}
}
