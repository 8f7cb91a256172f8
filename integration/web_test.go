package integration_test

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// page is what a sitesync serves over HTTP.
type page struct {
	s   *testStudio
	url string
}

// serve has sitesync serve its page, on a port of its own choice.
var serve = []string{"--listen", "127.0.0.1:0"}

// page waits until sitesync has logged where it listens.
func (s *testStudio) page(d *process.Process) page {
	s.t.Helper()
	return page{s, "http://" + s.log(d, process.Message("health and metrics are served")).Text("address")}
}

// get asks for a path.
func (p page) get(path string) (status int, body string) {
	p.s.t.Helper()
	req := must(http.NewRequestWithContext(p.s.ctx, http.MethodGet, p.url+path, nil))(p.s.t)
	req.Close = true
	res := must(http.DefaultClient.Do(req))(p.s.t)
	defer res.Body.Close()
	body = strings.TrimSpace(string(must(io.ReadAll(res.Body))(p.s.t)))
	p.s.checkForSecrets("what is served at "+path, body)
	return res.StatusCode, body
}

// is returns a condition: whether a path has this response.
func (p page) is(path string, status int, body string) func() bool {
	return func() bool {
		gotStatus, got := p.get(path)
		return gotStatus == status && got == body
	}
}

// unlabeled drops the labels that the metrics of uploads to the remote site have.
var unlabeled = strings.NewReplacer(`{site="gdrive"}`, "", `{direction="up",site="gdrive"}`, "", `,site="gdrive"`, "",
	`site="gdrive",`, "", `direction="up",`, "")

// metrics are the samples of a scrape by name and labels, without the labels of uploads.
func (p page) metrics() map[string]float64 {
	p.s.t.Helper()
	status, body := p.get("/metrics")
	if status != http.StatusOK {
		p.s.t.Fatalf("/metrics answers %d: %s", status, body)
	}
	samples := map[string]float64{}
	for in := bufio.NewScanner(strings.NewReader(body)); in.Scan(); {
		if line := in.Text(); !strings.HasPrefix(line, "#") {
			space := strings.LastIndexByte(line, ' ')
			samples[unlabeled.Replace(line[:space])] = must(strconv.ParseFloat(line[space+1:], 64))(p.s.t)
		}
	}
	return samples
}

// shows waits until the metrics are as wanted.
func (p page) shows(want map[string]float64) {
	p.s.t.Helper()
	var got map[string]float64
	differs := func(sample string) bool { v, ok := got[sample]; return !ok || v != want[sample] }
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		got = p.metrics()
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), differs) {
			return
		}
	}
	for sample, v := range want {
		if differs(sample) {
			p.s.t.Errorf("%s is %v, want %v", sample, got[sample], v)
		}
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	d := s.start(append(serve, "--retry-delay", "10ms")...)
	page := s.page(d)
	const ready = `{"ready":true}`
	s.eventually("it is ready", page.is("/readyz", http.StatusOK, ready))
	if status, body := page.get("/healthz"); status != http.StatusOK || body != `{"status":"ok"}` {
		t.Errorf("/healthz: %d %s", status, body)
	}
	p := s.project("Test")
	s.drive.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectStatus, Status: 403,
		Reason: "rateLimitExceeded"})
	s.drive.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectStatus, Status: 400,
		Reason: "invalid"})
	s.synced(s.publish(p, studio.Publish{Size: 100, Name: "exr", Frames: 10}))
	page.shows(map[string]float64{
		"sitesync_synced_files_total":                                                      10,
		"sitesync_synced_bytes_total":                                                      1000,
		"sitesync_failed_tries_total":                                                      1,
		"sitesync_reaction_seconds_count":                                                  10,
		"sitesync_transfer_seconds_count":                                                  10,
		`sitesync_drive_requests_total{kind="files.create.multipart",outcome="ok"}`:        10,
		`sitesync_drive_requests_total{kind="files.create.multipart",outcome="forbidden"}`: 1,
		`sitesync_drive_requests_total{kind="files.create.multipart",outcome="refused"}`:   1,
		"sitesync_drive_throttled_total":                                                   1,
		`sitesync_stream_state{state="open"}`:                                              1,
		`sitesync_stream_state{state="closed"}`:                                            0,
		"sitesync_lease_held":                                                              1,
		"sitesync_given_up_files_total":                                                    0,
		"sitesync_unusable_documents":                                                      0,
		`sitesync_holds_active{kind="site"}`:                                               0,
		"sitesync_transfers_running":                                                       0,
		"sitesync_queue_delayed_keys":                                                      0,
		`sitesync_queue_keys{lane="live"}`:                                                 0,
	})
	if limit := page.metrics()["sitesync_drive_limit_requests_per_second"]; !(limit > 0 && limit < 1000) {
		t.Errorf("the limit after a rate error is %v", limit)
	}

	member := set.Members()[0]
	check(t, member.Pause()) // resumed at once, before the lease expires, which resets the counters
	s.eventually("it is not ready without a database", page.is("/readyz", http.StatusServiceUnavailable,
		`{"ready":false,"reasons":["the database does not answer"]}`))
	if status, body := page.get("/healthz"); status != http.StatusOK || body != `{"status":"ok"}` {
		t.Errorf("/healthz without a database: %d %s", status, body)
	}
	check(t, member.Resume())
	s.eventually("it is ready again", page.is("/readyz", http.StatusOK, ready))
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 2}))
	page.shows(map[string]float64{"sitesync_synced_files_total": 11})
}

// Nothing to sync is no reason not to be there.
func TestIdlePage(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RemoteSite = "-"
	page := s.page(s.launch(serve...))
	for path, want := range map[string]string{"/healthz": `{"status":"idle"}`, "/readyz": `{"ready":true}`} {
		if status, body := page.get(path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if held, ok := page.metrics()["sitesync_lease_held"]; !ok || held != 0 {
		t.Errorf("sitesync_lease_held is %v", held)
	}
}

// A site with a fault is reported, but sitesync is ready: a restart or another machine would not help.
func TestHeldPage(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.remoteRoot("/SHOW/later", s.account)
	page := s.page(s.start(serve...))
	s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.eventually("it reports the hold", page.is("/healthz", http.StatusOK, `{"status":"held","held":{"site":1}}`))
	if status, body := page.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	page.shows(map[string]float64{`sitesync_holds_active{kind="site"}`: 1, `sitesync_holds_total{kind="site"}`: 1})
	s.drive.Mkdir(s.show, "later")
	s.eventually("the hold is over", page.is("/healthz", http.StatusOK, `{"status":"ok"}`))
	page.shows(map[string]float64{"sitesync_synced_files_total": 1, "sitesync_failed_tries_total": 0,
		`sitesync_holds_active{kind="site"}`: 0, `sitesync_holds_total{kind="site"}`: 1})
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	status, _, stderr := s.exits("run", "--listen", l.Addr().String())
	if status != 1 || !strings.Contains(stderr, l.Addr().String()) || !strings.Contains(stderr, "--listen off") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	// run --once serves nothing: a daemon on the same machine does.
	if status, _, stderr := s.exits("run", "--once", "--listen", l.Addr().String()); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// A page that other machines can read is allowed, and logged.
func TestListeningToOtherMachines(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	d := s.start("--listen", "0.0.0.0:0")
	if line := s.log(d, process.Message("other machines can read")); line.Level != "warn" ||
		!strings.Contains(line.Message, `--listen is "0.0.0.0:0"`) {
		t.Errorf("the log says %v", line.Fields)
	}
}
