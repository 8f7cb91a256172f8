package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"sitesync/config"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func well(context.Context) error { return nil }

// start starts a server of a snapshot and returns its URL.
func start(t *testing.T, snapshot func() Snapshot, ping func(context.Context) error) string {
	t.Helper()
	s := New(Options{Listen: "127.0.0.1:0", Snapshot: snapshot, Ping: ping, Log: zap.NewNop()})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return "http://" + s.Addr().String()
}

func always(s Snapshot) func() Snapshot { return func() Snapshot { return s } }

// ask makes a request without keeping the connection.
func ask(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, strings.TrimSpace(string(body))
}

var (
	since   = time.Date(2026, 11, 24, 5, 11, 44, 0, time.FixedZone("CET", 3600))
	ours    = state.LeaseState{Held: true}
	theirs  = state.LeaseState{Holder: &state.Holder{Host: "render07", PID: 4711, Since: since}}
	working = routes(Route{Direction: config.Up, Lease: ours, Stream: watcher.StreamOpen, Polling: true})
	standby = routes(Route{Direction: config.Up, Lease: theirs})
	started = routes(Route{Direction: config.Up})
	both    = routes(working.Routes[0], with(working, func(r *Route) { r.Direction = config.Down }).Routes[0])
)

func routes(all ...Route) Snapshot { return Snapshot{Routes: all} }

// with changes the last route of a copy of a snapshot.
func with(s Snapshot, change func(*Route)) Snapshot {
	s.Routes = slices.Clone(s.Routes)
	change(&s.Routes[len(s.Routes)-1])
	return s
}

// stopping is a copy of a snapshot of a sitesync that stops.
func stopping(s Snapshot) Snapshot {
	s.Stopping = true
	return s
}

// holding is a copy of a snapshot with these holds on the last route.
func holding(s Snapshot, holds uploader.Holds) Snapshot {
	return with(s, func(r *Route) { r.Uploader.Holding = holds })
}

func TestHealthz(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		snapshot Snapshot
		want     string
	}{
		"just started": {started, `{"status":"ok"}`},
		"working":      {working, `{"status":"ok"}`},
		"idle":         {Snapshot{Idle: true}, `{"status":"idle"}`},
		"standby": {standby,
			`{"status":"standby","holder":{"host":"render07","pid":4711,"since":"2026-11-24T04:11:44Z"}}`},
		"standby of somebody unknown": {routes(Route{Direction: config.Up,
			Lease: state.LeaseState{Holder: &state.Holder{}}}),
			`{"status":"standby"}`},
		"held": {holding(working, uploader.Holds{uploader.SiteTarget: 1, uploader.LocalRoot: 2}),
			`{"status":"held","held":{"local_roots":2,"site":1}}`},
		"paused": {with(working, func(r *Route) { r.Paused.Site = true }),
			`{"status":"paused","paused":{"site":true}}`},
		"project paused, another trouble": {with(working, func(r *Route) {
			r.Paused.Projects, r.Uploader.Holding = map[string]bool{"A": true, "B": true},
				uploader.Holds{uploader.SiteTarget: 1}
		}),
			`{"status":"held","held":{"site":1},"paused":{"projects":2}}`},
		"paused and held": {with(working,
			func(r *Route) { r.Paused.Site, r.Uploader.Holding = true, uploader.Holds{uploader.SiteTarget: 1} }),
			`{"status":"paused","held":{"site":1},"paused":{"site":true}}`},
		"held before": {with(working, func(r *Route) { r.Uploader.Holds = uploader.Holds{uploader.SiteTarget: 3} }),
			`{"status":"ok"}`},
		"both ways": {both, `{"status":"ok","routes":{"down":{"status":"ok"},"up":{"status":"ok"}}}`},
		"one of them held, the other paused": {with(routes(holding(working,
			uploader.Holds{uploader.LocalRoot: 1}).Routes[0],
			both.Routes[1]), func(r *Route) {
			r.Paused.Site, r.Uploader.Holding = true, uploader.Holds{uploader.LocalRoot: 2}
		}),
			`{"status":"held","held":{"local_roots":3},"paused":{"site":true},"routes":{` +
				`"down":{"status":"paused","held":{"local_roots":2},"paused":{"site":true}},` +
				`"up":{"status":"held","held":{"local_roots":1}}}}`},
		"standby of one of them": {with(both, func(r *Route) { r.Lease = theirs }),
			`{"status":"ok","routes":{"down":{"status":"standby",` +
				`"holder":{"host":"render07","pid":4711,"since":"2026-11-24T04:11:44Z"}},"up":{"status":"ok"}}}`},
		"standby of both": {routes(standby.Routes[0], Route{Direction: config.Down, Lease: theirs}),
			`{"status":"standby","holder":{"host":"render07","pid":4711,"since":"2026-11-24T04:11:44Z"},"routes":{` +
				`"down":{"status":"standby","holder":{"host":"render07","pid":4711,"since":"2026-11-24T04:11:44Z"}},` +
				`"up":{"status":"standby","holder":{"host":"render07","pid":4711,"since":"2026-11-24T04:11:44Z"}}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t, always(test.snapshot),
				func(context.Context) error { return errors.New("liveness is not the database's") })
			res, body := ask(t, http.MethodGet, url+"/healthz")
			if res.StatusCode != http.StatusOK || body != test.want {
				t.Errorf("%s %s, want %s", res.Status, body, test.want)
			}
		})
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	const (
		noDatabase = "the database does not answer"
		noLease    = "the lease is not held"
		unseen     = "publishes are not seen: the change stream is not open, and the poll is off or fails"
	)
	away := func(context.Context) error { return errors.New("mongodb://sync:S3cr3t@mongo1 is away") }
	for name, test := range map[string]struct {
		snapshot Snapshot
		ping     func(context.Context) error
		reasons  []string
	}{
		"just started": {started, well, []string{noLease, unseen}},
		"working":      {working, well, nil},
		"no database":  {working, away, []string{noDatabase}},
		"database hangs": {working, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			[]string{noDatabase}},
		"idle":               {Snapshot{Idle: true}, away, nil},
		"standby":            {standby, well, nil},
		"standby, no access": {standby, away, []string{noDatabase}},
		"lease lost":         {with(working, func(r *Route) { r.Lease.Held = false }), well, []string{noLease}},
		"stream lost":        {with(working, func(r *Route) { r.Stream = watcher.StreamClosed }), well, nil},
		"standalone":         {with(working, func(r *Route) { r.Stream = watcher.StreamUnavailable }), well, nil},
		"poll fails":         {with(working, func(r *Route) { r.Polls.Failing = true }), well, nil},
		"blind": {with(working, func(r *Route) { r.Stream, r.Polls.Failing = watcher.StreamClosed, true }), well,
			[]string{unseen}},
		"blind without poll": {with(working, func(r *Route) { r.Stream, r.Polling = watcher.StreamClosed, false }),
			well, []string{unseen}},
		"held": {holding(working, uploader.Holds{uploader.SiteTarget: 1}), well, nil},
		"stopping": {stopping(working), well,
			[]string{"sitesync is stopping"}},
		"both ways": {both, well, nil},
		"both just started": {routes(started.Routes[0], Route{Direction: config.Down}), well,
			[]string{noLease, unseen}},
		"one of both blind": {with(both, func(r *Route) { r.Stream, r.Polling = watcher.StreamClosed, false }), well,
			[]string{"downloads: " + unseen}},
		"one of both a standby": {with(both, func(r *Route) { r.Lease, r.Stream = theirs, watcher.StreamClosed }), well,
			nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, body := ask(t, http.MethodGet, start(t, always(test.snapshot), test.ping)+"/readyz")
			status := http.StatusOK
			if test.reasons != nil {
				status = http.StatusServiceUnavailable
			}
			var got readiness
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != status || got.Ready != (test.reasons == nil) ||
				strings.Join(got.Reasons, "|") != strings.Join(test.reasons, "|") {
				t.Errorf("%s %s, want %v", res.Status, body, test.reasons)
			}
			if strings.Contains(body, "S3cr3t") {
				t.Errorf("it has the password: %s", body)
			}
		})
	}
}

// What is held is named, and in which direction if only one of two is.
func TestReadyzNamesWhatIsHeld(t *testing.T) {
	t.Parallel()
	held := func(names ...string) (a uploader.Activity) {
		for _, name := range names {
			a.Held = append(a.Held, uploader.Hold{Target: uploader.Target{Kind: uploader.LocalRoot, Name: name}})
		}
		return a
	}
	up := with(working, func(r *Route) { r.Activity = held("/mnt/a", "/mnt/b") }).Routes[0]
	down := with(both, func(r *Route) { r.Activity = held("/mnt/b", "/mnt/c") }).Routes[1]
	for want, snapshot := range map[string]Snapshot{
		`{"ready":true,"held":["/mnt/a","/mnt/b"]}`:                              routes(up),
		`{"ready":true,"held":["uploads: /mnt/a","/mnt/b","downloads: /mnt/c"]}`: routes(up, down),
	} {
		if _, body := ask(t, http.MethodGet, start(t, always(snapshot), well)+"/readyz"); body != want {
			t.Errorf("%s, want %s", body, want)
		}
	}
}

// However many requests for readiness there are, the database gets one ping at a time.
func TestReadyzSparesTheDatabase(t *testing.T) {
	t.Parallel()
	const askers = 10
	var asked, pinging, most atomic.Int32
	all := make(chan struct{})
	snapshot := func() Snapshot {
		if asked.Add(1) == askers {
			close(all)
		}
		return working
	}
	url := start(t, snapshot, func(context.Context) error {
		most.Store(max(most.Load(), pinging.Add(1)))
		defer pinging.Add(-1)
		<-all
		return nil
	})
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() { ask(t, http.MethodGet, url+"/readyz") })
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d pings at once", most.Load())
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	t.Parallel()
	url := start(t, always(working), well)
	for path, contentType := range map[string]string{
		"/healthz": "application/json", "/readyz": "application/json", "/metrics": "text/plain",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res, body := ask(t, method, url+path)
			if res.StatusCode != http.StatusOK || (body == "") != (method == http.MethodHead) {
				t.Errorf("%s %s: %s, %d bytes", method, path, res.Status, len(body))
			}
			h := res.Header
			if !strings.HasPrefix(h.Get("Content-Type"), contentType) || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: %v", method, path, h)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			if res, _ := ask(t, method, url+path); res.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
		}
	}
	for _, path := range []string{"/page", "/debug/pprof/", "/metrics/x", "/healthz/"} {
		if res, _ := ask(t, http.MethodGet, url+path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(Options{Listen: l.Addr().String(), Snapshot: always(working), Ping: well, Log: zap.NewNop()})
	err = s.Start()
	if err == nil {
		s.Stop()
		t.Fatal("it starts")
	}
	for _, want := range []string{l.Addr().String(), "address already in use", "--listen HOST:PORT", "--listen off"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %s", err, want)
		}
	}
	s.Stop()
}

func TestOff(t *testing.T) {
	t.Parallel()
	s := New(Options{Snapshot: always(working), Ping: well, Log: zap.NewNop()})
	if err := s.Start(); err != nil || s.Addr() != nil {
		t.Errorf("%v, listens at %v", err, s.Addr())
	}
	s.Synced(uploader.SyncedFile{Direction: config.Up, Took: time.Second, Reaction: time.Second})
	s.Stop()
}

// A request that is under way is answered, and nobody is served any more afterwards.
func TestStop(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	ping := func(context.Context) error {
		close(entered)
		<-release
		return nil
	}
	s := New(Options{Listen: "127.0.0.1:0", Snapshot: always(working), Log: zap.NewNop(), Ping: ping})
	s.stopTimeout = time.Minute
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	answered := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.MethodGet, "http://"+addr+"/readyz")
		answered <- res.StatusCode
	}()
	<-entered
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	// The listener is closed at once, the request goes on.
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	<-stopped
}
