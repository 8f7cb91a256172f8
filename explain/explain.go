package explain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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

	// Open opens the remote site for looking at it, when it has to be looked at.
	Open func(ctx context.Context) (site.Backend, error)

	// OpenSource opens the studio's storage for looking at it. It should wait once for one that hangs.
	OpenSource func() site.Source

	// MaxRead is how much of the sources is read to compare their content with what the site has, bytes; what is
	// beyond it is compared by its size only.
	MaxRead int64
}

// NotFoundError says that there is nothing of that name to explain.
type NotFoundError struct{ Err error }

func (e *NotFoundError) Error() string { return e.Err.Error() }
func (e *NotFoundError) Unwrap() error { return e.Err }

// Explain explains the representation with an id, or the newest that names a path: one as artists see it, under whatever
// root, one as documents have it ({root}/...), one on the remote site, or only the name of a file. The error is a
// *NotFoundError if there is none.
func (e *Explainer) Explain(ctx context.Context, project, asked string) (*Report, error) {
	now := time.Now()
	r := &Report{At: now.UTC(), Project: project, Asked: asked, ActiveSite: e.Config.ActiveSite, RemoteSite: e.Config.RemoteSite,
		Others: []string{}, Steps: []Step{}, Groups: []Group{}}
	projects, err := e.projects(ctx)
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
	if at := found.key.ID.Time(); !at.IsZero() {
		r.Published = &at
	}
	remote, ok := e.Config.Remote()
	if !ok {
		r.add(Step{"settings", Wrong, "remote_site is empty, so nothing is synced", "name a site of gdrive.json as remote_site in config.json"})
		return r.end(), nil
	}
	if found.problem != "" {
		r.add(Step{"document", Wrong, found.problem, "mend the document, or publish again"})
		return r.end(), nil
	}
	rep := found.rep
	r.Name, r.Files, r.Told = rep.Name, len(rep.Files), len(found.files)
	r.add(Step{Rule: "document", Verdict: OK, Detail: described(rep, r.Published)})
	if len(rep.Files) == 0 {
		r.Steps[0] = Step{"document", Wrong, "it has no files", "publish again"}
		return r.end(), nil
	}

	x := &explanation{Explainer: e, ctx: ctx, now: now, rep: rep, remote: remote, left: e.MaxRead,
		inspector: &uploader.Inspector{Source: e.OpenSource(), LocalRoot: e.Config.LocalRoot, RemoteRoot: remote.Root}}
	defer x.close()
	x.works(project)
	var files []File
	wanted := false // something is to be uploaded
	for _, f := range found.files {
		told := x.file(f)
		wanted = wanted || told.State == Due || told.State == Resting
		files = append(files, told)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if wanted { // for others it does not matter who works
		r.add(x.steps...)
	}
	r.Groups = group(files)
	return r.end(), nil
}

// projects are the names of all projects.
func (e *Explainer) projects(ctx context.Context) ([]string, error) {
	listed, err := e.Store.Projects(ctx)
	var names []string
	for _, p := range listed {
		names = append(names, p.Name)
	}
	return names, err
}

func described(rep *avalon.Representation, published *time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "representation %q with %d file(s)", rep.Name, len(rep.Files))
	if published != nil {
		fmt.Fprintf(&b, ", published %s", at(*published))
	}
	return b.String()
}

// at is a time for people.
func at(t time.Time) string { return t.Local().Format(time.DateTime) }

// short is a duration for people.
func short(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return duration.Exact(d.Round(time.Second))
}

func (r *Report) add(steps ...Step) { r.Steps = append(r.Steps, steps...) }

// end says what all of it means.
func (r *Report) end() *Report {
	r.Verdict = worst(r.Steps)
	for _, g := range r.Groups {
		if g.Verdict.rank() > r.Verdict.rank() {
			r.Verdict = g.Verdict
		}
	}
	r.Do = r.toDo()
	return r
}

// toDo is the one thing to do: about what stops everything, else about the most files.
func (r *Report) toDo() string {
	for _, v := range []Verdict{Wrong, Unknown} {
		for _, s := range r.Steps {
			if s.Verdict == v && s.Mend != "" {
				return s.Mend
			}
		}
		for _, g := range r.Groups {
			if g.Verdict == v && g.Do != "" {
				return g.Do
			}
		}
	}
	for _, g := range r.Groups {
		if g.Do != "" {
			return g.Do
		}
	}
	return "nothing"
}

// explanation is one explanation under way.
type explanation struct {
	*Explainer
	ctx    context.Context
	now    time.Time
	rep    *avalon.Representation
	remote config.Site
	left   int64 // of MaxRead

	steps     []Step          // about what works
	holder    string          // who works, if that is a process of another machine
	held      []uploader.Hold // what holds uploads up
	inspector *uploader.Inspector
	site      site.Backend // nil until it is looked at
	siteErr   error        // why it can't be opened, or be asked any more
	asked     int          // files that the site was asked for one by one
	checked   bool         // whether something can be uploaded to it,
	well      bool         // which is so
}

func (x *explanation) close() {
	if x.site != nil {
		_ = x.site.Close() // it was only looked at
	}
}

// works finds out whether somebody works, and what stops it.
func (x *explanation) works(project string) {
	lease := state.LeaseName(x.Config.Mongo.Database, x.remote.Name)
	pauses, err := x.State.Pauses(lease).List(x.ctx)
	if err != nil {
		x.steps = append(x.steps, Step{"pause", Unknown, "it can't be told whether the project is paused: " + err.Error(), ""})
	}
	for _, p := range pauses {
		what, resume := "site "+x.remote.Name, "sitesync resume"
		if p.Project != "" {
			what, resume = "project "+p.Project, resume+" "+ShellQuote(p.Project)
		}
		if p.Project == "" || p.Project == project {
			detail := fmt.Sprintf("%s has been paused since %s by %s", what, p.Since.Format(time.RFC3339), p.By)
			if p.Why != "" {
				detail += ": " + p.Why
			}
			x.steps = append(x.steps, Step{"pause", Wrong, detail, "resume it: " + resume})
		}
	}
	standing, err := x.State.LeaseInfo(x.ctx, lease)
	start := "start sitesync: sitesync run"
	switch {
	case err != nil:
		x.steps = append(x.steps, Step{"sitesync", Unknown, "it can't be told who works: " + err.Error(), "let sitesync explain read database " + x.Config.Mongo.State})
		return
	case standing == nil:
		x.steps = append(x.steps, Step{"sitesync", Wrong, "no sitesync runs for site " + x.remote.Name, start})
		return
	case standing.Expired:
		x.steps = append(x.steps, Step{"sitesync", Wrong, fmt.Sprintf("no sitesync runs for site %s; the last one was %s", x.remote.Name, standing.Holder), start})
		return
	}
	detail := fmt.Sprintf("%s works since %s", standing.Holder, at(standing.Holder.Since))
	if standing.Status.Stream != "open" {
		detail += fmt.Sprintf("; its change stream is %s, so publishes are found by the poll, every %s", standing.Status.Stream, short(x.Config.LoopDelay))
	}
	x.steps = append(x.steps, Step{Rule: "sitesync", Verdict: OK, Detail: detail})
	if host, err := os.Hostname(); err == nil && host != standing.Holder.Host {
		x.holder = standing.Holder.String()
	}
	for _, h := range standing.Status.Holds {
		hold := uploader.Hold{Target: uploader.Target{Kind: uploader.TargetKind(h.Kind), Name: h.Name}, From: h.From, What: h.What, Why: h.Why}
		if x.held = append(x.held, hold); h.Hang && x.holder == "" {
			x.inspector.Avoid(h.Name)
		} else if hold.Kind == uploader.SiteTarget {
			x.steps = append(x.steps, heldStep("all uploads are held", hold))
		}
	}
}

// heldStep tells that something holds a file up.
func heldStep(what string, h uploader.Hold) Step {
	return Step{"held", Wrong, fmt.Sprintf("%s: %s", what, h), fmt.Sprintf("repair what holds uploads up: %s. Uploads go on by themselves then", h)}
}

// open opens the site when it is needed.
func (x *explanation) open() (site.Backend, error) {
	if x.site == nil && x.siteErr == nil {
		x.site, x.siteErr = x.Open(x.ctx)
	}
	return x.site, x.siteErr
}

// usable makes sure that something can be uploaded to the site. What is wrong with it is told once, for all files.
func (x *explanation) usable() bool {
	if x.checked {
		return x.well
	}
	x.checked = true
	s, err := x.open()
	if err == nil {
		err = s.Check(x.ctx)
	}
	x.well = err == nil
	if trouble := ClockTrouble(x.ctx, x.State, s); trouble != "" {
		x.steps = append(x.steps, Step{"clock", Unknown, trouble, trouble})
	}
	switch {
	case err == nil:
		x.steps = append(x.steps, Step{Rule: "site", Verdict: OK, Detail: fmt.Sprintf("site %s can be written to", x.remote.Name)})
	case site.ClassOf(err) == site.Transient:
		x.steps = append(x.steps, Step{"site", Waiting, err.Error(), ""})
	default:
		x.steps = append(x.steps, Step{"site", Wrong, err.Error(), "mend the site: " + err.Error()})
	}
	return x.well
}

// notFound says that there is nothing to explain.
func notFound(format string, args ...any) error { return &NotFoundError{fmt.Errorf(format, args...)} }

// isMalformed returns what is wrong with a document, "" if it is something else.
func isMalformed(err error) string {
	var malformed *avalon.MalformedError
	if errors.As(err, &malformed) {
		return malformed.Error()
	}
	return ""
}
