package explain

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/duration"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
)

// Explainer explains. It may be used by several goroutines.
type Explainer struct {
	Config *config.Config
	Rules  func(config.Direction) avalon.Rules // of the route Up, and of that Down
	Store  *avalon.Store
	State  *state.Database

	// OpenRemote opens the remote site, and OpenLocal the storage of this machine, to look at them. The remote site is
	// opened when it has to be. The local one should wait once for a storage that hangs.
	OpenRemote func(ctx context.Context) (site.Storage, error)
	OpenLocal  func() site.Storage

	// MaxRead bounds how much of the sources is read to compare them with what the site has, bytes; beyond it only
	// sizes are compared.
	MaxRead int64
}

// NotFoundError means that there is nothing of that name to explain.
type NotFoundError struct{ Err error }

func (e *NotFoundError) Error() string { return e.Err.Error() }
func (e *NotFoundError) Unwrap() error { return e.Err }

// Explain explains the representation with an id, or the newest that has a path: one as artists see it, under whatever
// root, one as documents have it ({root}/...), one on the remote site, or the name of a file alone. The error is a
// *NotFoundError if there is none.
func (e *Explainer) Explain(ctx context.Context, project, asked string) (*Report, error) {
	now := time.Now()
	r := &Report{At: now.UTC(), Project: project, Asked: asked, ActiveSite: e.Config.ActiveSite,
		RemoteSite: e.Config.RemoteSite, Others: []string{}, Findings: Findings{}, Groups: []Group{}}
	projects, err := e.Store.ProjectNames(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(projects, project) {
		return nil, &NotFoundError{config.UnknownProject(project, e.Config.Mongo.Database, projects)}
	}
	found, err := e.find(ctx, project, projects, asked)
	if err != nil {
		return nil, err
	}
	r.Representation, r.Others, r.More = found.key.ID.String(), found.others, found.more
	r.Published = date(found.key.ID.Time())
	remote, ok := e.Config.Remote()
	if !ok {
		r.Findings.add("settings", Wrong, Remedy{Text: "name a site of gdrive.json as remote_site in config.json"},
			"remote_site is empty, so nothing is synced")
		return r.conclude(), nil
	}
	if found.problem != "" {
		r.Findings.add("document", Wrong, Remedy{Text: "fix the document, or publish again"}, "%s", found.problem)
		return r.conclude(), nil
	}
	rep := found.rep
	r.Name, r.Files, r.Matched = rep.Name, len(rep.Files), len(found.files)
	if len(rep.Files) == 0 {
		r.Findings.add("document", Wrong, Remedy{Text: "publish again"}, "it has no files")
		return r.conclude(), nil
	}
	published := ""
	if r.Published != nil {
		published = ", published " + clock(*r.Published)
	}
	r.Findings.add("document", OK, Remedy{}, "representation %q with %s%s", rep.Name,
		Plural(len(rep.Files), "file"), published)

	x := &explanation{Explainer: e, ctx: ctx, now: now, rep: rep, remote: remote, unread: e.MaxRead,
		local: e.OpenLocal(), uploaders: map[string]uploading{}}
	defer x.close()
	x.up, x.down = x.newWay(config.Up), x.newWay(config.Down)
	x.up.inspector.Source = x.local
	x.up.process()
	x.down.process()
	var files []File
	for _, f := range found.files {
		files = append(files, x.file(f))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, w := range []*way{x.up, x.down} {
		if !w.wanted { // then it does not matter which process syncs
			continue
		}
		for _, finding := range w.findings {
			if !slices.Contains(r.Findings, finding) { // the same may be found of both ways
				r.Findings = append(r.Findings, finding)
			}
		}
	}
	r.Groups = group(files)
	return r.conclude(), nil
}

// clock is a time for people.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// explanation is one explanation under way.
type explanation struct {
	*Explainer
	ctx    context.Context
	now    time.Time
	rep    *avalon.Representation
	remote config.Site
	unread int64 // what is left of MaxRead, bytes

	up, down  *way
	local     site.Storage
	site      site.Storage         // the remote one; nil until it is looked at
	siteErr   error                // why it cannot be opened, or asked any more
	lookups   int                  // files that the site was asked for one by one
	uploaders map[string]uploading // of other sites, by their names
}

// close closes the sites, of which nothing was changed.
func (x *explanation) close() {
	_ = x.local.Close()
	if x.site != nil {
		_ = x.site.Close()
	}
}

// way is what was found of one direction.
type way struct {
	*explanation
	config.Direction
	rules avalon.Rules

	wanted    bool            // a file waits for it
	findings  Findings        // about the process that syncs, and the site
	holder    string          // the process that syncs, if it runs on another machine
	holds     []uploader.Hold // of that process
	inspector *uploader.Inspector
	usable    func() bool      // checkSite, once for all files
	roots     map[string]error // of checkRoot, by root
}

func (x *explanation) newWay(d config.Direction) *way {
	w := &way{explanation: x, Direction: d, rules: x.Rules(d), roots: map[string]error{}}
	w.inspector = &uploader.Inspector{Route: w.rules.Route, Direction: d, LocalRoot: x.Config.LocalRoot,
		RemoteRoot: x.remote.Root}
	w.usable = sync.OnceValue(w.checkSite)
	return w
}

// process finds out which process syncs, and what stops it.
func (w *way) process() {
	lease := state.LeaseName(w.Config.Mongo.Database, w.rules.Route)
	pauses, err := w.State.Pauses(lease).List(w.ctx)
	if err != nil {
		w.findings.add("pause", Unknown, Remedy{}, "cannot read the pauses: %v", err)
	}
	for _, p := range pauses {
		if p.Project == "" || p.Project == w.rep.Key.Project {
			_, resume := PauseSubject(w.remote.Name, p.Project)
			why := ""
			if p.Why != "" {
				why = ": " + p.Why
			}
			w.findings.add("pause", Wrong, Remedy{"resume it", resume}, "%s have been paused since %s by %s%s",
				PausedTransfers(w.Direction, w.remote.Name, p.Project), clock(p.Since), p.By, why)
		}
	}
	info, err := w.State.LeaseInfo(w.ctx, lease)
	nobody := "no sitesync runs for site " + w.remote.Name
	if w.Direction == config.Down {
		nobody = "no sitesync downloads from site " + w.remote.Name
	}
	start := Remedy{"start sitesync", "sitesync run"}
	if why := w.Config.WhyOff(w.Direction); why != "" {
		nobody += ", and here that is off: " + why
		start = Remedy{"start sitesync for both directions", "sitesync run --direction both"}
		if w.Direction == config.Down && len(w.Config.LocalRoot) == 0 {
			start = Remedy{Text: "say in local_root of config.json, or with --local-root, where the storage is " +
				"mounted on this machine, and restart sitesync"}
		}
	}
	switch {
	case err != nil:
		w.findings.add("sitesync", Unknown, Remedy{Text: "grant the user read access to database " +
			w.Config.Mongo.State}, "cannot read which process syncs: %v", err)
		return
	case info == nil:
		w.findings.add("sitesync", Wrong, start, "%s", nobody)
		return
	case !info.Active():
		w.findings.add("sitesync", Wrong, start, "%s; the last one was %s", nobody, info.Holder)
		return
	}
	stream := ""
	if info.Status.Stream != "open" {
		stream = fmt.Sprintf("; its change stream is %s, so publishes are found by the poll, every %s",
			info.Status.Stream, duration.Exact(w.Config.LoopDelay))
	}
	does := "active"
	if w.Direction == config.Down {
		does = "downloading"
	}
	w.findings.add("sitesync", OK, Remedy{}, "%s has been %s since %s%s", info.Holder, does, clock(info.Holder.Since),
		stream)
	if host, err := os.Hostname(); err == nil && host != info.Holder.Host {
		w.holder = info.Holder.String()
	}
	w.holds = Holds(info.Status)
	for _, h := range w.holds {
		if h.Hangs && w.holder == "" {
			w.up.inspector.Avoid(h.Name) // of the storage of this machine
		} else if h.Kind == uploader.SiteTarget {
			w.findings.addHold(w.Direction, "all "+w.Noun()+"s are held", h)
		}
	}
}

// PauseSubject is what is paused, a project or else all of the site, and the command that resumes it.
func PauseSubject(site, project string) (subject, resume string) {
	if project == "" {
		return "site " + site, "sitesync resume"
	}
	return "project " + project, "sitesync resume " + ShellQuote(project)
}

// PausedTransfers are what a pause of one direction concerns: those of a project, or else all.
func PausedTransfers(d config.Direction, site, project string) string {
	switch {
	case project != "":
		return d.Noun() + "s of project " + project
	case d == config.Down:
		return "downloads from site " + site
	}
	return "uploads to site " + site
}

// Holds are the holds in the status of the process that syncs.
func Holds(status state.WorkerStatus) (all []uploader.Hold) {
	for _, h := range status.Holds {
		hold := uploader.Hold{Target: uploader.Target{Kind: uploader.TargetKind(h.Kind), Name: h.Name}, From: h.From,
			Hangs: h.Hang, Why: h.Why}
		if h.Kind == "" { // of an older version
			hold.Name = h.What
		}
		all = append(all, hold)
	}
	return all
}

// addHold adds a finding about a hold.
func (f *Findings) addHold(d config.Direction, what string, h uploader.Hold) {
	remedy := fmt.Sprintf("fix what holds %ss, and they resume by themselves: %s", d.Noun(), h)
	f.add("held", Wrong, Remedy{Text: remedy}, "%s: %s", what, h).Cause = string(h.Kind) + " " + h.Name
}

// open opens the remote site when it is needed.
func (x *explanation) open() (site.Storage, error) {
	if x.site == nil && x.siteErr == nil {
		x.site, x.siteErr = x.OpenRemote(x.ctx)
	}
	return x.site, x.siteErr
}

// checkSite reports whether the remote site can be used as the way has to, and adds what it finds.
func (w *way) checkSite() bool {
	can := "written to"
	s, err := w.open()
	switch {
	case err != nil:
	case w.Direction == config.Up:
		err = s.Check(w.ctx)
	default:
		can = "read"
		for _, root := range w.remote.Root.All() {
			if err == nil {
				err = s.CheckReadable(w.ctx, root)
			}
		}
	}
	if trouble := ClockTrouble(w.ctx, w.State, s); trouble != "" {
		w.findings.add("clock", Unknown, Remedy{Text: trouble}, "%s", trouble)
	}
	switch {
	case err == nil:
		w.findings.add("site", OK, Remedy{}, "site %s can be %s", w.remote.Name, can)
	case site.ClassOf(err) == site.Transient:
		w.findings.add("site", Waiting, tryAgain, "%v", err)
	default:
		w.findings.add("site", Wrong, Remedy{Text: "fix the site: " + err.Error()}, "%v", err)
	}
	return err == nil
}

// tryAgain is what to do about an outage.
var tryAgain = Remedy{Text: "nothing; sitesync tries again by itself, and no try is counted"}

// ClockTrouble says which clock is minutes off, and what to do; it is empty if all are right, or cannot be compared.
// The site, whose clock is right, must have been asked something; not every site has one. Both may be nil.
func ClockTrouble(ctx context.Context, db *state.Database, s site.Backend) string {
	ofSite := false
	if clock, ok := s.(site.Clock); ok {
		ahead, known := clock.ClockAhead()
		if trouble := site.ClockTrouble(ahead, "google's"); known && trouble != "" {
			return trouble
		}
		ofSite = known
	}
	if db == nil {
		return ""
	}
	ahead, err := db.ClockAhead(ctx)
	switch {
	case err != nil || !site.ClocksDiffer(ahead):
		return ""
	case ofSite:
		return site.ClockOf("MongoDB's server", -ahead, "google's")
	}
	return site.ClockTrouble(ahead, "that of MongoDB's server") // one of them
}
