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
	Rules  avalon.Rules
	Store  *avalon.Store
	State  *state.Database

	// Open opens the remote site for reading. It is called when the site has to be looked at.
	Open func(ctx context.Context) (site.Backend, error)

	// OpenSource opens the studio's storage for reading. It should wait once for one that hangs.
	OpenSource func() site.Source

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
	r.Findings.add("document", OK, Remedy{}, "representation %q with %d file(s)%s", rep.Name, len(rep.Files), published)

	x := &explanation{Explainer: e, ctx: ctx, now: now, rep: rep, remote: remote, unread: e.MaxRead,
		inspector: &uploader.Inspector{Route: e.Rules.Route, Direction: config.Up, Source: e.OpenSource(),
			LocalRoot: e.Config.LocalRoot, RemoteRoot: remote.Root}}
	x.writable = sync.OnceValue(x.checkSite)
	defer func() {
		if x.site != nil {
			_ = x.site.Close() // it was only read
		}
	}()
	x.process(project)
	var files []File
	wanted := false // something is to be uploaded
	for _, f := range found.files {
		file, status := x.file(f)
		wanted = wanted || status == avalon.Pending || status == avalon.BackingOff
		files = append(files, file)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if wanted { // otherwise it does not matter which process syncs
		r.Findings = append(r.Findings, x.findings...)
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

	findings  Findings        // about the process that syncs, and the site
	holder    string          // the process that syncs, if it runs on another machine
	holds     []uploader.Hold // of that process
	inspector *uploader.Inspector
	site      site.Backend // nil until it is looked at
	siteErr   error        // why it cannot be opened, or asked any more
	lookups   int          // files that the site was asked for one by one
	writable  func() bool  // checkSite, once for all files
}

// process finds out which process syncs, and what stops it.
func (x *explanation) process(project string) {
	lease := state.LeaseName(x.Config.Mongo.Database, x.Rules.Route)
	pauses, err := x.State.Pauses(lease).List(x.ctx)
	if err != nil {
		x.findings.add("pause", Unknown, Remedy{}, "cannot read the pauses: %v", err)
	}
	for _, p := range pauses {
		if p.Project == "" || p.Project == project {
			what, resume := PauseSubject(x.remote.Name, p.Project)
			why := ""
			if p.Why != "" {
				why = ": " + p.Why
			}
			x.findings.add("pause", Wrong, Remedy{"resume it", resume}, "%s has been paused since %s by %s%s", what,
				p.Since.Format(time.RFC3339), p.By, why)
		}
	}
	info, err := x.State.LeaseInfo(x.ctx, lease)
	start := Remedy{"start sitesync", "sitesync run"}
	switch {
	case err != nil:
		x.findings.add("sitesync", Unknown, Remedy{Text: "grant the user read access to database " +
			x.Config.Mongo.State}, "cannot read which process syncs: %v", err)
		return
	case info == nil:
		x.findings.add("sitesync", Wrong, start, "no sitesync runs for site %s", x.remote.Name)
		return
	case !info.Active():
		x.findings.add("sitesync", Wrong, start, "no sitesync runs for site %s; the last one was %s", x.remote.Name,
			info.Holder)
		return
	}
	stream := ""
	if info.Status.Stream != "open" {
		stream = fmt.Sprintf("; its change stream is %s, so publishes are found by the poll, every %s",
			info.Status.Stream, duration.Exact(x.Config.LoopDelay))
	}
	x.findings.add("sitesync", OK, Remedy{}, "%s has been active since %s%s", info.Holder, clock(info.Holder.Since),
		stream)
	if host, err := os.Hostname(); err == nil && host != info.Holder.Host {
		x.holder = info.Holder.String()
	}
	x.holds = Holds(info.Status)
	for _, h := range x.holds {
		if h.Hangs && x.holder == "" {
			x.inspector.Avoid(h.Name)
		} else if h.Kind == uploader.SiteTarget {
			x.findings.addHold("all uploads are held", h)
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
func (f *Findings) addHold(what string, h uploader.Hold) {
	remedy := fmt.Sprintf("fix what holds uploads, and they resume by themselves: %s", h)
	f.add("held", Wrong, Remedy{Text: remedy}, "%s: %s", what, h).Cause = string(h.Kind) + " " + h.Name
}

// open opens the site when it is needed.
func (x *explanation) open() (site.Backend, error) {
	if x.site == nil && x.siteErr == nil {
		x.site, x.siteErr = x.Open(x.ctx)
	}
	return x.site, x.siteErr
}

// checkSite reports whether the site is writable, and adds what it finds.
func (x *explanation) checkSite() bool {
	s, err := x.open()
	if err == nil {
		err = s.Check(x.ctx)
	}
	if trouble := ClockTrouble(x.ctx, x.State, s); trouble != "" {
		x.findings.add("clock", Unknown, Remedy{Text: trouble}, "%s", trouble)
	}
	switch {
	case err == nil:
		x.findings.add("site", OK, Remedy{}, "site %s can be written to", x.remote.Name)
	case site.ClassOf(err) == site.Transient:
		x.findings.add("site", Waiting, Remedy{}, "%v", err)
	default:
		x.findings.add("site", Wrong, Remedy{Text: "fix the site: " + err.Error()}, "%v", err)
	}
	return err == nil
}

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
