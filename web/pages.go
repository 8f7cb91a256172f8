package web

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"sitesync/explain"
)

const (
	// firstWait is how long a page waits for the database if no page was open for a while. What is not known by then
	// comes later.
	firstWait = 100 * time.Millisecond

	// perPage is how many representations a page of failed files has.
	perPage = 100

	// actionTimeout bounds what a button asks for.
	actionTimeout = time.Minute

	// maxForm bounds what a form sends, in bytes.
	maxForm = 16 << 10

	// How many explanations may be made in a row, and how often another one.
	explainBurst    = 10
	explainInterval = 3 * time.Second

	// explainTimeout bounds an explanation, which asks the database and the remote site.
	explainTimeout = 25 * time.Second

	// explanationTTL is how long an explanation is shown again.
	explanationTTL = 5 * time.Second
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
	Listed, MayChange bool
	Project           string   // the only one to show; empty for all
	Projects          []string // that have failed files
	Groups            []failedGroup
	Whole             string // the project that all of them are of, if it is one
	From, To          int    // numbers of the first and the last group
	Count             int    // groups of all pages
	Files             int64
	More              bool // there are more than were read
	Page              int
	Previous, Next    string // paths
}

func (s *Server) failed(w http.ResponseWriter, r *http.Request) {
	stats := s.stats.Get(r.Context(), firstWait)
	q := r.URL.Query()
	p := failedPage{Listed: !stats.Listed.IsZero(), MayChange: s.mayChange(r), Project: q.Get("project"),
		More: stats.FailedMore()}
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
	pages := max((len(all)+perPage-1)/perPage, 1)
	p.Page = min(max(p.Page, 1), pages)
	first := (p.Page - 1) * perPage
	p.Groups = all[first:min(first+perPage, len(all))]
	p.From, p.To = first+1, first+len(p.Groups)
	if p.Whole = p.Project; len(p.Projects) == 1 {
		p.Whole = p.Projects[0]
	}
	link := func(page int) string {
		if page < 1 || page > pages {
			return ""
		}
		v := url.Values{"page": {strconv.Itoa(page)}}
		if p.Project != "" {
			v.Set("project", p.Project)
		}
		return "/failed?" + v.Encode()
	}
	p.Previous, p.Next = link(p.Page-1), link(p.Page+1)
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

// explainCache bounds what explanations cost the database and the remote site, however many people read them: one is
// made at a time, few a minute, and each is shown again for a moment.
type explainCache struct {
	load   func(ctx context.Context, project, id string) (*explain.Report, error)
	calls  singleflight.Group
	one    *semaphore.Weighted // held while one is made
	pacing *rate.Limiter

	mu   sync.Mutex
	last map[string]explanation // by key of calls
}

// explanation is a report that was made.
type explanation struct {
	*explain.Report
	made time.Time
}

func (e explanation) expired() bool { return time.Since(e.made) >= explanationTTL }

// Heading names the representation as an artist would.
func (e explanation) Heading() string {
	if len(e.Groups) == 0 {
		return "Representation"
	}
	return name(e.Groups[0].Example.Path)
}

func newExplainCache(load func(ctx context.Context, project, id string) (*explain.Report, error)) *explainCache {
	return &explainCache{load: load, one: semaphore.NewWeighted(1), last: map[string]explanation{},
		pacing: rate.NewLimiter(rate.Every(explainInterval), explainBurst)}
}

// Get explains a representation, or returns the explanation that was just made.
func (c *explainCache) Get(ctx context.Context, project, id string) (explanation, error) {
	key := project + "\x00" + id
	c.mu.Lock()
	last, ok := c.last[key]
	c.mu.Unlock()
	if ok && !last.expired() {
		return last, nil
	}
	result := c.calls.DoChan(key, func() (any, error) {
		// Others may wait for it when this request has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		if err := c.one.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer c.one.Release(1)
		if err := c.pacing.Wait(ctx); err != nil {
			return nil, err
		}
		report, err := c.load(ctx, project, id)
		if err != nil {
			return nil, err
		}
		e := explanation{report, time.Now()}
		c.mu.Lock()
		defer c.mu.Unlock()
		maps.DeleteFunc(c.last, func(_ string, e explanation) bool { return e.expired() })
		c.last[key] = e
		return e, nil
	})
	select {
	case r := <-result:
		e, _ := r.Val.(explanation)
		return e, r.Err
	case <-ctx.Done():
		return explanation{}, ctx.Err()
	}
}

// loginPage is the form to sign in.
type loginPage struct{ Back, Error string }

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	page := loginPage{Back: back(r.URL.Query().Get("back"))}
	s.render(w, r, http.StatusOK, "login.html", frame{Title: "Sign in", Page: page})
}

// signIn signs in a person who knows the token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p := loginPage{Back: back(r.PostFormValue("back"))}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	status := http.StatusForbidden
	switch {
	case s.sessions == nil:
		p.Error = "This sitesync has no token, so nothing can be changed here."
	case !s.sessions.allowAttempt(host):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptInterval/time.Second)))
		p.Error = "Too many attempts. Wait a few seconds."
	case !s.sessions.verify(strings.TrimSpace(r.PostFormValue("token"))):
		s.Log.Warn("sign-in to the page refused: wrong token", zap.String("remote", r.RemoteAddr))
		p.Error = "That is not the token. It is in the file that --web-token-file names, or in SITESYNC_WEB_TOKEN."
	default:
		s.Log.Info("signed in to the page", zap.String("remote", r.RemoteAddr))
		s.sessions.setCookie(w, r, s.sessions.create(time.Now()))
		http.Redirect(w, r, p.Back, http.StatusSeeOther)
		return
	}
	s.render(w, r, status, "login.html", frame{Title: "Sign in", Page: p})
}

// back is where to go after a form: a page of ours.
func back(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.Contains(to, `\`) || strings.HasPrefix(to, "/login") {
		return "/"
	}
	return u.RequestURI()
}

// authorized passes on requests of people who are signed in, by forms of our own pages.
func (s *Server) authorized(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		session := s.sessions.of(r, time.Now())
		switch {
		case s.sessions == nil:
			s.fail(w, r, http.StatusForbidden,
				"This page is read-only: sitesync was started without --web-token-file or SITESYNC_WEB_TOKEN.")
		case session == nil:
			s.fail(w, r, http.StatusForbidden,
				"You are not signed in, or your session has expired. Sign in and try again.")
		case !session.sent(r):
			s.fail(w, r, http.StatusForbidden,
				"This form is not from this page, or is too old. Reload the page and try again.")
		default:
			next(w, r, session)
		}
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, session *session) {
	s.sessions.end(session)
	s.sessions.setCookie(w, r, "")
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

// act does what a button asks for, logs who asked, and goes back to the page, which shows the message that do returns.
func (s *Server) act(w http.ResponseWriter, r *http.Request, session *session, action string,
	do func(context.Context) (string, error)) {
	// An action is not interrupted when the browser goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTimeout)
	defer cancel()
	log := s.Log.With(zap.String("what", action), zap.String("project", r.FormValue("project")),
		zap.String("representation", r.FormValue("id")), zap.String("remote", r.RemoteAddr))
	message, err := do(ctx)
	if err != nil {
		log.Warn("change from the page failed", zap.Error(err))
		message = "This did not work; the log says why."
	} else {
		log.Info("changed from the page", zap.String("done", message))
	}
	s.stats.Refresh()
	session.flash.Store(&message)
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

func (s *Server) retry(w http.ResponseWriter, r *http.Request, session *session) {
	project, id := r.FormValue("project"), r.FormValue("id")
	if project == "" {
		s.fail(w, r, http.StatusBadRequest, "The form does not say what to retry.")
		return
	}
	s.act(w, r, session, "retry", func(ctx context.Context) (string, error) {
		n, err := s.Actions.Retry(ctx, project, id)
		if n == 0 {
			return "There was nothing to retry: the files are synced, on their way, or gone.", err
		}
		return explain.Plural(n, "failed file") + " of " + project + " will be retried.", err
	})
}

func (s *Server) pause(w http.ResponseWriter, r *http.Request, session *session) {
	project := r.FormValue("project")
	s.act(w, r, session, "pause", func(ctx context.Context) (string, error) {
		return s.transfersOf(project) + " are paused. Running " + s.About.Noun() + "s finish.",
			s.Actions.Pause(ctx, project, "the page, from "+r.RemoteAddr)
	})
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request, session *session) {
	project := r.FormValue("project")
	s.act(w, r, session, "resume", func(ctx context.Context) (string, error) {
		return s.transfersOf(project) + " are resumed.", s.Actions.Resume(ctx, project)
	})
}

// transfersOf names those of a project, or all if it is "".
func (s *Server) transfersOf(project string) string {
	name := s.About.Noun() + "s"
	if project == "" {
		return "All " + name
	}
	return title(name) + " of " + project
}
