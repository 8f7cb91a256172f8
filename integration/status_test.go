package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// status is what scripts read of sitesync status -o json, as docs/operations.md has it.
type status struct {
	At         time.Time `json:"at"`
	ActiveSite string    `json:"active_site"`
	RemoteSite *string   `json:"remote_site"`
	Directions []string  `json:"directions"`
	statusRoute
	Projects []statusRow  `json:"projects"`
	Download *statusRoute `json:"download"`
}

// statusRoute is the status of one direction.
type statusRoute struct {
	Sitesync struct {
		Runs   *bool     `json:"runs"`
		Host   string    `json:"host"`
		PID    int       `json:"pid"`
		Since  time.Time `json:"since"`
		Stream string    `json:"stream"`
		Held   []string  `json:"held"`
		Error  string    `json:"error"`
	} `json:"sitesync"`
	Paused []struct {
		Project, By, Why string
		Since            time.Time
	} `json:"paused"`
	Total statusTally `json:"total"`
}

type statusTally struct {
	Pending  statusCount `json:"pending"`
	Waiting  statusCount `json:"waiting"`
	Paused   statusCount `json:"paused"`
	Failed   statusCount `json:"failed"`
	Synced   statusCount `json:"synced"`
	Absent   statusCount `json:"absent"`
	Unusable statusCount `json:"unusable"`
	Oldest   time.Time   `json:"oldest"`
}

type statusRow struct {
	Project string `json:"project"`
	statusTally
	Download    *statusTally `json:"download"`
	FailedFiles []struct {
		Direction      string    `json:"direction"`
		Representation string    `json:"representation"`
		Path           string    `json:"path"`
		Tries          int       `json:"tries"`
		Error          string    `json:"error"`
		LastFailed     time.Time `json:"last_failed"`
	} `json:"failed_files"`
	Unfit []struct {
		Direction string `json:"direction"`
		Files     int64  `json:"files"`
		Reason    string `json:"reason"`
	} `json:"unfit"`
	Error string `json:"error"`
}

type statusCount struct {
	Files, Bytes int64
}

// status asks for the status as a script does, and wants that exit status.
func (s *testStudio) status(want int, args ...string) status {
	s.t.Helper()
	code, stdout, stderr := s.exits(append([]string{"status", "-o", "json"}, args...)...)
	if code != want || stderr != "" {
		s.t.Fatalf("status %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	var out status
	in := json.NewDecoder(strings.NewReader(stdout))
	in.DisallowUnknownFields()
	if err := in.Decode(&out); err != nil {
		s.t.Fatalf("%v in\n%s", err, stdout)
	}
	if out.Sitesync.Runs == nil || out.Sitesync.Held == nil || out.Paused == nil || out.Projects == nil ||
		out.RemoteSite == nil || out.Directions == nil {
		s.t.Fatalf("something is missing in\n%s", stdout)
	}
	return out
}

// says checks the table, in which spaces do not count.
func (s *testStudio) says(args []string, wants ...string) {
	s.t.Helper()
	code, stdout, stderr := s.exits(append([]string{"status"}, args...)...)
	if code != 0 || stderr != "" || strings.Contains(stdout, "\x1b") {
		s.t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
	plain := regexp.MustCompile(` +`).ReplaceAllString(stdout, " ")
	for _, want := range wants {
		if !strings.Contains(plain, want) {
			s.t.Errorf("nothing about %q in\n%s", want, stdout)
		}
	}
}

// Without a sitesync the documents alone say how far everything is.
func TestStatusOfDocuments(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	s.says(nil, "no sitesync runs for site gdrive\n", "no project has files for site gdrive")
	if got := s.status(0); len(got.Projects) != 0 || *got.Sitesync.Runs {
		t.Errorf("nothing there, but %+v", got)
	}

	test, other := s.project("Test"), s.project("Other")
	s.project("Empty")
	version := 0
	publish := func(p *studio.Project, pub studio.Publish) *studio.Representation {
		version++
		pub.Version, pub.RecordOnly = version, true
		return s.publish(p, pub)
	}
	start := time.Now()
	for _, dict := range []bool{false, true} {
		publish(test, studio.Publish{Size: 1024, DictSites: dict})
		publish(test, studio.Publish{Size: 10 << 20, DictSites: dict, Synced: true, Frames: 600})
		check(t, publish(test, studio.Publish{Size: 2048, DictSites: dict}).Set(s.ctx, "gdrive", bson.D{
			{Key: "tries", Value: 2.0}, {Key: "last_failed_dt", Value: time.Now()}, {Key: "error", Value: "it waits"}}))
		check(t, publish(test, studio.Publish{Size: 5, DictSites: dict, Frames: 15}).Set(s.ctx, "gdrive", bson.D{
			{Key: "tries", Value: "3"}, {Key: "last_failed_dt", Value: time.Now().Add(-time.Hour)},
			{Key: "error", Value: "an old\x1b[1m story"}}))
	}
	last := publish(test, studio.Publish{Size: 7})
	check(t,
		last.Set(s.ctx, "gdrive", bson.D{{Key: "tries", Value: int64(4)}, {Key: "last_failed_dt", Value: time.Now()},
			{Key: "error", Value: "no permission"}}))
	publish(other, studio.Publish{Size: 9, NoActiveDate: true})
	publish(other, studio.Publish{Size: 11, NoRemote: true})
	check(t, publish(other, studio.Publish{Size: 13}).Set(s.ctx, "gdrive", bson.D{{Key: "created_dt", Value: nil}}))

	got := s.status(0)
	if *got.RemoteSite != "gdrive" || got.ActiveSite != "studio" || time.Since(got.At).Abs() > time.Minute {
		t.Errorf("%+v", got)
	}
	type counts struct{ pending, waiting, failed, synced, absent, unusable statusCount }
	for name, test := range map[string]struct {
		got  statusTally
		want counts
	}{
		"Test": {got.Projects[1].statusTally, counts{statusCount{2, 2048}, statusCount{2, 4096}, statusCount{31, 157},
			statusCount{1200, 12000 << 20}, statusCount{}, statusCount{}}},
		"Other": {got.Projects[0].statusTally, counts{pending: statusCount{1, 13}, absent: statusCount{1, 9}}},
		"total": {got.Total, counts{statusCount{3, 2061}, statusCount{2, 4096}, statusCount{31, 157},
			statusCount{1200, 12000 << 20}, statusCount{1, 9}, statusCount{}}},
	} {
		tally := test.got
		if got := (counts{tally.Pending, tally.Waiting, tally.Failed, tally.Synced, tally.Absent,
			tally.Unusable}); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if tally.Oldest.Before(start.Add(-2*time.Second)) || tally.Oldest.After(time.Now()) {
			t.Errorf("%s: the oldest is of %v", name, tally.Oldest)
		}
	}
	if len(got.Projects) != 2 || got.Projects[0].Project != "Other" || got.Projects[1].Project != "Test" ||
		got.Projects[1].FailedFiles != nil {
		t.Errorf("the projects are %+v", got.Projects)
	}
	s.says(nil, "PROJECT PENDING WAITING FAILED SYNCED TO UPLOAD UPLOADED OLDEST\n",
		"\nTest 2 2 31 1,200 6.0 KiB 12 GiB ", "\nOther 1 0 0 0 13 B 0 B ", "\ntotal 3 2 31 1,200 6.0 KiB 12 GiB ",
		"Other: 1 file is not on site studio")

	// One project, with its failed files.
	got = s.status(0, "Test", "--limit", "3")
	if len(got.Projects) != 1 || len(got.Projects[0].FailedFiles) != 3 || got.Projects[0].Failed.Files != 31 {
		t.Fatalf("%+v", got.Projects)
	}
	if f := got.Projects[0].FailedFiles[0]; f.Path != last.Files[0].Path || f.Representation != last.ID.Hex() ||
		f.Tries != 4 || f.Error != "no permission" || time.Since(f.LastFailed).Abs() > time.Minute {
		t.Errorf("the last to fail is %+v", f)
	}
	s.says([]string{"Test"}, "failed files of Test", last.Files[0].Path, ", 4 tries, ", " s ago: no permission\n",
		"3 tries, 1 h ago: an old\uFFFD[1m story\n", "... and 11 more")
	s.says([]string{"Empty"}, "\nEmpty 0 0 0 0 0 B 0 B\n")

	for name, want := range map[string]string{"tests": `did you mean "Test"?`,
		"Elsewhere": `["Empty" "Other" "Test"]`} {
		code, stdout, stderr := s.exits("status", name)
		if code != 1 || stdout != "" || !strings.Contains(stderr, fmt.Sprintf("%q", name)) ||
			!strings.Contains(stderr, want) {
			t.Errorf("status %d\n%s%s", code, stdout, stderr)
		}
	}
	s.presets.RemoteSite = "-"
	check(t, s.presets.Write(s.dir))
	s.says(nil, "remote_site is empty, so nothing is synced")
	if got := s.status(0); *got.RemoteSite != "" {
		t.Errorf("%+v", got)
	}
}

// Another process reports what runs, and what is held.
func TestStatusOfSitesync(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.remoteRoot("/SHOW/later", s.account)
	p := s.project("Test")
	s.publish(p, studio.Publish{Size: 100, Version: 2, RecordOnly: true, ContextRoot: "P:/projects"})
	s.publish(p, studio.Publish{Size: 100, Version: 3, RecordOnly: true,
		ContextRoot: filepath.Join(t.TempDir(), "away")})
	started := time.Now()
	d := s.start()
	var got status
	// Once the site is held, nothing else is found out.
	s.eventually("two are held", func() bool { got = s.status(0); return len(got.Sitesync.Held) == 2 })
	rep := s.publish(p, studio.Publish{Size: 100})
	s.eventually("all holds are reported", func() bool {
		got = s.status(0)
		return *got.Sitesync.Runs && got.Sitesync.Stream == "open" && len(got.Sitesync.Held) == 3
	})
	if got.Sitesync.Host == "" || got.Sitesync.PID == 0 || got.Sitesync.Since.Before(started.Add(-time.Second)) ||
		got.Sitesync.Since.After(time.Now()) {
		t.Errorf("the holder is %+v", got.Sitesync)
	}
	held := strings.Join(got.Sitesync.Held, "\n")
	for _, want := range []string{"/SHOW/later", "set local_root", "not mounted"} {
		if !strings.Contains(held, want) {
			t.Errorf("nothing about %s in\n%s", want, held)
		}
	}
	if got.Total.Pending.Files != 3 {
		t.Errorf("%+v", got.Total)
	}
	s.says(nil, fmt.Sprintf("sitesync process %d on %s syncs to site gdrive, since ", got.Sitesync.PID,
		got.Sitesync.Host), "\nstream open\n", "\nheld "+got.Sitesync.Held[0]+"\n", "\nheld "+got.Sitesync.Held[1]+"\n",
		"\nheld "+got.Sitesync.Held[2]+"\n", "\nTest 3 0 0 0 300 B 0 B ")

	s.drive.Mkdir(s.show, "later")
	s.eventually("the site is well, one file is synced, the rest is held", func() bool {
		got = s.status(0)
		return len(got.Sitesync.Held) == 2 && got.Total.Synced.Files == 1 && got.Total.Pending.Files == 2
	})
	if v := s.record(rep, 0); v.Lookup("created_dt").Type == 0 {
		t.Errorf("the record is %v", v)
	}
	check(t, d.Stop())
	if got := s.status(0); *got.Sitesync.Runs || got.Sitesync.PID == 0 || len(got.Sitesync.Held) != 0 ||
		got.Sitesync.Stream != "" {
		t.Errorf("it was stopped, but %+v", got.Sitesync)
	}
	s.says(nil, "no sitesync runs for site gdrive; the last one was process ")
}

func TestStatusOfFailures(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	missing := s.publish(s.project("Test"), studio.Publish{Size: 100, Hold: true})
	d := s.start(append(pollOnly, "--settle", "10ms", "--retry-delay", "10ms")...)
	var got status
	s.eventually("it has failed for good",
		func() bool { got = s.status(0, "Test"); return got.Total.Failed.Files == 1 })
	if f := got.Projects[0].FailedFiles; len(f) != 1 || f[0].Path != missing.Files[0].Path || f[0].Tries != 3 ||
		!strings.Contains(f[0].Error, missing.Files[0].Local) {
		t.Errorf("%+v", got.Projects[0])
	}
	s.says(nil, "\nstream not open yet; publishes are found by the poll\n", "\nheld nothing\n")
	check(t, missing.Finish())
	check(t, missing.Retry(s.ctx, "gdrive"))
	s.eventually("it is synced",
		func() bool { got = s.status(0, "Test"); return got.Total.Synced == statusCount{1, 100} })
	if got.Projects[0].FailedFiles != nil {
		t.Errorf("%+v", got.Projects[0])
	}
	check(t, d.Stop())
}

// A project that can't be read does not hide the others, and changes the exit status too. (Not parallel: there is
// one failpoint in a server.)
func TestStatusWithoutAProject(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.publish(s.project("Bad"), studio.Publish{Size: 100})
	s.publish(s.project("Good"), studio.Publish{Size: 100})
	check(t, s.presets.Write(s.dir))
	member := must(mongod.Shared(t).Primary(s.ctx))(t)
	off := must(member.FailPoint(s.ctx, "failCommand", mongod.AlwaysOn,
		bson.D{{Key: "failCommands", Value: bson.A{"aggregate"}}, {Key: "namespace", Value: s.db.Name() + ".Bad"},
			{Key: "errorCode", Value: 50}}))(t)
	t.Cleanup(func() { check(t, off(context.Background())) })
	got := s.status(1)
	if len(got.Projects) != 2 || !strings.Contains(got.Projects[0].Error, "count the files of project Bad") ||
		got.Projects[1].Error != "" || got.Total.Pending.Files != 1 {
		t.Errorf("%+v", got.Projects)
	}
	code, stdout, stderr := s.exits("status")
	if code != 1 || stderr != "" || !strings.Contains(stdout, "\nBad: count the files of project Bad: ") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
}

// A user who may only read the projects gets the counts; the active process is in another database.
func TestStatusWithFewRights(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	db := set.Client().Database("avalon")
	owner := newTestStudioOn(t,
		must(set.CreateUser(t.Context(), "owner", "S3cr3t", mongod.Role{Role: "readWrite", DB: "avalon"},
			mongod.Role{Role: "readWrite", DB: "avalon-state"}))(t), db)
	rep := owner.publish(owner.project("Test"), studio.Publish{Size: 100})
	check(t, owner.presets.Write(owner.dir))
	owner.mongo = must(set.CreateUser(t.Context(), "reader", "S3cr3t2", mongod.Role{Role: "read", DB: "avalon"}))(t)
	got := owner.status(1)
	if !strings.Contains(got.Sitesync.Error, "avalon-state") || got.Total.Pending.Files != 1 {
		t.Errorf("%+v", got)
	}
	if code, stdout, stderr := owner.exits("status"); code != 1 || stderr != "" ||
		!strings.Contains(stdout, "cannot read which process syncs") || strings.Contains(stdout, "S3cr3t") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
	reader := owner.mongo
	owner.mongo = must(set.CreateUser(t.Context(), "both", "S3cr3t3", mongod.Role{Role: "read", DB: "avalon"},
		mongod.Role{Role: "read", DB: "avalon-state"}))(t)
	if got := owner.status(0); got.Sitesync.Error != "" || got.Total.Pending.Files != 1 {
		t.Errorf("%+v", got)
	}
	if code, stdout, stderr := owner.exits("explain", "Test", rep.ID.Hex()); code != 1 || stderr != "" ||
		!strings.Contains(stdout, "no sitesync runs") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
	owner.mongo = reader
	if code, stdout, stderr := owner.exits("explain", "Test", rep.ID.Hex()); code != 1 || stderr != "" ||
		!strings.Contains(stdout, "unknown  sitesync") ||
		!strings.Contains(stdout, "Do: grant the user read access to database avalon-state") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
}

func TestStatusWithoutMongo(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	args := []string{"status", "--mongo", "mongodb://127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=300"}
	if code, stdout, stderr := s.exits(args...); code != 1 || stdout != "" || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
}

// Two processes, one for each direction: what holds downloads does not hold uploads, and is said of them alone.
func TestStatusOfDownloads(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	root := filepath.Join(t.TempDir(), "studio") // which is not there yet
	up := s.start("--direction", "up")
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.synced(rep)
	if got := s.status(0); got.Download != nil || got.Projects[0].Download != nil ||
		!slices.Equal(got.Directions, []string{"up"}) {
		t.Errorf("nothing downloads, but %+v", got)
	}
	s.says(nil, "\ndownloads off: there is no local_root")
	here := []string{"--local-root", root}
	if got := s.status(0, here...); got.Download == nil || *got.Download.Sitesync.Runs ||
		!slices.Equal(got.Directions, []string{"up", "down"}) {
		t.Errorf("it would download, but %+v", got)
	}
	s.says(here, " uploads to site gdrive, since ", "\nsitesync no sitesync downloads from site gdrive\n",
		"\nnothing to download\n")

	down := s.start("--direction", "down", "--local-root", root)
	check(t, rep.Resync(s.ctx, "studio"))
	var got status
	s.eventually("downloads are held", func() bool {
		got = s.status(0, here...)
		return len(got.Download.Sitesync.Held) == 1
	})
	if len(got.Sitesync.Held) != 0 || got.Sitesync.PID == got.Download.Sitesync.PID ||
		got.Download.Total.Pending != (statusCount{1, 100}) || *got.Projects[0].Download != got.Download.Total ||
		got.Total.Synced != (statusCount{1, 100}) {
		t.Errorf("%+v", got)
	}
	s.says(here, "\nheld downloads: "+root+": ", " downloads from site gdrive, since ",
		"PROJECT PENDING WAITING FAILED TO DOWNLOAD OLDEST\nTest 1 0 0 100 B ")
	s.says(nil, "\nheld downloads: "+root+": ") // on any machine
	_, stdout, _ := s.exits("explain", "Test", rep.ID.Hex(), "--local-root", root)
	if !strings.Contains(stdout, "downloads of this root are held: "+root) ||
		!strings.Contains(stdout, "\nDo: fix ") {
		t.Errorf("%s", stdout)
	}
	code, stdout, _ := s.exits("check", "--local-root", root)
	if code != 1 || !strings.Contains(stdout, ", holds downloads up: "+root) ||
		!strings.Contains(stdout, "\nfail  local_root "+root+": ") {
		t.Errorf("status %d\n%s", code, stdout)
	}

	check(t, os.MkdirAll(filepath.Join(root, "Test"), 0o755)) // now it is mounted
	s.eventually("it is there", func() bool {
		got = s.status(0, here...)
		return got.Download.Total.Synced == statusCount{1, 100} && len(got.Download.Sitesync.Held) == 0
	})
	if content := must(os.ReadFile(filepath.Join(root, filepath.FromSlash(rep.Files[0].Rel))))(t); len(content) != 100 {
		t.Errorf("%d bytes are there", len(content))
	}
	check(t, up.Stop())
	check(t, down.Stop())
}
