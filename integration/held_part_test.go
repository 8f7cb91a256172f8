package integration_test

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// checkHeld checks that a file waits, that this is reported everywhere, and that it costs no try.
func (s *testStudio) checkHeld(d *process.Process, rep *studio.Representation, kind string, words ...string) {
	s.t.Helper()
	line := s.log(d, process.Message("uploads are held"))
	for _, w := range words {
		if text := line.Text("held") + ": " + line.Text("error"); !strings.Contains(text, w) {
			s.t.Errorf("nothing about %q in %q", w, text)
		}
	}
	page := s.page(d)
	page.shows(map[string]float64{`sitesync_holds_active{kind="` + kind + `"}`: 1,
		`sitesync_holds_active{kind="site"}`: 0})
	if status, body := page.get("/readyz"); status != 200 || !strings.Contains(body, words[0]) {
		s.t.Errorf("/readyz answers %d: %s", status, body)
	}
	if _, body := page.get("/"); !strings.Contains(body, words[0]) {
		s.t.Errorf("nothing about %q on the page", words[0])
	}
	s.eventually("status reports it",
		func() bool { return strings.Contains(strings.Join(s.status(0).Sitesync.Held, "\n"), words[0]) })
	if _, stdout, _ := s.exits("explain", "Test", rep.ID.Hex()); !strings.Contains(stdout, "held: "+words[0]) &&
		!strings.Contains(stdout, words[0]) {
		s.t.Errorf("explain says\n%s", stdout)
	}
	for i := range rep.Files {
		if rec := s.record(rep, i); rec.Lookup("tries").Type != 0 || rec.Lookup("created_dt").Type != 0 {
			s.t.Errorf("the record is %v", rec)
		}
	}
}

// checkResumed checks that a file that was held is synced, and that it cost no try.
func (s *testStudio) checkResumed(d *process.Process, rep *studio.Representation) {
	s.t.Helper()
	s.log(d, process.Message("uploads go on"))
	s.wait(rep)
	if n := len(d.Lines(process.Message("uploads are held"))); n != 1 {
		s.t.Errorf("logged %d times", n)
	}
	s.checkNoTries(d)
}

// A file that is larger than the room left waits alone, whether Drive reports the quota or not.
func TestLargerThanTheRoom(t *testing.T) {
	for name, mine := range map[string]bool{"My Drive": true, "shared drive": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			if mine {
				user := s.drive.AddUser("artist@studio.example")
				s.drive.Mkdir(user, "projects")
				s.remoteRoot("/My Drive/projects", user)
			}
			room := func(bytes int64) {
				s.drive.UpdateSettings(func(set *drive.Settings) {
					set.UserStorage, set.SharedDriveStorage = bytes, bytes
				})
			}
			room(1 << 20)
			p := s.project("Test")
			d := s.start(serve...)
			large := s.publish(p, studio.Publish{Size: 2 << 20})
			s.log(d, process.Message("uploads are held"))
			s.wait(s.publish(p, studio.Publish{Size: 1000, Version: 2, Name: "exr", Frames: 50}))
			s.checkHeld(d, large, "large_files", "files of ")
			room(8 << 20)
			s.checkResumed(d, large)
		})
	}
}

// A shared drive, or a folder, that takes no more items still takes what is there already.
func TestNoMoreItems(t *testing.T) {
	for name, limit := range map[string]func(set *drive.Settings, items int){
		"drive":  func(set *drive.Settings, items int) { set.SharedDriveItems = items },
		"folder": func(set *drive.Settings, items int) { set.FolderChildren = items },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			p := s.project("Test")
			d := s.start(serve...)
			sequence := studio.Publish{Size: 1000, Name: "exr", Frames: 30}
			s.wait(s.publish(p, sequence))
			s.drive.UpdateSettings(func(set *drive.Settings) { limit(set, 1) })
			fresh := s.publish(p, studio.Publish{Size: 1000, Version: 2, Name: "exr", Frames: 3})
			s.log(d, process.Message("uploads are held"))
			sequence.Seed = 7
			s.wait(s.publish(p, sequence))
			s.checkHeld(d, fresh, "new_files", "new files and folders in /SHOW/projects")
			s.drive.UpdateSettings(func(set *drive.Settings) { limit(set, 0) })
			s.checkResumed(d, fresh)
			s.checkNoDuplicates()
		})
	}
}

// A missing root on Drive holds what goes there, and nothing else.
func TestOneRemoteRootAway(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.twoStorages()
	p := s.project("Test")
	s.drive.Trash(s.drive.Find(s.show, "renders")[0].ID)
	d := s.start(serve...)
	rep := s.publish(p, studio.Publish{Size: 100, Root: "render"})
	s.log(d, process.Message("uploads are held"))
	s.wait(s.publish(p, studio.Publish{Size: 100, Root: "work", Version: 2, Name: "exr", Frames: 20}))
	s.checkHeld(d, rep, "remote_root", "remote root /SHOW/renders", "no folder /SHOW/renders")
	check(t, d.Stop())
	status, _, stderr := s.exits("run", "--once")
	if status != 1 || !strings.Contains(stderr, "1 held file") {
		t.Errorf("--once ends with status %d:\n%s", status, stderr)
	}
	s.drive.Mkdir(s.show, "renders")
	s.start(serve...)
	s.wait(rep)
	if n, err := p.Collection().CountDocuments(s.ctx,
		bson.D{{Key: "files.sites.tries", Value: bson.D{{Key: "$exists", Value: true}}}}); n != 0 || err != nil {
		t.Errorf("tries in %d documents, %v", n, err)
	}
}
