package web

import (
	"net/http"
	"net/http/pprof"
)

// profiles serves what go tool pprof reads. Of the handlers that Go has ready, the one that tells the command line is
// left out, as a password can stand there.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
}
