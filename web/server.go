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
	s := &Server{Options: o, metrics: newMetrics(o.About.RemoteSite, o.Snapshot), stopTimeout: stopTimeout,
		readTimeout: readTimeout, writeTimeout: writeTimeout}
	if o.Source != nil {
		s.stats, s.explanations = newStatsCache(o.Source, o.Log), newExplainCache(o.Source.Explain)
	}
	if o.Actions != nil {
		s.sessions = newSessions(o.Token)
	}
	s.hub = newHub(s.sections, assets.version)
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
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       s.readTimeout,
		WriteTimeout:      s.writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
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
	s.metrics.upload.Observe(f.Upload.Seconds())
	s.metrics.reaction.Observe(f.Reaction.Seconds())
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
