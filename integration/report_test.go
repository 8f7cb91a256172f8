package integration_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// report makes a report, which has no secret in it, and wants that exit status.
func (s *testStudio) report(want int, args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.exits(append([]string{"check", "--report"}, args...)...)
	if code != want || stderr != "" {
		s.t.Errorf("status %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	s.checkForSecrets("the report", stdout)
	return stdout
}

func TestReport(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	uri := must(set.CreateUser(t.Context(), "sync", "S3cr3tOfMongo", mongod.Role{Role: "readWrite", DB: "avalon"},
		mongod.Role{Role: "readWrite", DB: "avalon-state"}))(t)
	s := newTestStudioOn(t, uri, set.Client().Database("avalon"))
	s.remoteRoot("/SHOW/projects", s.account)
	s.presets.LocalRoot = s.root
	p := s.project("Häschen")
	d := s.start()
	s.synced(s.publish(p, studio.Publish{Size: 8 << 20}))
	rep := s.publish(p, studio.Publish{Size: 100, Version: 2, RecordOnly: true})
	check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "tries", Value: 3}, {Key: "error", Value: "no"}}))
	check(t, os.MkdirAll(filepath.Join(s.root, "Windows", "Assets"), 0o755)) // else the project counts as not mounted
	s.publish(s.project("Windows"), studio.Publish{Size: 100, RecordOnly: true, ContextRoot: "P:/projects"})
	if code, _, stderr := s.exits("pause", "Windows", "--why", "the client has not paid"); code != 0 {
		t.Fatal(stderr)
	}

	got := s.report(0)
	var server struct {
		Version string `bson:"version"`
	}
	check(t, set.Client().Database("admin").RunCommand(t.Context(), bson.D{{Key: "buildInfo", Value: 1}}).
		Decode(&server))
	for _, want := range []string{
		"sitesync report of 20", runtime.GOOS + "/" + runtime.GOARCH, runtime.Version(), "\nremote_site       gdrive\n",
		"\nlocal_root        " + s.root + "\n", "sync:***@",
		"\nversion           " + server.Version, "replica set ", " of 1 member", "\nok    index of pending files",
		"\nok    site gdrive: /SHOW/projects", s.account.Email,
		"\nwarn  project Windows is paused", "process ", "the client has not paid", "\nHäschen ", "\ntotal ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing about %q in\n%s", want, got)
		}
	}
	anonymous := s.report(0, "--anonymous")
	host := must(os.Hostname())(t)
	for _, name := range []string{"Häschen", "Windows", "SHOW", s.root, s.dir, s.account.Email, "127.0.0.1",
		"the client has not paid", "@" + host, " on " + host} {
		if strings.Contains(anonymous, name) {
			t.Errorf("%s is still in\n%s", name, anonymous)
		}
	}
	for _, want := range []string{"project-1", "host-1", "path-1", "account-1", "reason-1", "person-1",
		"\nok    index of pending files"} {
		if !strings.Contains(anonymous, want) {
			t.Errorf("no %s in\n%s", want, anonymous)
		}
	}
	// An artist's machine is a site, mostly of the artist's name.
	anonymous = s.report(0, "--anonymous", "--local-id", "anna-home", "--active-site", "local",
		"--always-accessible-on", "bens-nas", "--always-accessible-on", "gdrive")
	for _, name := range []string{"anna", "ben"} {
		if strings.Contains(anonymous, name) {
			t.Errorf("%s is still in\n%s", name, anonymous)
		}
	}
	if !strings.Contains(anonymous, "\nactive_site       site-1\n") ||
		!strings.Contains(anonymous, "\nremote_site       gdrive\n") {
		t.Errorf("other sites than the artist's are not in\n%s", anonymous)
	}
	anonymous = s.report(0, "--anonymous")
	numbers := regexp.MustCompile(`(?m)^(?:total|project-1).*$`)
	if n := len(numbers.FindAllString(anonymous, -1)); n < 2 {
		t.Errorf("the status is not in\n%s", anonymous)
	}
	check(t, d.Stop())

	// All problems are in it.
	s.drive.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectStatus, Status: 401, Reason: "invalid_client"})
	if got := s.report(1); !strings.Contains(got, "\nfail  site") {
		t.Errorf("nothing about refused credentials in\n%s", got)
	}
	s.mongo = strings.Replace(uri, "S3cr3tOfMongo", "An0therS3cr3t", 1)
	if got := s.report(1); !strings.Contains(got, "uthentication failed") || !strings.Contains(got, "\nstate_db") {
		t.Errorf("nothing about a wrong password in\n%s", got)
	}
	check(t, os.WriteFile(filepath.Join(s.dir, "config.json"), []byte(`{"retry_cnt": "often"}`), 0o600))
	if got := s.report(1, "--anonymous"); !strings.Contains(got, "\nfail  configuration: ") ||
		!strings.Contains(got, "== program") {
		t.Errorf("nothing about a wrong setting in\n%s", got)
	}
	s.refuses(80, "--anonymous requires --report", "check", "--anonymous")
	s.mongo = uri
}

// A MongoDB that is not there, and one that is no replica set.
func TestReportOfOtherDatabases(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Standalone: true})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	check(t, s.presets.Write(s.dir))
	if got := s.report(0); !strings.Contains(got, "\ntopology          standalone\n") {
		t.Errorf("no topology in\n%s", got)
	}
	if got := s.report(1, "--mongo", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"); !strings.Contains(got,
		"127.0.0.1:1") || !strings.Contains(got, "== status") {
		t.Errorf("%s", got)
	}
}

// All of a report is asked over one connection, and those that the driver watches the server by.
func TestReportConnectsOnce(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	s.publish(s.project("Test"), studio.Publish{Size: 100, RecordOnly: true})
	check(t, s.presets.Write(s.dir))
	created := func() int64 {
		var status struct {
			Connections struct {
				Created int64 `bson:"totalCreated"`
			} `bson:"connections"`
		}
		check(t, set.Client().Database("admin").RunCommand(s.ctx, bson.D{{Key: "serverStatus", Value: 1}}).
			Decode(&status))
		return status.Connections.Created
	}
	before := created()
	s.exits("check", "--report", "--mongo", set.URI()+"&maxPoolSize=1")
	const watching = 2 // the heartbeat, and the time of a round trip
	if n := created() - before; n > 1+watching {
		t.Errorf("%d connections were opened", n)
	}
}
