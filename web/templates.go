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
	"reflect"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// assets are what pages load. Pages refer to them with the version, which changes with their content, so that browsers
// may keep them.
var assets = func() (all struct {
	files   map[string][]byte
	version string
}) {
	all.files = map[string][]byte{}
	sum := sha256.New()
	entries, _ := fs.ReadDir(assetFiles, "assets") // they are in the program
	for _, e := range entries {
		data, _ := fs.ReadFile(assetFiles, "assets/"+e.Name())
		all.files[e.Name()] = data
		sum.Write(data)
	}
	all.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return all
}()

// functions are what templates can call. Numbers are integers of any type.
var functions = template.FuncMap{
	"size": size, "name": name, "folder": folder, "do": actionPath, "explain": explainPath,
	"level": levelOf, "verdict": verdict, "waitsFor": waitsFor, "wrap": wrap, "now": time.Now,
	"comma":  func(n any) string { return humanize.Comma(reflect.ValueOf(n).Int()) },
	"plural": func(n any, noun string) string { return plural(reflect.ValueOf(n).Int(), noun) },
	"others": func(n int64, noun string) string { return plural(n-1, "other "+noun) },
	"asset":  func(name string) string { return "/static/" + name + "?v=" + assets.version },
	"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"clock":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"ago":    func(t time.Time) string { return ago(t, time.Now()) },
	"row":    func(g failedGroup, mayChange bool) failedRow { return failedRow{g, mayChange} },
}

// failedRow is a row of the list of failed files.
type failedRow struct {
	failedGroup
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
	Flash     string
	Live      bool
	Page      any
}

// render writes a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	f.About, f.Here, f.ReadOnly = s.About, r.URL.RequestURI(), s.sessions == nil
	if session := s.sessions.of(r, time.Now()); session != nil {
		f.MayChange, f.Form, f.Flash = true, session.form, s.sessions.takeFlash(session)
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
