package integration_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

func TestEmptyRemoteSiteIdles(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.presets.RemoteSite = "-"
	d := s.launch()
	line := s.log(d, process.Message("remote_site is empty"))
	if line.Level != "warn" {
		t.Errorf("logged as %s", line.Level)
	}
	check(t, d.Stop())
	if n := s.drive.TotalCalls(); n != 0 {
		t.Errorf("%d calls to Drive", n)
	}
	if v := s.record(rep, 0).Lookup("created_dt"); v.Type != 0 {
		t.Errorf("created_dt is %v", v)
	}
}

// exits runs sitesync with a command until it ends by itself.
func (s *testStudio) exits(args ...string) (status int, stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = s.environment()
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil || ctx.Err() != nil {
		s.t.Fatal(err, ctx.Err(), errOut.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// environment is what a command needs.
func (s *testStudio) environment() []string {
	return append(os.Environ(), "SITESYNC_MONGO="+s.mongo, "SITESYNC_PRESETS="+s.dir, "SITESYNC_DB="+s.db.Name(),
		"SITESYNC_STATE_DB="+s.state())
}

func TestRefusedConfiguration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(config map[string]any)
		want   []string
	}{
		"retry_cnt": {func(c map[string]any) { c["retry_cnt"] = "often" },
			[]string{"config.json", "retry_cnt", `"often"`}},
		"remote_site": {func(c map[string]any) { c["remote_site"] = "gdrve" },
			[]string{"config.json", "remote_site", "gdrve", `"gdrive"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStudio(t)
			check(t, s.presets.Write(s.dir))
			file := filepath.Join(s.dir, "config.json")
			var config map[string]any
			check(t, json.Unmarshal(must(os.ReadFile(file))(t), &config))
			test.change(config)
			check(t, os.WriteFile(file, must(json.Marshal(config))(t), 0o600))

			for _, command := range []string{"run", "check"} {
				status, stdout, stderr := s.exits(command)
				if status != 1 {
					t.Errorf("%s ends with status %d", command, status)
				}
				for _, want := range test.want {
					if !strings.Contains(stdout+stderr, want) {
						t.Errorf("%s does not say %s:\n%s%s", command, want, stdout, stderr)
					}
				}
			}
		})
	}
}

// A standalone server has no change streams: one warning, and the poll works.
func TestStandalone(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Standalone: true})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	d := s.launch()
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 100}))
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 100, Version: 2}))
	if warnings := warnings(d); len(warnings) != 1 ||
		!strings.Contains(warnings[0].Message, "not a replica set") {
		t.Errorf("want one warning, got %v", warnings)
	}
}

// An upload that can't finish in time is stopped and done at the next start.
func TestStopWhileUploading(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 1 << 20 })
	d := s.start(append(streamOnly, "--shutdown-timeout", "2s")...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 50 << 20})
	s.eventually("the upload has begun", func() bool { return s.drive.Calls()["upload.put"] > 0 })
	check(t, d.Stop())
	if stopped := d.Lines(process.Message("upload interrupted")); len(stopped) != 1 {
		t.Errorf("the log says %v", stopped)
	}
	if v := s.record(rep, 0); v.Lookup("created_dt").Type != 0 || v.Lookup("tries").Type != 0 {
		t.Errorf("the record is %v", v)
	}

	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	s.start()
	s.synced(rep)
}

// What is under way when SIGTERM comes is finished and recorded if there is time.
func TestStopFinishesUploads(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.Latency = 300 * time.Millisecond })
	d := s.start(streamOnly...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.eventually("the upload has begun", func() bool { return s.drive.TotalCalls() > 0 })
	check(t, d.Stop())
	s.synced(rep)
}

// A second signal ends it at once, whatever runs.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 1 << 20 })
	d := s.start(append(streamOnly, "--shutdown-timeout", "10m")...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 500 << 20, Sparse: true})
	s.eventually("the upload has begun", func() bool { return s.drive.Calls()["upload.put"] > 0 })
	check(t, d.Signal(syscall.SIGTERM))
	s.log(d, process.Message("stopping"))
	check(t, d.Signal(syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	if status := must(d.Exit(ctx))(t); status == 0 {
		t.Error("it ends as if all were well")
	}
	if v := s.record(rep, 0); v.Lookup("created_dt").Type != 0 || v.Lookup("tries").Type != 0 {
		t.Errorf("the record is %v", v)
	}
}

// The log is for machines unless it goes to a terminal or is asked for otherwise.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	for format, wantJSON := range map[string]bool{"auto": true, "json": true, "console": false} {
		_, _, stderr := s.exits("run", "--once", "--log-format", format)
		first, _, _ := strings.Cut(stderr, "\n")
		if json.Valid([]byte(first)) != wantJSON || !strings.Contains(first, "sitesync starts") ||
			strings.Contains(stderr, "\x1b") {
			t.Errorf("%s: %s", format, first)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	one, many := s.publish(p, studio.Publish{Size: 100}),
		s.publish(p, studio.Publish{Size: 100, Name: "exr", Frames: 50, Version: 2})
	check(t, s.presets.Write(s.dir))
	status, _, stderr := s.exits("run", "--once")
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, stderr)
	}
	s.synced(one)
	s.synced(many)

	missing := s.publish(p, studio.Publish{Size: 100, Version: 3, Hold: true})
	good := s.publish(p, studio.Publish{Size: 100, Version: 4})
	status, _, stderr = s.exits("run", "--once", "--settle", "50ms", "--retry-delay", "50ms")
	if status != 1 || !strings.Contains(stderr, "not synced: 1 file;") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	s.synced(good)
	if tries := s.record(missing, 0).Lookup("tries").AsInt64(); tries != 3 {
		t.Errorf("tries is %d", tries)
	}
}

// A site that cannot be used is reported, and costs no try.
func TestOnceWithTheSiteHeld(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.remoteRoot("/SHOW/no such folder", s.account)
	check(t, s.presets.Write(s.dir))
	status, _, stderr := s.exits("run", "--once")
	if status != 1 || !strings.Contains(stderr, "no such folder") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	if v := s.record(rep, 0); v.Lookup("tries").Type != 0 {
		t.Errorf("the record is %v", v)
	}
}

// A storage that is away does not keep the rest from being synced, but is reported in the end.
func TestOnceWithOneRootAway(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	away := s.publish(p, studio.Publish{Size: 100, RecordOnly: true, ContextRoot: filepath.Join(t.TempDir(), "away")})
	here := s.publish(p, studio.Publish{Size: 100, Name: "exr", Frames: 50, Version: 2})
	check(t, s.presets.Write(s.dir))
	status, _, stderr := s.exits("run", "--once")
	if status != 1 || !strings.Contains(stderr, "not mounted") ||
		!strings.Contains(stderr, "not synced: 1 held file;") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	s.synced(here)
	if v := s.record(away, 0); v.Lookup("tries").Type != 0 {
		t.Errorf("the record is %v", v)
	}
}

// Publishers on Windows, and no local_root: a fault of the settings, which costs no try.
func TestSettingsThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100, ContextRoot: "P:/projects"})
	d := s.start("--retry-delay", "10ms")
	line := s.log(d, process.Message("uploads are held"))
	if !strings.Contains(line.Text("error"), "set local_root") {
		t.Errorf("the log says %v", line.Fields)
	}
	check(t, d.Stop())
	if v := s.record(rep, 0); v.Lookup("tries").Type != 0 {
		t.Errorf("the record is %v", v)
	}
	s.presets.LocalRoot = s.root
	s.start()
	s.synced(rep)
}

// A database that hangs does not keep it from stopping in time; d.Stop watches over that.
func TestStopWhileMongoHangs(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	s.drive.UpdateSettings(func(set *drive.Settings) { set.Latency = 100 * time.Millisecond })
	d := s.start()
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100, Name: "exr", Frames: 200})
	s.eventually("the upload has begun", func() bool { return s.creates() > 10 })
	check(t, set.Members()[0].Pause())
	check(t, d.Stop())
	check(t, set.Members()[0].Resume())
	s.start()
	s.synced(rep)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.presets.LocalRoot = s.root
	check(t, s.presets.Write(s.dir))
	status, stdout, stderr := s.exits("check")
	if status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("not ok: %s", line)
		}
	}
	for _, want := range []string{"configuration", "replica set", "change stream", "index", "rights",
		"storage of 1 project", "/SHOW/projects", s.account.Email, s.root} {
		if !strings.Contains(stdout, want) {
			t.Errorf("nothing about %s in\n%s", want, stdout)
		}
	}
	// It looks and changes nothing.
	if n := s.creates(); n != 0 {
		t.Errorf("%d creates on Drive", n)
	}
	if specs := must(s.db.Collection("Test").Indexes().ListSpecifications(s.ctx))(t); len(specs) != 1 {
		t.Errorf("the indexes are %v", specs)
	}

	s.remoteRoot(map[string]string{"work": "/SHOW/projects", "render": "/SHOW/nowhere", "cache": "/NO SUCH DRIVE"},
		s.account)
	s.presets.LocalRoot = map[string]string{"work": s.root, "render": filepath.Join(s.root, "nowhere"),
		"cache": t.TempDir()}
	check(t, s.presets.Write(s.dir))
	status, stdout, _ = s.exits("check")
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"nowhere", "NO SUCH DRIVE", "no such file", "the storage is not mounted"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("nothing about %s in\n%s", want, stdout)
		}
	}
}

func TestCheckLooksForTheSources(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.publish(s.project("Windows"), studio.Publish{Size: 100, ContextRoot: "P:/projects"})
	s.publish(s.project("Away"), studio.Publish{Size: 100, ContextRoot: filepath.Join(t.TempDir(), "away")})
	s.publish(s.project("Here"), studio.Publish{Size: 100})
	check(t, s.presets.Write(s.dir))
	status, stdout, _ := s.exits("check")
	for _, want := range []string{"fail  storage of project Windows: root \"P:/projects\"", "set local_root",
		"fail  storage of project Away: the storage is not mounted", "ok    storage of 1 project"} {
		if status != 1 || !strings.Contains(stdout, want) {
			t.Errorf("status %d, nothing about %s in\n%s", status, want, stdout)
		}
	}
}

func TestCheckKnowsWhatTheUserMayDo(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	db := set.Client().Database("avalon")
	for name, test := range map[string]struct {
		avalon, state string // roles
		want          string
	}{
		"reader": {"read", "readWrite", "fail  rights: the user may not update, createIndex in database avalon"},
		"guest": {"readWrite", "read", "fail  sitesync's own database avalon-state: the user may not insert, " +
			"update, remove, createIndex"},
		"trusted": {"readWrite", "readWrite", "ok    rights"},
	} {
		uri := must(set.CreateUser(t.Context(), name, "S3cr3t", mongod.Role{Role: test.avalon, DB: "avalon"},
			mongod.Role{Role: test.state, DB: "avalon-state"}))(t)
		s := newTestStudioOn(t, uri, db)
		s.publish(s.project("Test"), studio.Publish{Size: 100, Seed: uint64(len(name))})
		check(t, s.presets.Write(s.dir))
		status, stdout, stderr := s.exits("check")
		if !strings.Contains(stdout, test.want) || (status == 0) != (name == "trusted") {
			t.Errorf("%s: status %d\n%s%s", name, status, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "S3cr3t") {
			t.Errorf("the password is shown:\n%s%s", stdout, stderr)
		}
	}
}

// A service account has no storage of its own, which shows only at the first upload.
func TestCheckKnowsThatAServiceAccountHasNoStorage(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.Mkdir(s.account, "projects")
	s.remoteRoot("/My Drive/projects", s.account)
	check(t, s.presets.Write(s.dir))
	status, stdout, _ := s.exits("check")
	if status != 1 || !strings.Contains(stdout, "shared drive") || !strings.Contains(stdout, "subject") {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

// The database may not be there yet when the container starts.
func TestMongoNotThere(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.mongo = "mongodb://127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=300"
	d := s.launch()
	s.log(d, process.Message("cannot acquire the lease"))
	check(t, s.presets.Write(s.dir))
	if status, stdout, _ := s.exits("check"); status != 1 || !strings.Contains(stdout, "127.0.0.1:1") {
		t.Errorf("status %d\n%s", status, stdout)
	}
	check(t, d.Stop())
}
