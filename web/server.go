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
)

const (
	// pingTimeout bounds how long the database is asked for readiness. A Kubernetes probe gives up after 1 s unless
	// told otherwise.
	pingTimeout = 800 * time.Millisecond

	// stopTimeout is how long requests may finish when the server stops.
	stopTimeout = 500 * time.Millisecond
)

// Options say what is served, and where. All must be given but Pprof.
type Options struct {
	Listen   string                      // HOST:PORT, port 0 for any free one; empty: nothing is served
	Pprof    bool                        // whether profiles are served too
	Snapshot func() Snapshot             // how sitesync is now; called for each request, so it must be quick
	Ping     func(context.Context) error // whether the database answers
	Log      *zap.Logger
}

// Server serves health and metrics.
type Server struct {
	Options
	metrics *metrics
	pings   singleflight.Group // however many ask, the database is asked once at a time

	http   *http.Server
	addr   net.Addr
	served chan struct{} // closed when it serves no more

	patience time.Duration // stopTimeout; tests lengthen it
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	return &Server{Options: o, metrics: newMetrics(o.Snapshot), patience: stopTimeout}
}

// Start begins to listen and serve. Stop must follow if it succeeds.
func (s *Server) Start() error {
	if s.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("health and metrics can't be served: %w; give another address by --listen HOST:PORT, "+
			"or --listen off to serve none", err)
	}
	s.addr = l.Addr()
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	// What clients do wrong is no news.
	if s.http.ErrorLog, err = zap.NewStdLogAt(s.Log, zap.DebugLevel); err != nil {
		_ = l.Close() // it has served nobody
		return err
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("health and metrics are not served any more", zap.Error(err))
		}
	}()
	s.Log.Info("health and metrics are served", zap.Stringer("address", s.addr))
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
}

// Synced takes note of a file that was synced: how long its upload took, and how long it was from when its
// representation came to our notice until the database said that it is synced.
func (s *Server) Synced(upload, reaction time.Duration) {
	s.metrics.upload.Observe(upload.Seconds())
	s.metrics.reaction.Observe(reaction.Seconds())
}

// handler answers GET and HEAD only.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	if s.Pprof {
		profiles(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}
