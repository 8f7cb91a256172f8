package integration_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/studio"
)

// edited is what scripts read of sitesync retry and add-site.
type edited struct {
	Site     string `json:"site"`
	DryRun   *bool  `json:"dry_run"`
	Projects []struct {
		Project string `json:"project"`
		editedCount
		Examples     []string `json:"examples"`
		WithoutSites int64    `json:"without_sites"`
		Error        string   `json:"error"`
	} `json:"projects"`
	Total editedCount `json:"total"`
}

type editedCount struct{ Representations, Files int64 }

// edits runs a command as a script does, and wants that exit status.
func (s *testStudio) edits(want int, args ...string) (out edited) {
	s.t.Helper()
	code, stdout, stderr := s.exits(append(args, "-o", "json")...)
	if code != want || stderr != "" {
		s.t.Fatalf("status %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	in := json.NewDecoder(strings.NewReader(stdout))
	in.DisallowUnknownFields()
	if err := in.Decode(&out); err != nil || out.DryRun == nil || out.Projects == nil || out.Site != "gdrive" {
		s.t.Fatalf("%v in\n%s", err, stdout)
	}
	return out
}

// prints checks what a command prints.
func (s *testStudio) prints(want string, args ...string) {
	s.t.Helper()
	if code, stdout, stderr := s.exits(args...); code != 0 || stderr != "" || stdout != want {
		s.t.Errorf("%v: status %d, want\n%s\ngot\n%s%s", args, code, want, stdout, stderr)
	}
}

// refuses checks what a command does not do.
func (s *testStudio) refuses(code int, want string, args ...string) {
	s.t.Helper()
	if got, stdout, stderr := s.exits(args...); got != code || !strings.Contains(stderr, want) {
		s.t.Errorf("%v: status %d, want %d and %q\n%s%s", args, got, code, want, stdout, stderr)
	}
}

// What has failed on its way to the active site is retried too, and each way alone.
func TestRetryOfDownloads(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		check(t, s.presets.Write(s.dir))
		p := s.project("Test")
		failed := bson.D{{Key: "tries", Value: 3}, {Key: "error", Value: "no"}}
		pub.Size, pub.RecordOnly = 5, true
		up := s.publish(p, pub)
		check(t, up.Set(s.ctx, "gdrive", failed))
		pub.Version, pub.Synced, pub.NoActiveDate = 2, true, true
		down := s.publish(p, pub)
		check(t, down.Set(s.ctx, "studio", failed))
		left := func() (uploads, downloads bool) {
			return s.record(up, 0).Lookup("tries").Type != 0,
				must(down.Record(s.ctx, 0, "studio"))(t).Lookup("tries").Type != 0
		}
		const one = "Test: 1 file of 1 representation is pending again\n"
		s.prints("Test: no file has failed for good\n", "retry", "Test", "--direction", "down", "--local-root", s.root,
			"--representation", up.ID.Hex())
		s.prints(one, "retry", "Test", "--direction", "down", "--local-root", s.root)
		if uploads, downloads := left(); !uploads || downloads {
			t.Errorf("after a retry of downloads: %t, %t", uploads, downloads)
		}
		check(t, down.Set(s.ctx, "studio", failed))
		s.prints(one, "retry", "Test", "--direction", "up")
		if uploads, downloads := left(); uploads || !downloads {
			t.Errorf("after a retry of uploads: %t, %t", uploads, downloads)
		}
		check(t, up.Set(s.ctx, "gdrive", failed))
		s.prints("Test: 2 files of 2 representations are pending again\n", "retry", "--all-projects")
		if uploads, downloads := left(); uploads || downloads {
			t.Errorf("after a retry: %t, %t", uploads, downloads)
		}
	})
}

// A file that was given up is synced right after a retry, by the change stream alone.
func TestRetrySyncsAtOnce(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		s.start("--no-poll", "--settle", "10ms", "--retry-delay", "10ms")
		pub.Size, pub.Hold = 1000, true
		p := s.project("Test")
		rep := s.publish(p, pub)
		pub.Version = 2
		other := s.publish(p, pub)
		s.eventually("both have failed for good", func() bool { return s.status(0).Total.Failed.Files == 2 })
		check(t, rep.Finish())
		if got := s.edits(0, "retry", "Test", "--representation", rep.ID.Hex(),
			"--dry-run"); got.Total != (editedCount{1, 1}) || !*got.DryRun {
			t.Errorf("would retry %+v", got)
		}
		if got := s.status(0).Total.Failed.Files; got != 2 {
			t.Errorf("%d have failed after a dry run", got)
		}
		s.prints("Test: 1 file of 1 representation is pending again\n", "retry", "Test", "--representation",
			rep.ID.Hex())
		s.synced(rep)
		for _, field := range []string{"error", "tries", "last_failed_dt"} {
			if v := s.record(rep, 0).Lookup(field); v.Type != 0 {
				t.Errorf("%s is %v", field, v)
			}
		}
		check(t, other.Finish())
		s.prints("Test: 1 file of 1 representation is pending again\n", "retry", "--all-projects")
		s.synced(other)
		s.prints("no file has failed for good\n", "retry", "--all-projects")
	})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	check(t, s.presets.Write(s.dir))
	a, b := s.project("A"), s.project("B")
	s.project("C")
	failed := func(p *studio.Project, version, tries int) *studio.Representation {
		rep := s.publish(p, studio.Publish{Version: version, Frames: 3, Size: 5, RecordOnly: true})
		check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "tries", Value: tries}, {Key: "error", Value: "no"},
			{Key: "last_failed_dt", Value: time.Now()}}))
		return rep
	}
	first, _ := failed(a, 1, 3), failed(a, 2, 2)
	failed(b, 1, 5)
	if got := s.edits(0, "retry", "--all-projects", "-n"); got.Total != (editedCount{2, 6}) || len(got.Projects) != 2 ||
		len(got.Projects[0].Examples) != 3 {
		t.Errorf("%+v", got)
	}
	s.prints(fmt.Sprintf("A: 3 files of 1 representation would be pending again, such as\n  %s\n  %s\n  %s\n",
		first.Files[0].Path, first.Files[1].Path, first.Files[2].Path), "retry", "A", "--dry-run", "--waiting",
		"--representation", first.ID.Hex())
	s.prints("C: no file has failed for good\n", "retry", "C")
	s.prints("A: 3 files of 1 representation are pending again\nB: 3 files of 1 representation are pending "+
		"again\ntotal: 6 files of 2 representations\n", "retry", "--all-projects")
	if got := s.status(0).Total; got.Failed.Files != 0 || got.Waiting.Files != 3 || got.Pending.Files != 6 {
		t.Errorf("%+v", got)
	}
	s.prints("A: 3 files of 1 representation are pending again\n", "retry", "A", "--waiting")
	s.prints("A: no file has failed\n", "retry", "A", "--waiting")

	s.refuses(1, `database `+s.db.Name()+` has no project "a"; did you mean "A"?`, "retry", "a")
	s.refuses(1, "project A has no representation 6b050e7f95b3069bbeff69ac", "retry", "A", "--representation",
		"6b050e7f95b3069bbeff69ac")
	s.refuses(80, "name a project, or give --all-projects", "retry")
	s.refuses(80, "--all-projects cannot be combined", "retry", "A", "--all-projects")
	s.refuses(80, "--representation requires the name of its project", "retry", "--all-projects", "--representation",
		"x")
	s.presets.RemoteSite = "-"
	check(t, s.presets.Write(s.dir))
	s.refuses(1, "remote_site is empty", "retry", "A")
}
