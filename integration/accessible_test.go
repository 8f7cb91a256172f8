package integration_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// With always_accessible_on every file gets the records of these sites, whoever has published it and when, in both
// forms; and what is wanted on the remote site is uploaded.
func TestAlwaysAccessible(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.LoopDelay = "3600" // neither polls nor scans find what is published later
	p := s.project("Test")
	home := must(studio.New(s.db, studio.Options{Root: t.TempDir(), ActiveSite: "art-17"}).Project(s.ctx, "Test"))(t)
	here := func(version int, dict bool) *studio.Representation {
		return s.publish(p, studio.Publish{Version: version, Size: 100, Frames: 3, NoRemote: true, DictSites: dict})
	}
	atHome := func(version int, dict bool) *studio.Representation {
		return s.publish(home, studio.Publish{Subset: "lookMain", Version: version, Size: 100, DictSites: dict})
	}
	asked := func(rep *studio.Representation, site string) bool {
		for _, record := range must(rep.Records(s.ctx, site))(t) {
			if record == nil {
				return false
			}
		}
		return true
	}
	old := []*studio.Representation{here(1, false), here(2, true)}
	oldAtHome := []*studio.Representation{atHome(1, false), atHome(2, true)}
	absent := s.publish(p, studio.Publish{Version: 3, Size: 100, NoRemote: true, NoActiveDate: true})

	d := s.launch("--always-accessible-on", "gdrive", "--always-accessible-on", "studio")
	open := process.Message("change stream open")
	s.eventually("both change streams are open", func() bool { return len(d.Lines(open)) == 2 })
	fresh := []*studio.Representation{here(4, false), here(5, true)}
	freshAtHome := []*studio.Representation{atHome(3, false), atHome(4, true)}
	for _, rep := range append(old, fresh...) {
		s.synced(rep)
	}
	for _, rep := range append(oldAtHome, freshAtHome...) {
		s.eventually("the studio asks for what was published at home", func() bool { return asked(rep, "studio") })
	}
	check(t, fresh[0].RemoveSite(s.ctx, "gdrive"))
	s.synced(fresh[0])
	if asked(absent, "gdrive") {
		t.Error("a file that no site has is asked for")
	}
	if warned := warnings(d); len(warned) > 0 {
		t.Errorf("warnings: %v", warned)
	}
}

// What is published at home gets onto the studio's storage without anyone asking: the machine at home uploads it, the
// studio asks for it and downloads it.
func TestPublishedAtHome(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.LocalRoot = s.root
	check(t, os.Mkdir(filepath.Join(s.root, "Test"), 0o755)) // a storage that is empty is not mounted
	atHome := *s
	atHome.dir, atHome.root = t.TempDir(), t.TempDir()
	atHome.presets.ActiveSite, atHome.presets.LocalRoot = "art-17", atHome.root
	p := must(studio.New(s.db, studio.Options{Root: atHome.root, ActiveSite: "art-17"}).Project(s.ctx, "Test"))(t)
	s.start("--always-accessible-on", "studio")
	atHome.start()
	for version, dict := range []bool{false, true} {
		rep := s.publish(p, studio.Publish{Version: version + 1, Size: 1000, Frames: 3, DictSites: dict})
		s.eventually("the studio has it", func() bool {
			for _, record := range must(rep.Records(s.ctx, "studio"))(t) {
				if _, created := record.Lookup("created_dt").DateTimeOK(); !created {
					return false
				}
			}
			return true
		})
		for _, f := range rep.Files {
			want := must(os.ReadFile(f.Local))(t)
			if got, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(f.Rel))); err != nil ||
				!bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes at the studio, %d at home, %v", f.Rel, len(got), len(want), err)
			}
		}
	}
	s.checkNoDuplicates()
}

// Without the setting nothing is added, and no second change stream is open.
func TestNotAlwaysAccessible(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	rep := s.publish(p, studio.Publish{Size: 100, NoRemote: true})
	d := s.start()
	s.synced(s.publish(p, studio.Publish{Version: 2, Size: 100}))
	if rec := s.record(rep, 0); rec != nil {
		t.Errorf("a file that was not asked for has the record %v", rec)
	}
	if n := len(d.Lines(process.Message("change stream open"))); n != 1 {
		t.Errorf("%d change streams are open", n)
	}
}
