package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// twoStorages makes the studio one with the roots work and render, which go to folders of their own.
func (s *testStudio) twoStorages() (roots map[string]string) {
	s.t.Helper()
	dir := s.t.TempDir()
	roots = map[string]string{"work": filepath.Join(dir, "work"), "render": filepath.Join(dir, "render")}
	for _, root := range roots {
		check(s.t, os.Mkdir(root, 0o755))
	}
	s.studio = studio.New(s.db, studio.Options{Roots: roots})
	s.drive.Mkdir(s.show, "renders")
	s.remoteRoot(map[string]string{"work": "/SHOW/projects", "render": "/SHOW/renders"}, s.account)
	return roots
}

// A storage that is away, in whatever way, holds up what is on it and nothing else, is logged once, costs no try, and
// is found when it is back.
func TestOneStorageAway(t *testing.T) {
	for name, left := range map[string]func(root string) error{
		"missing":           func(string) error { return nil },
		"empty mount point": func(root string) error { return os.Mkdir(root, 0o755) },
		"a file":            func(root string) error { return os.WriteFile(root, nil, 0o644) },
		"a dangling link":   func(root string) error { return os.Symlink(root+"-nowhere", root) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			roots := s.twoStorages()
			p := s.project("Test")
			sequence := s.publish(p, studio.Publish{Size: 100, Root: "render", Name: "exr", Frames: 20})
			single := s.publish(p, studio.Publish{Size: 100, Root: "render", Version: 2})
			check(t, os.Rename(roots["render"], roots["render"]+"-away"))
			check(t, left(roots["render"]))

			d := s.start("--retry-delay", "10ms", "--settle", "10ms")
			held := s.log(d, process.Message("uploads are held"))
			if held.Text("held") != roots["render"] ||
				!strings.Contains(held.Text("error"), "the storage is not mounted") {
				t.Errorf("the log says %v", held.Fields)
			}
			s.synced(s.publish(p, studio.Publish{Size: 100, Root: "work", Version: 3}))
			for i := range sequence.Files {
				if rec := s.record(sequence, i); rec.Lookup("tries").Type != 0 || rec.Lookup("error").Type != 0 ||
					rec.Lookup("created_dt").Type != 0 {
					t.Errorf("the record is %v", rec)
				}
			}

			check(t, os.RemoveAll(roots["render"]))
			check(t, os.Rename(roots["render"]+"-away", roots["render"]))
			for _, rep := range []*studio.Representation{sequence, single} {
				must(s.studio.WaitSynced(s.ctx, rep))(t)
				s.onDrive(s.show, "renders", rep)
			}
			for message, want := range map[string]int{"uploads are held": 1, "uploads go on": 1, "upload failed": 0} {
				if lines := d.Lines(process.Message(message)); len(lines) != want {
					t.Errorf("%q is logged %d times: %v", message, len(lines), lines)
				}
			}
		})
	}
}

// A storage that goes away under running uploads, and comes back with something else under the name of one.
func TestStorageGoesAwayUnderAnUpload(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	roots := s.twoStorages()
	p := s.project("Test")
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 8 << 20 })
	d := s.start("--settle", "10m")
	const size = 16 << 20
	same := s.publish(p, studio.Publish{Size: size, Root: "render", NoTmp: true})
	other := s.publish(p, studio.Publish{Size: size, Root: "render", Version: 2, NoTmp: true})
	s.eventually("both are uploaded", func() bool { return s.drive.Calls()["upload.put"] == 2 })
	check(t, os.Rename(roots["render"], roots["render"]+"-away"))
	check(t, os.Mkdir(roots["render"], 0o755))
	if synced := d.Lines(process.Message("synced")); len(synced) > 0 {
		t.Fatalf("it was too late for %v", synced)
	}
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	s.log(d, process.Message("uploads are held"))

	away := strings.Replace(other.Files[0].Local, roots["render"], roots["render"]+"-away", 1)
	check(t, os.WriteFile(away, make([]byte, size), 0o644))
	check(t, os.Chtimes(away, time.Time{}, time.Now().Add(-time.Hour)))
	check(t, os.Remove(roots["render"]))
	check(t, os.Rename(roots["render"]+"-away", roots["render"]))
	for _, rep := range []*studio.Representation{same, other} {
		must(s.studio.WaitSynced(s.ctx, rep))(t)
		s.onDrive(s.show, "renders", rep)
	}
	s.checkNoTries(d)
	s.checkNoDuplicates()
}

// A representation names only the root that it uses itself. A resource in another one is held; it is said once which
// local_root is needed, by check too, and counted by status. With that in the settings it is synced.
func TestRootThatTheDocumentLacks(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	roots := s.twoStorages()
	p := s.project("Test")
	rep := s.publish(p, studio.Publish{Size: 100, Root: "work", Change: func(doc bson.D) bson.D {
		return with(doc, "context", bson.D{{Key: "root", Value: bson.D{{Key: "render", Value: roots["render"]}}}})
	}})
	d := s.start()
	const reason = `context.root of the representation has no root "work"`
	if held := s.log(d, process.Message("uploads are held")); !strings.Contains(held.Text("error"), reason) {
		t.Errorf("the log says %v", held.Fields)
	}
	if status, stdout, _ := s.exits("check"); status != 1 || strings.Count(stdout, reason) == 0 ||
		!strings.Contains(stdout, "set local_root") {
		t.Errorf("check ends with status %d and says\n%s", status, stdout)
	}
	if _, stdout, _ := s.exits("status"); !strings.Contains(stdout,
		"Test: 1 file is held, as the settings do not fit: "+reason) {
		t.Errorf("status says\n%s", stdout)
	}
	check(t, d.Stop())
	s.start("--local-root", "work="+roots["work"], "--local-root", "render="+roots["render"])
	s.synced(rep)
}
