package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// elsewhere publishes at an artist's home: the files are on Drive, and the studio has no record of them.
func (s *testStudio) elsewhere(p *studio.Project, pub studio.Publish) *studio.Representation {
	s.t.Helper()
	pub.Synced, pub.NoActiveDate, pub.RecordOnly, pub.OtherSites = true, true, true, []string{"home"}
	rep := s.publish(p, pub)
	check(s.t, rep.RemoveSite(s.ctx, "studio"))
	check(s.t, rep.Set(s.ctx, "home", bson.D{{Key: "created_dt", Value: time.Now()}}))
	return rep
}

// comes records that files are on the studio's storage, as a download does.
func (s *testStudio) comes(rep *studio.Representation, files ...int) {
	s.t.Helper()
	check(s.t, rep.Set(s.ctx, "studio", bson.D{{Key: "created_dt", Value: time.Now()}}, files...))
}

// output is written and read at once.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *output) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(b)
}

func (t *output) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// waiting is a sitesync fetch under way.
type waiting struct {
	*exec.Cmd
	s              *testStudio
	stdout, stderr output
}

// fetch starts sitesync fetch.
func (s *testStudio) fetch(args ...string) *waiting {
	s.t.Helper()
	check(s.t, s.presets.Write(s.dir))
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	s.t.Cleanup(cancel)
	w := &waiting{Cmd: exec.CommandContext(ctx, binary, append([]string{"fetch"}, args...)...), s: s}
	w.Env, w.Stdout, w.Stderr = s.environment(), &w.stdout, &w.stderr
	check(s.t, w.Start())
	return w
}

// says waits until it has printed something about its progress.
func (w *waiting) says(want string) {
	w.s.t.Helper()
	w.s.eventually("it says "+want, func() bool { return strings.Contains(w.stderr.String(), want) })
}

// ends waits for its end, and checks what it has printed.
func (w *waiting) ends(status int, wants ...string) {
	w.s.t.Helper()
	_ = w.Wait()
	if got := w.ProcessState.ExitCode(); got != status {
		w.s.t.Errorf("status %d, want %d", got, status)
	}
	for _, want := range wants {
		if !strings.Contains(w.stdout.String(), want) {
			w.s.t.Errorf("%q is missing", want)
		}
	}
	if w.s.t.Failed() {
		w.s.t.Fatalf("%s\n%s", w.stdout.String(), w.stderr.String())
	}
}

// Files are asked for, and waited for until all of them are there.
func TestFetchWaits(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		p := s.project("Test")
		pub.Frames, pub.Size = 3, 1000
		rep := s.elsewhere(p, pub)
		pub.Version = 2
		newer := s.elsewhere(p, pub)

		w := s.fetch("Test", "--subset", "model*", "--local-root", s.root)
		w.says("Test: no sitesync downloads to site studio; start one: sitesync run\n")
		w.says("Test: 0 of 3 files, 0 B of 2.9 KiB\n")
		s.comes(newer, 0)
		w.says("Test: 1 of 3 files, 1000 B of 2.9 KiB; ")
		s.comes(newer, 1, 2)
		w.ends(0, "Test: 3 files of 1 representation are asked for on site studio\n",
			"Test: all 3 files are on site studio, 2.9 KiB\n")
		if rec := must(rep.Record(s.ctx, 0, "studio"))(t); rec != nil {
			t.Errorf("an older version has the record %v", rec)
		}

		// By the path of one frame, as another system would write it.
		w = s.fetch("Test", `P:\projects\`+strings.ReplaceAll(rep.Files[1].Rel, "/", `\`))
		w.says("0 of 3 files")
		s.comes(rep)
		w.ends(0, "Test: all 3 files are on site studio")
	})
}

// What has failed is reported with its error, and is tried again when it is asked for again.
func TestFetchOfFailedFiles(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	rep := s.elsewhere(s.project("Test"), studio.Publish{Frames: 3, Size: 1000})
	id := rep.ID.Hex()
	w := s.fetch("Test", id)
	w.says("0 of 3 files")
	s.comes(rep, 0)
	check(t,
		rep.Set(s.ctx, "studio", bson.D{{Key: "tries", Value: 3}, {Key: "error", Value: "the file is flagged"}}, 1))
	check(t, rep.Set(s.ctx, "studio", bson.D{{Key: "paused", Value: true}}, 2))
	w.ends(1, "Test: 1 of 3 files are on site studio\n", "Test: 1 file has failed; fix the cause",
		rep.Files[1].Path+"\n      3 tries: the file is flagged\n")

	w = s.fetch("Test", id, "-o", "json")
	s.eventually("it is pending again", func() bool {
		return must(rep.Record(s.ctx, 1, "studio"))(t).Lookup("tries").Type == 0
	})
	s.comes(rep, 1)
	w.ends(1)
	var got struct {
		Total    editedCount
		Complete bool
		Files    struct{ Synced, Paused struct{ Files int } }
	}
	check(t, json.Unmarshal([]byte(w.stdout.String()), &got))
	if got.Complete || got.Total != (editedCount{1, 1}) || got.Files.Synced.Files != 2 || got.Files.Paused.Files != 1 {
		t.Errorf("%+v", got)
	}
}

// Ctrl-C ends the waiting only; what was deleted meanwhile is not taken for complete.
func TestFetchEndsWithoutAllFiles(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	rep := s.elsewhere(p, studio.Publish{Size: 1000})
	w := s.fetch("Test", rep.ID.Hex())
	w.says("0 of 1 file")
	check(t, w.Process.Signal(os.Interrupt))
	w.ends(1, "Test: 0 of 1 file is on site studio; only the waiting has ended, the rest is still asked for\n")
	if rec := must(rep.Record(s.ctx, 0, "studio"))(t); rec == nil {
		t.Error("it is not asked for any more")
	}

	w = s.fetch("Test", rep.ID.Hex())
	w.says("0 of 1 file")
	check(t, rep.Delete(s.ctx))
	w.ends(1, "Test: 0 of 1 file is on site studio\n", "Test: 1 file is gone")

	// Published at home, and not meant for Drive.
	rep = s.elsewhere(p, studio.Publish{Size: 1000, Version: 2})
	check(t, rep.RemoveSite(s.ctx, "gdrive"))
	w = s.fetch("Test", rep.ID.Hex(), "--no-wait")
	w.ends(0, "asked for on site studio\nTest: 1 file has no record of site gdrive, so nothing is "+
		"uploaded; on a machine of a site with the content: sitesync add-site Test\n")
	check(t, rep.RemoveSite(s.ctx, "studio"))
	check(t, rep.RemoveSite(s.ctx, "home"))
	w = s.fetch("Test", rep.ID.Hex())
	w.ends(1, "Test: there is nothing to ask for\n",
		"Test: 1 file is on no site, so there is nothing to download\n")
}

// What is published at an artist's home comes to the studio when it is asked for there, and goes by the studio's
// sitesync alone.
func TestFetchBringsFiles(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		s.presets.LocalRoot = s.root
		p := s.project("Test")
		s.publish(p, studio.Publish{Version: 99, Size: 10}) // an empty root is not written to
		root := t.TempDir()
		s.start("--active-site", "home", "--local-root", root)
		home := studio.New(s.db, studio.Options{Root: root, ActiveSite: "home"})
		pub.Asset, pub.Subset, pub.Name, pub.Frames, pub.Size = "sh010", "plateMain", "exr", 30, 100_000
		atHome := must(home.Project(s.ctx, "Test"))(t)
		rep := must(atHome.Publish(s.ctx, pub))(t)
		s.synced(rep)
		local := func(f studio.File) string { return filepath.Join(s.root, filepath.FromSlash(f.Rel)) }

		// It is asked for before anybody can bring it.
		w := s.fetch("Test", "--asset", "sh*")
		w.says("Test: no sitesync downloads to site studio; start one: sitesync run")
		w.says("Test: 0 of 30 files, 0 B of 2.9 MiB")
		if _, err := os.Stat(local(rep.Files[0])); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is there already: %v", err)
		}
		s.start()
		w.ends(0, "Test: 30 files of 1 representation are asked for on site studio\n",
			"Test: all 30 files are on site studio, 2.9 MiB\n")
		for i, f := range rep.Files {
			got, want := must(os.ReadFile(local(f)))(t), must(os.ReadFile(f.Local))(t)
			if !bytes.Equal(got, want) {
				t.Errorf("%s has another content", local(f))
			}
			if v := must(rep.Record(s.ctx, i, "studio"))(t).Lookup("created_dt"); v.Type != bson.TypeDateTime {
				t.Errorf("created_dt is %v", v)
			}
		}

		// A pause is named, and what was asked for comes when it ends.
		code, stdout, stderr := s.exits("pause", "--why", "dailies")
		if code != 0 {
			t.Fatal(stdout, stderr)
		}
		pub.Version = 2
		rep = must(atHome.Publish(s.ctx, pub))(t)
		w = s.fetch("Test", rep.ID.Hex())
		w.says("Test: downloads from site gdrive are paused by ")
		w.says(": dailies; resume them: sitesync resume")
		if code, stdout, stderr := s.exits("resume"); code != 0 {
			t.Fatal(stdout, stderr)
		}
		w.ends(0, "Test: all 30 files are on site studio")
	})
}

// A large file is shown by itself, and counts in part, where its progress is recorded.
func TestFetchShowsLargeFiles(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.LocalRoot = s.root
	p := s.project("Test")
	s.publish(p, studio.Publish{Version: 99, Size: 10})
	root := t.TempDir()
	home := studio.New(s.db, studio.Options{Root: root, ActiveSite: "home"})
	s.start("--active-site", "home", "--local-root", root)
	rep := must(must(home.Project(s.ctx, "Test"))(t).Publish(s.ctx, studio.Publish{Asset: "sh010", Subset: "smokeMain",
		Name: "vdb", Size: 70 << 20, Sparse: true}))(t)
	s.wait(rep)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.DownloadBandwidth = 4 << 20 })
	s.start("--record-progress")
	w := s.fetch("Test", "test_sh010_smokeMain_v001.vdb")
	running := regexp.MustCompile(
		`Test: 0 of 1 file, [1-9][0-9.]* MiB of 70 MiB; .*test_sh010_smokeMain_v001.vdb [1-9]`)
	s.eventually("the file is shown", func() bool { return running.MatchString(w.stderr.String()) })
	s.drive.UpdateSettings(func(set *drive.Settings) { set.DownloadBandwidth = 0 })
	w.ends(0, "Test: the file is on site studio, 70 MiB\n")
}
