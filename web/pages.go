package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"sitesync/explain"
	"sitesync/uploader"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

const (
	// firstAnswer is how long the first page waits for the database when nobody has looked for a while. What is not
	// known by then comes later.
	firstAnswer = 100 * time.Millisecond

	// actionTimeout bounds what is asked for by a button.
	actionTimeout = time.Minute

	// explainTimeout bounds an explanation, which asks the database and Drive.
	explainTimeout = 25 * time.Second

	// explainedFor is how long an explanation is shown again, so that reading costs Drive few requests whoever reads.
	explainedFor = 5 * time.Second

	// perPage is how many representations a page of failed files has.
	perPage = 100

	// maxForm bounds what a form sends, bytes.
	maxForm = 16 << 10
)

// assets are what pages load. Their names in pages change with their content, so browsers may keep them.
var assets = func() (all struct {
	files   map[string][]byte
	version string
}) {
	all.files = map[string][]byte{}
	sum := sha256.New()
	entries, _ := fs.ReadDir(assetFiles, "assets") // it is in the program
	for _, e := range entries {
		data, _ := fs.ReadFile(assetFiles, "assets/"+e.Name())
		all.files[e.Name()] = data
		sum.Write(data)
	}
	all.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return all
}()

// functions are what templates can call.
var functions = template.FuncMap{
	"size": size, "plural": plural, "name": name, "folder": folder, "comma": humanize.Comma, "do": doPath,
	"dec":     func(n int64) int64 { return n - 1 },
	"long":    func(n int) int64 { return int64(n) },
	"whole":   func(f float64) int64 { return int64(f) },
	"now":     time.Now,
	"asset":   func(name string) string { return "/static/" + name + "?v=" + assets.version },
	"explain": explainPath,
	"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"clock":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"ago":     func(t time.Time) string { return ago(t, time.Now()) },
	"row":     func(g failedGroup, mayChange bool) failedRow { return failedRow{g, mayChange} },
	"tries": func(n int) string {
		if n == 1 {
			return "1 try"
		}
		return fmt.Sprintf("%d tries", n)
	},
	"level": levelOf, "verdict": verdict, "waitsFor": waitsFor,
	"wrap": wrap,
}

// wrap has a browser break a path where a person would.
func wrap(p string) template.HTML {
	return template.HTML(strings.NewReplacer("/", "/<wbr>", "_", "_<wbr>", `\`, `\<wbr>`).Replace(template.HTMLEscapeString(p)))
}

// failedRow is a line of the list of failed files.
type failedRow struct {
	failedGroup
	MayChange bool
}

// verdict is what an explanation comes to.
func verdict(v explain.Severity) string {
	switch v {
	case explain.OK:
		return "Synced"
	case explain.Waiting:
		return "On its way: nobody has to do anything"
	case explain.Wrong:
		return "Somebody has to do something"
	}
	return "It can't be told from here"
}

// waitsFor says in a few words what a file waits for.
func waitsFor(w uploader.Waiting, remoteSite string) string {
	switch {
	case w.Failed:
		return "the next try"
	case w.Away:
		return remoteSite
	}
	return "its source"
}

// templates make whole pages.
var templates = template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/*.html"))

// parts make what of the first page is sent again as it changes. A time in them is told as it is: how long ago that is
// changes all the time, and the browser tells it.
var parts = template.Must(template.Must(templates.Clone()).
	Parse(`{{define "when"}}<time datetime="{{stamp .}}" title="{{clock .}}">{{clock .}}</time>{{end}}`))

func explainPath(project string, id any) string {
	return "/r/" + url.PathEscape(project) + "/" + url.PathEscape(fmt.Sprint(id))
}

// doPath is where a button sends its form to.
func doPath(what, project string, id any) string {
	q := url.Values{"project": {project}}
	if text := fmt.Sprint(id); text != "" {
		q.Set("id", text)
	}
	return "/" + what + "?" + q.Encode()
}

// frame is what every page has.
type frame struct {
	About     About
	Title     string // of this page; empty for the first
	Here      string // its path, to come back to
	MayChange bool
	ReadOnly  bool   // nobody may change anything
	Form      string // what forms must send
	Flash     string
	Live      bool
	Page      any
}

// pages adds the page to what is served.
func (s *Server) pages(mux *http.ServeMux) {
	guard := func(h http.HandlerFunc) http.Handler { return local(s.Listen, guarded(h)) }
	mux.Handle("GET /{$}", guard(s.first))
	mux.Handle("GET /events", guard(s.events))
	mux.Handle("GET /failed", guard(s.failed))
	mux.Handle("GET /r/{project}/{id}", guard(s.explain))
	mux.Handle("GET /login", guard(s.login))
	mux.Handle("GET /static/{name}", guard(static))

	// A form of another site can't send our cookie, which is SameSite=Strict, nor know what a form of ours must send.
	// A browser says where a request comes from besides.
	cross := http.NewCrossOriginProtection()
	change := func(h http.HandlerFunc) http.Handler { return local(s.Listen, guarded(cross.Handler(h))) }
	mux.Handle("POST /login", change(s.signIn))
	mux.Handle("POST /logout", change(s.authorized(s.signOut)))
	mux.Handle("POST /retry", change(s.authorized(s.retry)))
	mux.Handle("POST /pause", change(s.authorized(s.pause)))
	mux.Handle("POST /resume", change(s.authorized(s.resume)))
}

func static(w http.ResponseWriter, r *http.Request) {
	data, ok := assets.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == assets.version {
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	}
	http.ServeContent(w, r, r.PathValue("name"), time.Time{}, bytes.NewReader(data))
}

// show writes a page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	f.About, f.Here, f.ReadOnly = s.About, r.URL.RequestURI(), s.sessions == nil || s.Actions == nil
	if who := s.sessions.of(r, time.Now()); who != nil && s.Actions != nil {
		f.MayChange, f.Form = true, who.form
		if f.Flash == "" {
			f.Flash = s.sessions.told(who)
		}
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, f); err != nil {
		s.Log.Error("a page can't be made", zap.String("page", name), zap.Error(err))
		http.Error(w, "the page can't be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked has gone
}

// look is what the database is known to have.
func (s *Server) look(ctx context.Context) ledger {
	if s.books == nil {
		return ledger{}
	}
	return s.books.lookWithin(ctx, firstAnswer)
}

// first is the first page.
func (s *Server) first(w http.ResponseWriter, r *http.Request) {
	books := s.look(r.Context())
	mayChange := s.mayChange(r)
	s.show(w, r, http.StatusOK, "overview.html", frame{Live: true, Page: s.overview(books, mayChange)})
}

func (s *Server) mayChange(r *http.Request) bool {
	return s.Actions != nil && s.sessions.of(r, time.Now()) != nil
}

// sectionNames are the parts of the first page that change.
var sectionNames = []string{"state", "now", "synced", "waiting", "hour", "failed", "projects"}

// sections makes the parts of the first page.
func (s *Server) sections(mayChange bool) sections {
	var books ledger
	if s.books != nil {
		books = s.books.look()
	}
	o := s.overview(books, mayChange)
	all := sections{}
	for _, name := range sectionNames {
		var b bytes.Buffer
		if err := parts.ExecuteTemplate(&b, name, o); err != nil {
			s.Log.Error("a part of the page can't be made", zap.String("part", name), zap.Error(err))
			continue
		}
		all[name] = b.String()
	}
	return all
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	s.hub.serve(w, r, s.mayChange(r))
}

// failedPage is one page of the failed files.
type failedPage struct {
	Listed    bool
	MayChange bool
	Project   string
	Projects  []string // that have failed files
	Groups    []failedGroup
	Whole     string // the project that all of them are of, if it is one
	From, To  int64  // numbers of the first and the last one
	Count     int64  // representations of all pages
	Files     int64
	More      bool // there are more than were read
	Page      int
	Previous  string
	Next      string
}

func (s *Server) failed(w http.ResponseWriter, r *http.Request) {
	books := s.look(r.Context())
	q := r.URL.Query()
	p := failedPage{Listed: s.books == nil || !books.Listed.IsZero(), MayChange: s.mayChange(r), Project: q.Get("project"), More: books.Files >= mostFailed}
	var all []failedGroup
	for _, g := range books.Failed {
		if !slices.Contains(p.Projects, g.Key.Project) {
			p.Projects = append(p.Projects, g.Key.Project)
		}
		if p.Project == "" || p.Project == g.Key.Project {
			all = append(all, g)
			p.Files += g.Files
		}
	}
	slices.Sort(p.Projects)
	p.Count = int64(len(all))
	p.Page, _ = strconv.Atoi(q.Get("page"))
	p.Page = min(max(p.Page, 1), max((len(all)+perPage-1)/perPage, 1))
	first := (p.Page - 1) * perPage
	p.Groups = all[first:min(first+perPage, len(all))]
	p.From, p.To = int64(first+1), int64(first+len(p.Groups))
	if p.Whole = p.Project; len(p.Projects) == 1 {
		p.Whole = p.Projects[0]
	}
	at := func(page int) string {
		v := url.Values{"page": {strconv.Itoa(page)}}
		if p.Project != "" {
			v.Set("project", p.Project)
		}
		return "/failed?" + v.Encode()
	}
	if p.Page > 1 {
		p.Previous = at(p.Page - 1)
	}
	if first+perPage < len(all) {
		p.Next = at(p.Page + 1)
	}
	s.show(w, r, http.StatusOK, "failed.html", frame{Title: "Failed files", Page: p})
}

// explained is an explanation that was given.
type explained struct {
	*explain.Report
	at time.Time
}

// Heading names the representation as an artist would.
func (e explained) Heading() string {
	if len(e.Groups) == 0 {
		return "Representation"
	}
	return name(e.Groups[0].Example.Path)
}

// explain asks the database and Drive, so what was just told is told again, and one is made at a time.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	project, id := r.PathValue("project"), r.PathValue("id")
	if s.Source == nil {
		s.fail(w, r, http.StatusNotFound, "nothing is synced, so there is nothing to explain")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	e, err := s.explanations.of(ctx, project, id, s.Source.Explain)
	var unknown *explain.NotFoundError
	switch {
	case errors.As(err, &unknown):
		s.fail(w, r, http.StatusNotFound, err.Error())
		return
	case err != nil:
		if ctx.Err() == nil {
			s.Log.Warn("a representation can't be explained", zap.String("project", project), zap.String("representation", id), zap.Error(err))
		}
		s.fail(w, r, http.StatusServiceUnavailable, "It can't be explained just now: the database or the site does not answer; the log says more")
		return
	}
	s.show(w, r, http.StatusOK, "explain.html", frame{Title: e.Heading(), Page: e})
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.show(w, r, status, "message.html", frame{Title: http.StatusText(status), Page: text})
}

// loginPage is the form to sign in.
type loginPage struct {
	Back  string
	Wrong string
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "login.html", frame{Title: "Sign in", Page: loginPage{Back: back(r.URL.Query().Get("back"))}})
}

// signIn signs in whoever knows the token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p := loginPage{Back: back(r.PostFormValue("back"))}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	status := http.StatusForbidden
	switch {
	case s.sessions == nil || s.Actions == nil:
		p.Wrong = "This sitesync has no token, so nothing can be changed here."
	case !s.sessions.mayTry(host):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(tryEvery/time.Second)))
		p.Wrong = "Too many tries. Wait a few seconds."
	case !s.sessions.fits(strings.TrimSpace(r.PostFormValue("token"))):
		s.Log.Warn("somebody gave a wrong token to the page", zap.String("remote", r.RemoteAddr))
		p.Wrong = "That is not the token. It is in the file that --web-token-file names, or in SITESYNC_WEB_TOKEN."
	default:
		s.Log.Info("somebody signed in to the page", zap.String("remote", r.RemoteAddr))
		s.sessions.setCookie(w, r, s.sessions.begin(time.Now()))
		http.Redirect(w, r, p.Back, http.StatusSeeOther)
		return
	}
	s.show(w, r, status, "login.html", frame{Title: "Sign in", Page: p})
}

// back is where to go after a form: a page of ours.
func back(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) ||
		strings.HasPrefix(to, "/login") {
		return "/"
	}
	return u.RequestURI()
}

// authorized lets only those through who are signed in, and forms that are from our own pages.
func (s *Server) authorized(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		who := s.sessions.of(r, time.Now())
		switch {
		case s.Actions == nil || s.sessions == nil:
			s.fail(w, r, http.StatusForbidden, "This page is read-only: sitesync was started without --web-token-file or SITESYNC_WEB_TOKEN.")
		case who == nil:
			s.fail(w, r, http.StatusForbidden, "You are not signed in, or were signed in too long ago. Sign in and try again.")
		case !who.sent(r):
			s.fail(w, r, http.StatusForbidden, "This form is not of this page, or is too old. Load the page again.")
		default:
			next(w, r, who)
		}
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, _ *session) {
	s.sessions.end(r)
	s.sessions.setCookie(w, r, "")
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

// act does what a button asks for, notes who asked, and goes back to the page.
func (s *Server) act(w http.ResponseWriter, r *http.Request, who *session, what string, do func(context.Context) (string, error)) {
	// What was begun is not to end in the middle as somebody leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTimeout)
	defer cancel()
	project, id := r.FormValue("project"), r.FormValue("id")
	log := s.Log.With(zap.String("what", what), zap.String("project", project), zap.String("representation", id), zap.String("remote", r.RemoteAddr))
	said, err := do(ctx)
	if err != nil {
		log.Warn("a change from the page did not work", zap.Error(err))
		said = "This did not work; the log says why."
	} else {
		log.Info("changed from the page", zap.String("done", said))
	}
	s.books.changed()
	s.sessions.tell(who, said)
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

func (s *Server) retry(w http.ResponseWriter, r *http.Request, who *session) {
	project, id := r.FormValue("project"), r.FormValue("id")
	if project == "" {
		s.fail(w, r, http.StatusBadRequest, "The form does not say what is to be tried again.")
		return
	}
	s.act(w, r, who, "retry", func(ctx context.Context) (string, error) {
		n, err := s.Actions.Retry(ctx, project, id)
		if n == 0 {
			return "There was nothing to try again: the files are synced, on their way, or gone.", err
		}
		return plural(n, "failed file") + " of " + project + " will be tried again.", err
	})
}

func (s *Server) pause(w http.ResponseWriter, r *http.Request, who *session) {
	project := r.FormValue("project")
	s.act(w, r, who, "pause", func(ctx context.Context) (string, error) {
		return subject(project) + " paused. What is being uploaded is finished.", s.Actions.Pause(ctx, project, "the page, from "+r.RemoteAddr)
	})
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request, who *session) {
	project := r.FormValue("project")
	s.act(w, r, who, "resume", func(ctx context.Context) (string, error) {
		return subject(project) + " resumed.", s.Actions.Resume(ctx, project)
	})
}

func subject(project string) string {
	if project == "" {
		return "All uploads are"
	}
	return "Uploads of " + project + " are"
}
