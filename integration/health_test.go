package integration_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The health command is what the container's health check runs.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	page := s.page(s.start(serve...))
	_, port, err := net.SplitHostPort(strings.TrimPrefix(page.url, "http://"))
	check(t, err)
	s.eventually("it is ready", page.is("/readyz", http.StatusOK, `{"ready":true}`))
	for _, args := range [][]string{{"--listen", "127.0.0.1:" + port}, {"--listen", "0.0.0.0:" + port},
		{"--listen", ":" + port}} {
		if status, stdout, stderr := s.exits(append([]string{"health"}, args...)...); status != 0 ||
			stdout != `{"status":"ok"}`+"\n" {
			t.Errorf("health %v: status %d\n%s%s", args, status, stdout, stderr)
		}
	}
	if status, stdout, stderr := s.exits("health", "--ready", "--listen", "127.0.0.1:"+port); status != 0 ||
		stdout != `{"ready":true}`+"\n" {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
}

// What is asked for is the process that runs: whether presets can be read now, or are given at all, is not asked.
func TestHealthNeedsNoPresets(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	page := s.page(s.start(serve...))
	listen := strings.TrimPrefix(page.url, "http://")
	s.eventually("it is ready", page.is("/readyz", http.StatusOK, `{"ready":true}`))
	check(t, os.WriteFile(filepath.Join(s.dir, "config.json"), []byte("{"), 0o600))
	gone := filepath.Join(s.dir, "gone")
	for name, args := range map[string][]string{
		"broken":       nil,
		"gone":         {"--presets", gone},
		"other errors": {"--transfers", "many", "--log-level", "loud"},
	} {
		args = append([]string{"health", "--listen", listen}, args...)
		if status, stdout, stderr := s.exits(args...); status != 0 || stdout != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: status %d\n%s%s", name, status, stdout, stderr)
		}
	}
	if status, _, stderr := s.exits("health", "--listen", "nonsense"); status != 1 ||
		!strings.Contains(stderr, "HOST:PORT") {
		t.Errorf("a wrong address: status %d\n%s", status, stderr)
	}
}

// No response, a bad one, and one of another server are failures.
func TestHealthFails(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	closed := l.Addr().String()
	check(t, l.Close())
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	unready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"ready":false}`)) // the client has gone
	}))
	defer unready.Close()
	for listen, want := range map[string]string{
		closed:                                   "no sitesync answers",
		strings.TrimPrefix(other.URL, "http://"): "something other than sitesync",
		strings.TrimPrefix(unready.URL, "http://"): `{"ready":false}`,
		"off": "nothing is served",
	} {
		if status, stdout, stderr := s.exits("health", "--ready", "--listen", listen); status != 1 ||
			!strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: status %d, %s%s, want %s", listen, status, stdout, stderr, want)
		}
	}
}
