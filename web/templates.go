package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"sitesync/duration"
	"sitesync/explain"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// assetVersion changes with the content of what pages load. They refer to it with the version, so that browsers may
// keep it.
var assetVersion = func() string {
	sum := sha256.New()
	names, _ := fs.Glob(assetFiles, "assets/*") // neither fails: they are in the program
	for _, name := range names {
		data, _ := assetFiles.ReadFile(name)
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}()

// functions are what templates can call. Numbers are integers of any type.
var functions = template.FuncMap{
	"size": size, "name": name, "folder": folder, "do": actionPath, "explain": explainPath,
	"verdict": verdict, "wrap": wrap, "now": time.Now, "toDo": toDo, "title": title,
	"comma":  func(n any) string { return humanize.Comma(reflect.ValueOf(n).Int()) },
	"plural": func(n any, noun string) string { return explain.Plural(reflect.ValueOf(n).Int(), noun) },
	"others": func(n int64, noun string) string { return explain.Plural(n-1, "other "+noun) },
	"asset":  func(name string) string { return "/static/" + name + "?v=" + assetVersion },
	"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"clock":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"ago":    func(t time.Time) string { return ago(t, time.Now()) },
	"row":    func(g failedGroup, both, mayChange bool) failedRow { return failedRow{g, both, mayChange} },
	"paused": func(pauses []pause) string { return noun(pausedDirections(pauses)) + "s" },
}

// failedRow is a row of the list of failed files.
type failedRow struct {
	failedGroup
	Both      bool // rows of other directions stand beside it
	MayChange bool
}

// templates render whole pages.
var templates = template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/*.html"))

// sectionTemplates render the parts of the first page that are sent again when they change. They have times as they
// are: how long ago that is changes all the time, and the browser writes it.
var sectionTemplates = template.Must(template.Must(templates.Clone()).
	Parse(`{{define "when"}}<time datetime="{{stamp .}}" title="{{clock .}}">{{clock .}}</time>{{end}}`))

func explainPath(project string, id any) string {
	return "/r/" + url.PathEscape(project) + "/" + url.PathEscape(fmt.Sprint(id))
}

// actionPath is where a button sends its form to.
func actionPath(action, project string, id any) string {
	q := url.Values{"project": {project}}
	if text := fmt.Sprint(id); text != "" {
		q.Set("id", text)
	}
	return "/" + action + "?" + q.Encode()
}

// frame is what every page has.
type frame struct {
	About     About
	Title     string // of this page; empty for the first
	Here      string // its path, to come back to
	MayChange bool
	ReadOnly  bool   // nobody may change anything
	Form      string // what forms must send
	Flash     *string
	Live      bool
	Page      any
}

// render writes a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	f.About, f.Here, f.ReadOnly = s.About, r.URL.RequestURI(), s.sessions == nil
	if session := s.sessions.of(r, time.Now()); session != nil {
		f.MayChange, f.Form, f.Flash = true, session.form, session.flash.Swap(nil)
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, f); err != nil {
		s.Log.Error("cannot render a page", zap.String("page", name), zap.Error(err))
		http.Error(w, "cannot render the page; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may have gone
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.render(w, r, status, "message.html", frame{Title: http.StatusText(status), Page: text})
}

func static(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("v") == assetVersion {
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, assetFiles, "assets/"+r.PathValue("name"))
}

// verdict is what an explanation comes to.
func verdict(s explain.Severity) headline {
	switch s {
	case explain.OK:
		return headline{OK, "Synced"}
	case explain.Waiting:
		return headline{InProgress, "On its way: no action is needed"}
	case explain.Wrong:
		return headline{Error, "Needs attention"}
	}
	return headline{Warning, "Cannot be seen from here"}
}

// wrap lets a browser break a path where a person would.
func wrap(p string) template.HTML {
	breaks := strings.NewReplacer("/", "/<wbr>", "_", "_<wbr>", `\`, `\<wbr>`)
	return template.HTML(breaks.Replace(template.HTMLEscapeString(p)))
}

// title begins a text with a capital letter.
func title(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// name is the last part of a path.
func name(p string) string { return path.Base(strings.ReplaceAll(p, `\`, "/")) }

// folder is a path without its last part, and without the root and the project that Pype's paths begin with.
func folder(project, p string) string {
	dir := strings.TrimPrefix(path.Dir(strings.ReplaceAll(p, `\`, "/")), "{root}")
	if dir == "." {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(dir, "/"), project+"/")
}

func size(n int64) string {
	if n < 0 {
		return "size unknown"
	}
	return humanize.IBytes(uint64(n))
}

// elapsed is a duration for people, in up to two units.
func elapsed(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/day)
}

// ago is how long ago, or in how long, a time is.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + duration.Rough(-d)
	}
	return duration.Rough(d) + " ago"
}

// Reaction is how long the files of the group took.
func (g syncedGroup) Reaction() string {
	if g.Files > 1 && g.Slowest >= g.Fastest+g.Fastest/2 {
		return elapsed(g.Fastest) + " to " + elapsed(g.Slowest)
	}
	return elapsed(g.Slowest)
}

// Level is how good or bad something is. It is a class of the style sheet.
type Level string

// The levels.
const (
	OK         Level = "ok"
	InProgress Level = "in-progress"
	Warning    Level = "warning"
	Error      Level = "error"
	Neutral    Level = "neutral"
)

// Text is the level for people who do not see colors.
func (l Level) Text() string {
	if l == Neutral {
		return "not known"
	}
	return strings.ReplaceAll(string(l), "-", " ")
}
