package integration_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// pause pauses the site or a project, and waits until that is known.
func (s *testStudio) pause(page page, project ...string) {
	s.t.Helper()
	if code, stdout, stderr := s.exits(append([]string{"pause", "--why", "the line is needed"},
		project...)...); code != 0 || stderr != "" ||
		!strings.Contains(stdout, " is paused: running transfers finish") {
		s.t.Fatalf("status %d\n%s%s", code, stdout, stderr)
	}
	if len(project) == 0 {
		page.shows(map[string]float64{"sitesync_paused": 1})
	} else {
		page.shows(map[string]float64{"sitesync_paused_projects": 1})
	}
}

// polls waits until so many polls more have found all that they can find.
func (p page) polls(n float64) {
	p.s.t.Helper()
	want := p.metrics()["sitesync_polls_total"] + n
	p.s.eventually("it has polled", func() bool { return p.metrics()["sitesync_polls_total"] >= want })
}

// A paused project waits, and costs nothing: neither a try of its files nor the turn of other projects.
func TestPauseProject(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	a, b := s.project("A"), s.project("B")
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 4 << 20 })
	d := s.start(append(serve, "--transfers", "1")...)
	page := s.page(d)

	// One file runs, the others wait for their turn.
	running := s.publish(a, studio.Publish{Size: 8 << 20})
	s.eventually("the upload runs", func() bool { return s.drive.Calls()["upload.put"] > 0 })
	waiting := s.publish(a, studio.Publish{Name: "exr", Frames: 30, Size: 100, Version: 2})
	s.eventually("the others wait", func() bool { return page.metrics()["sitesync_transfers_running"] == 1 })
	s.pause(page, "A")
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	s.synced(running)
	fresh := s.publish(a, studio.Publish{Size: 100, Version: 3})
	s.synced(s.publish(b, studio.Publish{Size: 100}))
	page.polls(2)
	s.synced(s.publish(b, studio.Publish{Size: 100, Version: 2}))
	page.shows(map[string]float64{"sitesync_synced_files_total": 3, "sitesync_queue_delayed_keys": 0,
		`sitesync_queue_keys{lane="backlog"}`: 0, "sitesync_paused": 0, "sitesync_paused_projects": 1})
	if status, body := page.get("/healthz"); status != http.StatusOK ||
		body != `{"status":"ok","paused":{"projects":1}}` {
		t.Errorf("/healthz: %d %s", status, body)
	}

	// It is shown, and stays so after a restart.
	got := s.status(0)
	if len(got.Paused) != 1 || got.Paused[0].Project != "A" || got.Paused[0].Why != "the line is needed" ||
		got.Paused[0].By == "" || time.Since(got.Paused[0].Since).Abs() > time.Minute {
		t.Errorf("paused: %+v", got.Paused)
	}
	s.says(nil, "\npaused project A, by "+got.Paused[0].By+", ", " s ago: the line is needed\n")
	if code, stdout, _ := s.exits("check"); code != 0 ||
		!strings.Contains(stdout, "warn  project A is paused, since ") {
		t.Errorf("check: status %d\n%s", code, stdout)
	}
	check(t, d.Stop())
	d = s.start(serve...)
	page = s.page(d)
	if line := s.log(d, process.Message("paused: running uploads finish")); line.Text("project") != "A" ||
		line.Text("by") != got.Paused[0].By || line.Text("why") != "the line is needed" {
		t.Errorf("the log says %v", line.Fields)
	}
	s.synced(s.publish(b, studio.Publish{Size: 100, Version: 3}))
	page.polls(2)
	page.shows(map[string]float64{"sitesync_synced_files_total": 1, "sitesync_paused_projects": 1})
	for _, rep := range []*studio.Representation{waiting, fresh} {
		if rec := s.record(rep, 0); rec.Lookup("created_dt").Type != 0 || rec.Lookup("tries").Type != 0 {
			t.Errorf("the record is %v", rec)
		}
	}

	s.prints("project A is resumed\n", "resume", "A")
	s.synced(waiting)
	s.synced(fresh)
	s.log(d, process.Message("resumed"))
	if got := s.status(0); len(got.Paused) != 0 {
		t.Errorf("paused: %+v", got.Paused)
	}
}

// Without change streams a pause is noticed too, and ends at once: the next poll would be in an hour.
func TestPauseSite(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Standalone: true})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	s.presets.LoopDelay = "3600"
	p := s.project("Test")
	page := s.page(s.launch(serve...))
	page.shows(map[string]float64{"sitesync_polls_total": 1})
	s.pause(page)
	if status, body := page.get("/healthz"); status != http.StatusOK ||
		body != `{"status":"paused","paused":{"site":true}}` {
		t.Errorf("/healthz: %d %s", status, body)
	}
	rep := s.publish(p, studio.Publish{Size: 100})
	s.pause(page, "Test")
	s.says(nil, "\npaused site gdrive, by ", "\npaused project Test, by ")

	// One ends without the other.
	by := s.status(0).Paused[0].By
	s.prints("site gdrive is resumed\nproject Test is still paused, by "+by+": sitesync resume Test\n", "resume")
	page.shows(map[string]float64{"sitesync_polls_total": 2, "sitesync_paused": 0})
	if n := s.creates(); n != 0 {
		t.Errorf("%d uploads in spite of a pause", n)
	}
	s.prints("project Test is resumed\n", "resume", "Test")
	s.synced(rep)
	s.prints("project Test was not paused\n", "resume", "Test")
	s.prints("site gdrive was not paused\n", "resume")
	s.refuses(1, `did you mean "Test"?`, "resume", "Tests")
	s.refuses(1, `did you mean "Test"?`, "pause", "Tests")
}

// It holds for the process that takes over.
func TestPauseOutlivesATakeover(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	first := s.start(serve...)
	second := s.launch(serve...)
	s.log(second, process.Message("standing by"))
	s.pause(s.page(first))
	rep := s.publish(p, studio.Publish{Size: 100})
	first.Kill()
	s.log(second, process.Message("change stream open"))
	page := s.page(second)
	page.shows(map[string]float64{"sitesync_paused": 1})
	page.polls(2)
	if n := s.creates(); n != 0 {
		t.Errorf("%d uploads in spite of a pause", n)
	}
	s.prints("site gdrive is resumed\n", "resume")
	s.synced(rep)
}

// A run with --once reports what a pause has left.
func TestOnceWhilePaused(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	a, b := s.project("A"), s.project("B")
	s.project("C")
	left := s.publish(a, studio.Publish{Size: 100})
	good := s.publish(b, studio.Publish{Size: 100})
	for _, project := range []string{"A", "C"} {
		if code, stdout, stderr := s.exits("pause", project); code != 0 {
			t.Fatal(stdout, stderr)
		}
	}
	s.refuses(1, "project A is paused, and has files that are pending; sitesync resume A ends that", "run", "--once")
	s.synced(good)
	if code, stdout, stderr := s.exits("pause"); code != 0 {
		t.Fatal(stdout, stderr)
	}
	s.refuses(1, "the site is paused, so not everything is synced", "run", "--once")
	if rec := s.record(left, 0); rec.Lookup("created_dt").Type != 0 {
		t.Errorf("the record is %v", rec)
	}
	for _, project := range [][]string{{"A"}, {}} {
		if code, stdout, stderr := s.exits(append([]string{"resume"}, project...)...); code != 0 {
			t.Fatal(stdout, stderr)
		}
	}
	// Nothing of C is pending.
	if code, stdout, stderr := s.exits("run", "--once"); code != 0 {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
	s.synced(left)
}

// What is paused must be known before anything is begun. It is logged if they cannot be read.
func TestPausesThatCantBeRead(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	privileges := documentedRole(t, "avalon-state")
	own := privileges[1]
	privileges = privileges[:1]
	for _, collection := range []string{"leases", "claims", "ids", "sessions"} {
		own.Resource.Collection = collection
		privileges = append(privileges, own)
	}
	admin := set.Client().Database("admin")
	role := func(command string, p []privilege) {
		check(t, admin.RunCommand(t.Context(), bson.D{{Key: command, Value: "narrow"}, {Key: "privileges", Value: p},
			{Key: "roles", Value: bson.A{}}}).Err())
	}
	role("createRole", privileges)
	uri := must(set.CreateUser(t.Context(), "sync", "S3cr3tOfMongo", mongod.Role{Role: "narrow", DB: "admin"}))(t)
	s := newTestStudioOn(t, uri, set.Client().Database("avalon"))
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	d := s.launch()
	line := s.log(d, process.Message("cannot read the pauses; syncing waits until it can"))
	if !strings.Contains(line.Text("error"), "grant the user the role readWrite on database avalon-state") {
		t.Errorf("the log says %v", line.Fields)
	}
	if n := s.creates(); n != 0 {
		t.Errorf("%d uploads", n)
	}
	own.Resource.Collection = "pauses"
	role("updateRole", append(slices.Clone(privileges), own))
	s.synced(rep)
}
