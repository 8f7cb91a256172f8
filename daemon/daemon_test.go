package daemon_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"sitesync/config"
	"sitesync/daemon"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/state"
)

// timeout is how long anything is waited for; nothing takes nearly as long unless it is broken.
const timeout = 60 * time.Second

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

// fixture is a studio that publishes, and the settings of a sitesync for it.
type fixture struct {
	t       *testing.T
	ctx     context.Context
	drive   *drive.Server
	studio  *studio.Studio
	project *studio.Project
	cfg     *config.Config
	env     map[string]string // the settings
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	db := mongod.Database(t)
	f := &fixture{t: t, ctx: ctx, drive: drive.StartTest(t)}
	account := f.drive.AddServiceAccount("sync@studio.iam.example")
	show := f.drive.AddSharedDrive("SHOW")
	show.AddMember(account, drive.Contributor)
	f.drive.Mkdir(show, "projects")
	f.studio = studio.New(db, studio.Options{Root: t.TempDir()})
	f.project = must(f.studio.Project(ctx, "Alpha"))(t)

	presets := t.TempDir()
	if err := (process.Presets{RetryCnt: 1, LoopDelay: "0.2", Sites: map[string]process.Site{
		"gdrive": {Credentials: account.Credentials(), Root: "/SHOW/projects", Endpoint: f.drive.URL},
	}}).Write(presets); err != nil {
		t.Fatal(err)
	}
	f.env = map[string]string{
		"SITESYNC_PRESETS":  presets,
		"SITESYNC_MONGO":    mongod.URI(t),
		"SITESYNC_DB":       db.Name(),
		"SITESYNC_STATE_DB": db.Name() + "-state",
		"SITESYNC_LISTEN":   "127.0.0.1:0",
	}
	f.cfg = f.load()
	t.Cleanup(func() {
		if err := db.Client().Database(f.cfg.Mongo.State).Drop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return f
}

// load reads the settings.
func (f *fixture) load() *config.Config {
	f.t.Helper()
	cfg, _, err := config.Load(config.Flags{}, func(name string) (string, bool) {
		value, ok := f.env[name]
		return value, ok
	})
	return must(cfg, err)(f.t)
}

// state is sitesync's own database.
func (f *fixture) state() *state.Database {
	return state.Open(f.project.Collection().Database().Client(), f.cfg.Mongo.State)
}

// publish publishes a file.
func (f *fixture) publish(asset string) *studio.Representation {
	f.t.Helper()
	pub := studio.Publish{Asset: asset, Subset: "modelMain", Name: "ma", Size: 1000}
	return must(f.project.Publish(f.ctx, pub))(f.t)
}

// checkSynced checks that a file's record has a created_dt, and the id of the file on Drive with the same content.
func (f *fixture) checkSynced(rep *studio.Representation) {
	f.t.Helper()
	record := must(rep.Record(f.ctx, 0, "gdrive"))(f.t)
	if _, ok := record.Lookup("created_dt").DateTimeOK(); !ok {
		f.t.Errorf("%s has no created_dt: %v", rep, record)
	}
	id, _ := record.Lookup("id").StringValueOK()
	content, err := f.drive.Content(id)
	if err != nil {
		f.t.Errorf("the id of %s is %q, which Drive does not have: %v", rep, id, err)
		return
	}
	defer content.Close()
	got := must(io.ReadAll(content))(f.t)
	want := must(os.ReadFile(rep.Files[0].Local))(f.t)
	if string(got) != string(want) {
		f.t.Errorf("%s differs on Drive", rep)
	}
}

// newDaemon returns a daemon that is stopped when the test ends, if not before.
func (f *fixture) newDaemon(o daemon.Options) *daemon.Daemon {
	f.t.Helper()
	d := must(daemon.New(f.cfg, zaptest.NewLogger(f.t), o))(f.t)
	f.t.Cleanup(d.Stop)
	return d
}

// once runs a daemon that syncs what is pending and ends.
func (f *fixture) once() error {
	f.t.Helper()
	d := f.newDaemon(daemon.Options{Once: true})
	if d.Addr() != nil {
		f.t.Errorf("it listens on %s", d.Addr())
	}
	return d.Run(f.ctx)
}

// leakCheck returns a function that fails the test if there are goroutines that began since leakCheck was called. A
// client of MongoDB that is left connected is one: its Server.update runs for as long as it is. The Listen that is
// ignored waits for one heartbeat, and that of the test's own client begins anew every 10 s.
func leakCheck(t *testing.T) (verify func()) {
	own := []goleak.Option{goleak.IgnoreCurrent(),
		goleak.IgnoreTopFunction(
			"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology.(*contextDoneListener).Listen",
		)}
	return func() {
		t.Helper()
		goleak.VerifyNone(t, own...)
	}
}

// A daemon can be started and stopped again and again in one process, and leaves nothing behind.
func TestStartStop(t *testing.T) {
	f := newFixture(t)
	verifyNoLeak := leakCheck(t)
	for _, asset := range []string{"Cylinder", "Sphere"} {
		d := f.newDaemon(daemon.Options{})
		ran := make(chan error, 1)
		go func() { ran <- d.Run(f.ctx) }()
		rep := f.publish(asset)
		if _, err := f.studio.WaitSynced(f.ctx, rep); err != nil {
			t.Fatal(err)
		}
		f.checkSynced(rep)

		web := client{f, "http://" + d.Addr().String(), &http.Transport{}}
		if status, body := web.get("/healthz"); status != http.StatusOK || !strings.Contains(body, `"ok"`) {
			t.Errorf("/healthz answers %d %s", status, body)
		}
		listened := web.listen() // a page that is open must not outlive the daemon either
		d.Stop()
		d.Stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		listened()
		web.transport.CloseIdleConnections()
		verifyNoLeak()
	}
}

// A daemon that is stopped before it runs ends at once.
func TestStopBeforeRun(t *testing.T) {
	f := newFixture(t)
	rep := f.publish("Cylinder")
	verifyNoLeak := leakCheck(t)
	d := f.newDaemon(daemon.Options{})
	d.Stop()
	if err := d.Run(f.ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	d.Stop()
	verifyNoLeak()
	if synced := must(f.studio.Synced(f.ctx, rep))(t); synced {
		t.Error("it has synced a file")
	}
}

// With Once, all that is pending is synced when Run returns.
func TestOnce(t *testing.T) {
	f := newFixture(t)
	reps := []*studio.Representation{f.publish("Cylinder"), f.publish("Sphere")}
	verifyNoLeak := leakCheck(t)
	if err := f.once(); err != nil {
		t.Fatal(err)
	}
	verifyNoLeak()
	for _, rep := range reps {
		f.checkSynced(rep)
	}
}

// With Once, the error says how much can't be synced; all else is.
func TestOnceFails(t *testing.T) {
	f := newFixture(t)
	missing, good := f.publish("Cylinder"), f.publish("Sphere")
	if err := os.Remove(missing.Files[0].Local); err != nil {
		t.Fatal(err)
	}
	verifyNoLeak := leakCheck(t)
	if err := f.once(); err == nil || !strings.Contains(err.Error(), "not synced: 1 file;") {
		t.Errorf("a file is missing: %v", err)
	}
	verifyNoLeak()
	f.checkSynced(good)
	if record := must(missing.Record(f.ctx, 0, "gdrive"))(t); record.Lookup("error").IsZero() {
		t.Errorf("the record of the missing file has no error: %v", record)
	}
}

// With Once, the error names a project that has pending files and is paused.
func TestOncePaused(t *testing.T) {
	f := newFixture(t)
	rep := f.publish("Cylinder")
	pauses := f.state().Pauses(state.LeaseName(f.cfg.Mongo.Database, daemon.Rules(f.cfg, config.Up).Route))
	if err := pauses.Set(f.ctx, state.Pause{Project: f.project.Name(), By: "the test", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := f.once(); err == nil || !strings.Contains(err.Error(), f.project.Name()) {
		t.Errorf("the project is paused: %v", err)
	}
	if synced := must(f.studio.Synced(f.ctx, rep))(t); synced {
		t.Error("a file of a paused project is synced")
	}
}

// With always_accessible_on, files get records that they lack at once, also while another process has the lease of the
// route, and at the start. Without it they get none.
func TestAlwaysAccessibleOn(t *testing.T) {
	f := newFixture(t)
	verifyNoLeak := leakCheck(t)
	home := must(studio.New(f.project.Collection().Database(), studio.Options{Root: t.TempDir(), ActiveSite: "art-17"}).
		Project(f.ctx, f.project.Name()))(t)
	publish := func() *studio.Representation {
		f.t.Helper()
		return must(home.Publish(f.ctx, studio.Publish{Asset: "Cube", Subset: bson.NewObjectID().Hex(), Name: "ma",
			Size: 10}))(f.t)
	}
	hasRecord := func(rep *studio.Representation) bool {
		return must(rep.Record(f.ctx, 0, "farm"))(t) != nil
	}
	start := func(d *daemon.Daemon) (stop func()) {
		ran := make(chan error, 1)
		go func() { ran <- d.Run(f.ctx) }()
		return func() {
			d.Stop()
			if err := <-ran; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	first := publish()
	plain := f.newDaemon(daemon.Options{})
	stopPlain := start(plain)
	if _, err := f.studio.WaitSynced(f.ctx, f.publish("Cylinder")); err != nil { // it has the lease of the route
		t.Fatal(err)
	}
	if hasRecord(first) {
		t.Error("a file got a record that nobody asked for")
	}

	cfg := *f.cfg
	cfg.AlwaysAccessibleOn = []string{"farm"}
	f.cfg = &cfg
	d := f.newDaemon(daemon.Options{})
	stop := start(d)
	for _, rep := range []*studio.Representation{first, publish()} {
		for !hasRecord(rep) && f.ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	web := client{f, "http://" + d.Addr().String(), &http.Transport{}}
	// It counts a little later, and a file that the scan and the stream find at the same time twice.
	for none := true; none; {
		_, body := web.get("/metrics")
		none = strings.Contains(body, "\nsitesync_made_accessible_files_total 0\n")
	}
	web.transport.CloseIdleConnections()
	stop()
	stopPlain()
	verifyNoLeak()

	last := publish()
	if err := f.once(); err != nil {
		t.Fatal(err)
	}
	if !hasRecord(last) {
		t.Error("run --once has added no record")
	}
	verifyNoLeak()
}

// Two daemons can't serve on one port.
func TestPortTaken(t *testing.T) {
	f := newFixture(t)
	verifyNoLeak := leakCheck(t)
	first := f.newDaemon(daemon.Options{})
	second := *f.cfg
	second.Listen = first.Addr().String()
	if _, err := daemon.New(&second, zaptest.NewLogger(t), daemon.Options{}); err == nil ||
		!strings.Contains(err.Error(), second.Listen) {
		t.Errorf("the port is taken: %v", err)
	}
	first.Stop()
	verifyNoLeak()
}

// client is somebody who looks at a daemon's page.
type client struct {
	*fixture
	url       string
	transport *http.Transport
}

func (c client) request(path string) *http.Response {
	c.t.Helper()
	req := must(http.NewRequestWithContext(c.ctx, http.MethodGet, c.url+path, nil))(c.t)
	return must(c.transport.RoundTrip(req))(c.t)
}

// get asks for a path.
func (c client) get(path string) (status int, body string) {
	c.t.Helper()
	res := c.request(path)
	defer res.Body.Close()
	return res.StatusCode, string(must(io.ReadAll(res.Body))(c.t))
}

// listen opens the events of the page, and returns when the first has arrived. The returned function waits for their
// end.
func (c client) listen() (wait func()) {
	c.t.Helper()
	res := c.request("/events")
	events := bufio.NewReader(res.Body)
	if line, err := events.ReadString('\n'); err != nil {
		c.t.Fatalf("events: %q, %v", line, err)
	}
	return func() {
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, events) // the end may be a broken connection
	}
}

// must returns the value of a call that has to work.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
