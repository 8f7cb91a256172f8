package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"sitesync/uploader"
)

const (
	// pingTimeout bounds how long the database is asked for readiness. A Kubernetes probe gives up after 1 s unless
	// told otherwise.
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
	Pprof    bool                        // whether profiles are served too
	Snapshot func() Snapshot             // how sitesync is now; called for each request, so it must be quick
	Ping     func(context.Context) error // whether the database answers
	Log      *zap.Logger

	// For the page.
	About   About
	Source  Source  // nil if nothing is synced
	Actions Actions // nil: nothing can be changed
	Token   string  // whoever knows it may change things; empty: nobody may
}

// Server serves the page, health and metrics.
type Server struct {
	Options
	metrics *metrics
	pings   singleflight.Group // however many ask, the database is asked once at a time

	history      history
	speeds       speeds
	books        *books // nil without a source
	hub          *hub
	sessions     *sessions // nil if nobody may change anything
	explanations *explanations

	http   *http.Server
	addr   net.Addr
	served chan struct{} // closed when it serves no more

	// Constants that tests change.
	patience time.Duration // stopTimeout
	reading  time.Duration // readTimeout
	writing  time.Duration // writeTimeout
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{Options: o, metrics: newMetrics(o.About.RemoteSite, o.Snapshot), sessions: newSessions(o.Token), patience: stopTimeout,
		reading: readTimeout, writing: writeTimeout}
	if o.Source != nil {
		s.books = newBooks(o.Source, o.Log)
	}
	s.explanations = newExplanations()
	s.hub = newHub(s.sections, assets.version)
	return s
}

// Start begins to listen and serve. Stop must follow if it succeeds.
func (s *Server) Start() error {
	if s.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("the page, health and metrics can't be served: %w; give another address by --listen HOST:PORT, "+
			"or --listen off to serve none", err)
	}
	s.addr = l.Addr()
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       s.reading,
		WriteTimeout:      s.writing,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	s.http.RegisterOnShutdown(s.hub.close) // or it would be waited for those who listen
	// What clients do wrong is no news.
	if s.http.ErrorLog, err = zap.NewStdLogAt(s.Log, zap.DebugLevel); err != nil {
		_ = l.Close() // it has served nobody
		return err
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("the page, health and metrics are not served any more", zap.Error(err))
		}
	}()
	s.Log.Info("the page, health and metrics are served", zap.Stringer("address", s.addr))
	return nil
}

// Addr is where it listens, nil if it does not.
func (s *Server) Addr() net.Addr { return s.addr }

// Stop lets requests finish for a moment and ends the server.
func (s *Server) Stop() {
	if s.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // there is nothing left to be lost
	}
	<-s.served
	s.hub.close()
	if s.books != nil {
		s.books.close()
	}
}

// Synced takes note of a file that was synced.
func (s *Server) Synced(f uploader.SyncedFile) {
	s.metrics.upload.Observe(f.Upload.Seconds())
	s.metrics.reaction.Observe(f.Reaction.Seconds())
	if s.http != nil { // somebody may look
		s.history.add(f, time.Now())
	}
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
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}
