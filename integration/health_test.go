package integration_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The health command is what the container's health check runs.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	page := s.page(s.start(serve...))
	_, port, err := net.SplitHostPort(strings.TrimPrefix(page.url, "http://"))
	check(t, err)
	s.eventually("it is ready", page.is("/readyz", http.StatusOK, `{"ready":true}`))
	for _, args := range [][]string{{"--listen", "127.0.0.1:" + port}, {"--listen", "0.0.0.0:" + port}, {"--listen", ":" + port}} {
		if status, stdout, stderr := s.exits(append([]string{"health"}, args...)...); status != 0 || stdout != `{"status":"ok"}`+"\n" {
			t.Errorf("health %v: status %d\n%s%s", args, status, stdout, stderr)
		}
	}
	if status, stdout, stderr := s.exits("health", "--ready", "--listen", "127.0.0.1:"+port); status != 0 || stdout != `{"ready":true}`+"\n" {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
}

// No answer, a bad one, and one of somebody else are failures.
func TestHealthFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check(t, s.presets.Write(s.dir))
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	nobody := l.Addr().String()
	check(t, l.Close())
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	unready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"ready":false}`)) // whoever asked has gone
	}))
	defer unready.Close()
	for listen, want := range map[string]string{
		nobody:                                   "no sitesync answers",
		strings.TrimPrefix(other.URL, "http://"): "something else than sitesync",
		strings.TrimPrefix(unready.URL, "http://"): `{"ready":false}`,
		"off": "nothing is served",
	} {
		if status, stdout, stderr := s.exits("health", "--ready", "--listen", listen); status != 1 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: status %d, %s%s, want %s", listen, status, stdout, stderr, want)
		}
	}
}
