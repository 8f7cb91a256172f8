// Package web serves sitesync over HTTP: the page for people, health and readiness, and metrics. Its caller provides a
// [Snapshot] of the running parts, a [Source] of what the page shows, and the [Actions] that people with the token may
// ask for. Nothing that it serves is a secret.
package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

const (
	// pingTimeout bounds how long readiness waits for the database. A Kubernetes probe has a timeout of 1 s by default.
	pingTimeout = 800 * time.Millisecond

	// How long a request, and its answer, may take on the way.
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second

	// stopTimeout is how long requests may finish when the server stops.
	stopTimeout = 500 * time.Millisecond
)

// Options say what is served, and where. All must be given but Pprof, and what is for the page.
type Options struct {
	Listen   string                      // HOST:PORT, port 0 for any free one; empty: nothing is served
	Pprof    bool                        // profiles are served too
	Snapshot func() Snapshot             // called for each request, so it must be quick
	Ping     func(context.Context) error // whether the database answers
	Log      *zap.Logger

	// For the page.
	About   About
	Source  Source  // nil if nothing is synced
	Actions Actions // nil: nothing can be changed
	Token   string  // for changing something; empty: nothing can be changed
}

// Server serves the page, health and metrics.
type Server struct {
	Options
	metrics *metrics
	pings   singleflight.Group // one ping at a time

	history      history
	speeds       speeds
	stats        *statsCache   // nil without a source
	explanations *explainCache // nil without a source
	hub          *hub
	sessions     *sessions // nil if nobody may change anything

	http   *http.Server
	addr   net.Addr
	served chan struct{} // closed when it has ended

	// Constants that tests change.
	stopTimeout, readTimeout, writeTimeout time.Duration
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{Options: o, metrics: newMetrics(o.About, o.Snapshot), stopTimeout: stopTimeout,
		readTimeout: readTimeout, writeTimeout: writeTimeout}
	if o.Source != nil {
		s.stats, s.explanations = newStatsCache(o.Source, o.About.Directions, o.Log), newExplainCache(o.Source.Explain)
	}
	if o.Actions != nil {
		s.sessions = newSessions(o.Token)
	}
	s.hub = newHub(s.sections, assetVersion)
	return s
}

// Start listens and serves. Stop must follow if it succeeds.
func (s *Server) Start() error {
	if s.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("cannot serve the page, health and metrics: %w; give another address with "+
			"--listen HOST:PORT, or --listen off", err)
	}
	s.addr = l.Addr()
	s.http = &http.Server{
		Handler: s.handler(), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: s.readTimeout,
		WriteTimeout: s.writeTimeout, IdleTimeout: 2 * time.Minute,
	}
	s.http.RegisterOnShutdown(s.hub.Close) // Shutdown would wait for the streams of events
	// Errors of clients are of no interest to operators.
	if s.http.ErrorLog, err = zap.NewStdLogAt(s.Log, zap.DebugLevel); err != nil {
		_ = l.Close() // nothing was served
		return err
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("the page, health and metrics are no longer served", zap.Error(err))
		}
	}()
	s.Log.Info("the page, health and metrics are served", zap.Stringer("address", s.addr))
	return nil
}

// Addr is the address that it listens on, nil if it does not.
func (s *Server) Addr() net.Addr { return s.addr }

// Stop lets requests finish for up to 500 ms and stops the server.
func (s *Server) Stop() {
	if s.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.stopTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // it has timed out, nothing more can be done
	}
	<-s.served
	s.hub.Close()
	s.stats.Close()
}

// Synced adds a file that was synced to the history and the metrics.
func (s *Server) Synced(f uploader.SyncedFile) {
	s.metrics.transfer.WithLabelValues(string(f.Direction)).Observe(f.Took.Seconds())
	s.metrics.reaction.WithLabelValues(string(f.Direction)).Observe(f.Reaction.Seconds())
	s.history.add(f, time.Now())
}

// handler answers GET and HEAD, and POST where something can be changed.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	if s.Pprof {
		profiles(mux)
	}
	s.pages(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// profiles serves what go tool pprof reads, but not the command line, which may contain a password.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
}

// policy lets the page load and send only to where it came from, and runs no script that stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// securityHeaders keeps other sites from reading or framing the page.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin") // with none, a browser would not say where a form comes from
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// requireLocalHost refuses requests for another host if only this machine can connect. A browser on this machine can
// connect for anyone: the name of a foreign site can be made to resolve to this machine, and its scripts could then
// read the page. But they cannot set the Host header.
func requireLocalHost(listen string, next http.Handler) http.Handler {
	if !config.IsLoopback(hostOf(listen)) {
		return next // the names by which others reach it are not known
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.IsLoopback(hostOf(r.Host)) {
			http.Error(w, "this page is only for this machine: open http://"+listen+"/. A proxy in front of it must "+
				"send that as Host, or sitesync must listen on another address (--listen)",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf is the host of HOST:PORT or of HOST.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// Snapshot is the state of sitesync at one moment.
type Snapshot struct {
	Idle     bool // remote_site is empty, so nothing is synced
	Stopping bool
	Majority string  // what the replica set lacks for confirming writes, without names of hosts; empty if nothing
	Routes   []Route // one for each of [About.Directions], also before their pipelines run; none if idle

	MadeAccessible int64 // files that got a record of a site of always_accessible_on
}

// Route is the state of a route at one moment. One that has just started has but a direction.
type Route struct {
	Direction config.Direction // Up or Down
	Lease     state.LeaseState

	// How publishes are found.
	Stream  watcher.State
	Streams watcher.StreamCounts
	Polling bool // the fallback poll is used
	Polls   watcher.PollCounts
	Queue   Queue

	Uploader uploader.Stats
	Activity uploader.Activity
	Paused   uploader.Paused
	Site     site.Stats // of its connection to the remote site
}

// Queue counts the keys of representations that wait.
type Queue struct {
	Live, Backlog int // to be processed, by lane
	Delayed       int // until later: after a failed try, or as a source is not there yet
}

// standby reports whether another process holds the lease.
func (r *Route) standby() bool { return !r.Lease.Held && r.Lease.Holder != nil }

// polls reports whether publishes are found by the poll.
func (r *Route) polls() bool { return r.Polling && !r.Polls.Failing }

// standby reports whether other processes hold the leases of all routes.
func (s *Snapshot) standby() bool {
	return len(s.Routes) > 0 && !slices.ContainsFunc(s.Routes, func(r Route) bool { return !r.standby() })
}

// noun is what the transfers of these directions are called: "upload", "download", or "transfer" for both.
func noun(directions []config.Direction) string {
	if len(directions) == 1 {
		return directions[0].Noun()
	}
	return "transfer"
}

// byRoute gathers what there is to say of each route. What all of them have in common stands alone; all else names its
// direction.
func byRoute(routes []Route, say func(*Route) []string) (all []string) {
	said := make([][]string, len(routes))
	for i := range routes {
		said[i] = say(&routes[i])
	}
	for i, lines := range said {
		for _, line := range lines {
			if slices.ContainsFunc(said, func(of []string) bool { return !slices.Contains(of, line) }) {
				line = routes[i].Direction.Noun() + "s: " + line
			}
			if !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	return all
}

// Source reads what the page shows from the database and the remote site. All methods may be called at the same time
// from many goroutines; they are called seldom, and only while a page is open. Directions are Up or Down.
type Source interface {
	// Pauses returns what people have paused of a direction, all first.
	Pauses(ctx context.Context, d config.Direction) ([]state.Pause, error)
	Projects(ctx context.Context) ([]avalon.Project, error)
	// Count counts the files of a project by the rules of a direction. It may take long.
	Count(ctx context.Context, d config.Direction, project string) (avalon.Stats, error)
	// Failed returns at most limit files of a project that have no tries left, the last to fail first.
	Failed(ctx context.Context, d config.Direction, project string, limit int) ([]avalon.FailedFile, error)
	// Quota returns the space of the remote site.
	Quota(ctx context.Context) (site.Quota, error)
	// Explain says why a representation is synced or not. The error is an [*explain.NotFoundError] if there is none.
	Explain(ctx context.Context, project, id string) (*explain.Report, error)
}

// Actions are what can be changed from the page, in all directions of the process at once.
type Actions interface {
	// Retry has failed files tried again: those of a representation, or all of a project if id is "". It returns how
	// many there were.
	Retry(ctx context.Context, project, id string) (int64, error)
	// Pause pauses the transfers of a project, or all if it is "". Running ones finish, no other begins. by says
	// for people who has paused them.
	Pause(ctx context.Context, project, by string) error
	// Resume ends a pause, also one of a single direction.
	Resume(ctx context.Context, project string) error
}

// About says which sitesync this is.
type About struct {
	ActiveSite, RemoteSite string // the latter is empty if nothing is synced
	Host                   string
	Version                string
	Directions             []config.Direction // in which files are synced, Up first; none if nothing is synced
}

// Both reports whether files are synced in both directions.
func (a About) Both() bool { return len(a.Directions) > 1 }

// From is the site that files come from; with both directions, the active one.
func (a About) From() string {
	if slices.Equal(a.Directions, []config.Direction{config.Down}) {
		return a.RemoteSite
	}
	return a.ActiveSite
}

// To is the other site.
func (a About) To() string {
	if a.From() == a.RemoteSite {
		return a.ActiveSite
	}
	return a.RemoteSite
}

// Noun is what transfers are called: "upload" or "download" if there is only one direction.
func (a About) Noun() string { return noun(a.Directions) }

// health is the answer of /healthz. Of two routes, the status is the worse one, and each is there by its direction.
type health struct {
	routeHealth
	Routes map[config.Direction]routeHealth `json:"routes,omitempty"`
}

// routeHealth is what /healthz says of a route.
type routeHealth struct {
	Status string         `json:"status"` // ok, held, paused, standby or idle
	Holder *holder        `json:"holder,omitempty"`
	Held   map[string]int `json:"held,omitempty"` // holds by kind; the log says why
	Paused paused         `json:"paused,omitzero"`
}

// holder is the process that a standby waits for.
type holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// paused is what people have paused.
type paused struct {
	Site     bool `json:"site,omitempty"` // all transfers of a direction, at least
	Projects int  `json:"projects,omitempty"`
}

// statuses are those of a route, the worst first. A process is a standby only if it is one for all routes.
var statuses = []string{"held", "paused", "ok", "standby"}

func healthOf(s Snapshot) health {
	if s.Idle {
		return health{routeHealth: routeHealth{Status: "idle"}}
	}
	h := health{Routes: map[config.Direction]routeHealth{}}
	worst, held, projects := len(statuses)-1, map[string]int{}, map[string]bool{}
	for _, r := range s.Routes {
		of := r.health()
		h.Routes[r.Direction] = of
		worst = min(worst, slices.Index(statuses, of.Status))
		if s.standby() {
			h.Holder = cmp.Or(h.Holder, of.Holder)
		}
		for kind, n := range of.Held {
			held[kind] += n
		}
		h.Paused.Site = h.Paused.Site || of.Paused.Site
		if !r.standby() {
			maps.Copy(projects, r.Paused.Projects)
		}
	}
	h.Status, h.Held, h.Paused.Projects = statuses[worst], held, len(projects)
	if len(h.Routes) == 1 {
		h.Routes = nil // it says the same
	}
	return h
}

func (r *Route) health() routeHealth {
	if r.standby() {
		h := routeHealth{Status: "standby"}
		if l := r.Lease.Holder; l.Host != "" {
			h.Holder = &holder{l.Host, l.PID, l.Since.UTC()}
		}
		return h
	}
	h := routeHealth{Status: "ok", Held: map[string]int{}, Paused: paused{r.Paused.Site, len(r.Paused.Projects)}}
	for kind, n := range r.Uploader.Holding {
		h.Status, h.Held[heldKey(kind)] = "held", n
	}
	if r.Paused.Site {
		h.Status = "paused"
	}
	return h
}

// heldKey is the key of a kind of holds: the kind, in the plural if there can be several of it.
func heldKey(kind uploader.TargetKind) string {
	switch kind {
	case uploader.RemoteRoot, uploader.LocalRoot, uploader.ProjectFolder:
		return string(kind) + "s"
	}
	return string(kind)
}

// healthz answers for as long as the process works. A restart would fix nothing of what it reports.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, healthOf(s.Snapshot()))
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why not
	Held    []string `json:"held,omitempty"`    // what is held; all else goes on
}

// maxHeld bounds the names of what is held.
const maxHeld = 20

// notReady says what keeps sitesync from working; for a standby, from taking over.
func notReady(s Snapshot, databaseAnswers bool) []string {
	if s.Stopping {
		return []string{"sitesync is stopping"}
	}
	if s.Idle {
		return nil // there is nothing to do
	}
	var reasons []string
	if !databaseAnswers {
		reasons = append(reasons, "the database does not answer")
	}
	if s.Majority != "" {
		reasons = append(reasons, s.Majority)
	}
	return append(reasons, byRoute(s.Routes, (*Route).notReady)...)
}

func (r *Route) notReady() (reasons []string) {
	if r.standby() {
		return nil // it watches nothing yet
	}
	if !r.Lease.Held {
		reasons = append(reasons, "the lease is not held")
	}
	if r.Stream != watcher.StreamOpen && !r.polls() {
		reasons = append(reasons, "publishes are not seen: the change stream is not open, and the poll is off or fails")
	}
	return reasons
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	snapshot := s.Snapshot()
	reasons := notReady(snapshot, snapshot.Idle || s.ping())
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	answer := readiness{Ready: len(reasons) == 0, Reasons: reasons}
	answer.Held = headOf(byRoute(snapshot.Routes, func(r *Route) (held []string) {
		for _, h := range r.Activity.Held {
			held = append(held, h.Subject())
		}
		return held
	}), maxHeld).Rows
	writeJSON(w, status, answer)
}

// ping reports whether the database answers. The error is not served: it may name servers, and the log has it.
func (s *Server) ping() bool {
	_, err, _ := s.pings.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
		defer cancel()
		return nil, s.Ping(ctx)
	})
	return err == nil
}
