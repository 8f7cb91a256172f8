package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// Profiles are served only if that is asked for, and never the command line, which may have a password in it.
func TestProfiles(t *testing.T) {
	get := func(on bool, path string) (int, string) {
		s := New(Options{Pprof: on, Snapshot: func() Snapshot { return Snapshot{} }, Log: zap.NewNop()})
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if status, body := get(true, "/debug/pprof/goroutine?debug=1"); status != http.StatusOK ||
		!strings.Contains(body, "TestProfiles") {
		t.Errorf("goroutine: %d %s", status, body)
	}
	if status, _ := get(true, "/debug/pprof/heap"); status != http.StatusOK {
		t.Errorf("heap: %d", status)
	}
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/"} {
		if status, _ := get(true, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := get(false, "/debug/pprof/heap"); status != http.StatusNotFound {
		t.Errorf("without being asked for: %d", status)
	}
}
