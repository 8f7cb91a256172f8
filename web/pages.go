package web

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"sitesync/explain"
)

const (
	// firstWait is how long a page waits for the database if no page was open for a while. What is not known by then
	// comes later.
	firstWait = 100 * time.Millisecond

	// perPage is how many representations a page of failed files has.
	perPage = 100
)

// pages adds the pages to what is served.
func (s *Server) pages(mux *http.ServeMux) {
	secured := func(h http.Handler) http.Handler { return requireLocalHost(s.Listen, securityHeaders(h)) }
	get := func(path string, h http.HandlerFunc) { mux.Handle("GET "+path, secured(h)) }
	get("/{$}", s.first)
	get("/events", func(w http.ResponseWriter, r *http.Request) { s.hub.serve(w, r, s.mayChange(r)) })
	get("/failed", s.failed)
	get("/r/{project}/{id}", s.explain)
	get("/login", s.login)
	get("/static/{name}", static)

	// A form of another site can't send our cookie, which is SameSite=Strict, nor know what a form of ours must send.
	// Browsers also say where a request comes from.
	cross := http.NewCrossOriginProtection()
	post := func(path string, h http.HandlerFunc) { mux.Handle("POST "+path, secured(cross.Handler(h))) }
	post("/login", s.signIn)
	post("/logout", s.authorized(s.signOut))
	post("/retry", s.authorized(s.retry))
	post("/pause", s.authorized(s.pause))
	post("/resume", s.authorized(s.resume))
}

func (s *Server) mayChange(r *http.Request) bool { return s.sessions.of(r, time.Now()) != nil }

// first is the first page.
func (s *Server) first(w http.ResponseWriter, r *http.Request) {
	page := s.overview(s.stats.Get(r.Context(), firstWait), s.mayChange(r))
	s.render(w, r, http.StatusOK, "overview.html", frame{Live: true, Page: page})
}

// sectionNames are the parts of the first page that change.
var sectionNames = []string{"state", "now", "synced", "waiting", "hour", "failed", "projects"}

// sections renders the parts of the first page.
func (s *Server) sections(mayChange bool) sections {
	o := s.overview(s.stats.Get(context.Background(), 0), mayChange)
	all := sections{}
	for _, name := range sectionNames {
		var b bytes.Buffer
		if err := sectionTemplates.ExecuteTemplate(&b, name, o); err != nil {
			s.Log.Error("cannot render a part of the page", zap.String("part", name), zap.Error(err))
			continue
		}
		all[name] = b.String()
	}
	return all
}

// failedPage is one page of the failed files.
type failedPage struct {
	Listed    bool
	MayChange bool
	Project   string
	Projects  []string // that have failed files
	Groups    []failedGroup
	Whole     string // the project that all of them are of, if it is one
	From, To  int    // numbers of the first and the last group
	Count     int    // groups of all pages
	Files     int64
	More      bool // there are more than were read
	Page      int
	Previous  string
	Next      string
}

func (s *Server) failed(w http.ResponseWriter, r *http.Request) {
	stats := s.stats.Get(r.Context(), firstWait)
	q := r.URL.Query()
	p := failedPage{Listed: s.stats == nil || !stats.Listed.IsZero(), MayChange: s.mayChange(r),
		Project: q.Get("project"), More: stats.FailedFiles >= maxFailed}
	var all []failedGroup
	for _, g := range stats.Failed {
		if !slices.Contains(p.Projects, g.Key.Project) {
			p.Projects = append(p.Projects, g.Key.Project)
		}
		if p.Project == "" || p.Project == g.Key.Project {
			all = append(all, g)
			p.Files += g.Files
		}
	}
	slices.Sort(p.Projects)
	p.Count = len(all)
	p.Page, _ = strconv.Atoi(q.Get("page"))
	p.Page = min(max(p.Page, 1), max((len(all)+perPage-1)/perPage, 1))
	first := (p.Page - 1) * perPage
	p.Groups = all[first:min(first+perPage, len(all))]
	p.From, p.To = first+1, first+len(p.Groups)
	if p.Whole = p.Project; len(p.Projects) == 1 {
		p.Whole = p.Projects[0]
	}
	link := func(page int) string {
		v := url.Values{"page": {strconv.Itoa(page)}}
		if p.Project != "" {
			v.Set("project", p.Project)
		}
		return "/failed?" + v.Encode()
	}
	if p.Page > 1 {
		p.Previous = link(p.Page - 1)
	}
	if p.To < len(all) {
		p.Next = link(p.Page + 1)
	}
	s.render(w, r, http.StatusOK, "failed.html", frame{Title: "Failed files", Page: p})
}

// explain says why a representation is synced or not.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	project, id := r.PathValue("project"), r.PathValue("id")
	if s.Source == nil {
		s.fail(w, r, http.StatusNotFound, "Nothing is synced, so there is nothing to explain.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	e, err := s.explanations.Get(ctx, project, id)
	var notFound *explain.NotFoundError
	switch {
	case errors.As(err, &notFound):
		s.fail(w, r, http.StatusNotFound, err.Error())
	case err != nil:
		if ctx.Err() == nil {
			s.Log.Warn("cannot explain a representation", zap.String("project", project),
				zap.String("representation", id), zap.Error(err))
		}
		s.fail(w, r, http.StatusServiceUnavailable,
			"It cannot be explained at the moment: the database or the site does not answer; the log says more.")
	default:
		s.render(w, r, http.StatusOK, "explain.html", frame{Title: e.Heading(), Page: e})
	}
}
