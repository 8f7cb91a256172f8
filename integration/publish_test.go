package integration_test

import (
	"fmt"
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

func TestPublishThroughTheStream(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	d := s.start(streamOnly...)
	rep := s.publish(p, studio.Publish{Size: 4822})
	s.synced(rep)

	line := s.log(d, process.Message("synced"))
	if line.Level != "info" || line.Text("project") != "Test" || line.Text("path") != rep.Files[0].Path ||
		line.Float("bytes") != 4822 {
		t.Errorf("the log says %v", line.Fields)
	}
	if line.Float("seconds") <= 0 || line.Float("reaction") < line.Float("seconds") {
		t.Errorf("seconds and reaction in the log are %v and %v", line.Fields["seconds"], line.Fields["reaction"])
	}
}

func TestPublishFoundByThePoll(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	before := s.publish(p, studio.Publish{Size: 100})
	s.start(pollOnly...)
	s.synced(before)
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 2}))
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 3, DictSites: true}))
}

// What was published before the start is not in the stream.
func TestPublishBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	s.presets.LoopDelay = "3600"
	s.start()
	s.synced(rep)
}

func TestProjectCreatedWhileRunning(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"stream": streamOnly, "poll": pollOnly} {
		t.Run(name, func(t *testing.T) {
			s := newTestStudio(t)
			s.synced(func() *studio.Representation {
				s.start(args...)
				return s.publish(s.project("Später angelegt"), studio.Publish{Size: 100})
			}())
		})
	}
}

// Both forms that sites have had.
func eachForm(t *testing.T, test func(t *testing.T, s *testStudio, pub studio.Publish)) {
	for name, dict := range map[string]bool{"list": false, "dict": true} {
		t.Run(name, func(t *testing.T) { test(t, newTestStudio(t), studio.Publish{Size: 100, DictSites: dict}) })
	}
}

func TestTriesDeleted(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		rep := s.publish(s.project("Test"), pub)
		check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "tries", Value: int32(3)}, {Key: "error", Value: "no"},
			{Key: "last_failed_dt", Value: time.Now()}}))
		s.start(streamOnly...)
		check(t, rep.Retry(s.ctx, "gdrive"))
		s.synced(rep)
		for _, field := range []string{"tries", "error", "last_failed_dt"} {
			if v := s.record(rep, 0).Lookup(field); v.Type != 0 {
				t.Errorf("%s is still there: %v", field, v)
			}
		}
	})
}

func TestCreatedDateRemoved(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		s.start(streamOnly...)
		rep := s.publish(s.project("Test"), pub)
		s.synced(rep)
		id, first := s.record(rep, 0).Lookup("id").StringValue(), s.record(rep, 0).Lookup("created_dt").Time()
		check(t, rep.Resync(s.ctx, "gdrive"))
		s.synced(rep)
		again := s.record(rep, 0)
		if again.Lookup("id").StringValue() != id {
			t.Errorf("the file has another id: %v, was %s", again, id)
		}
		if !again.Lookup("created_dt").Time().After(first) {
			t.Errorf("created_dt is %v, was %v", again.Lookup("created_dt").Time(), first)
		}
	})
}

func TestSkeletonPushed(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		pub.NoRemote, pub.Frames = true, 3
		rep := s.publish(s.project("Test"), pub)
		s.start(streamOnly...)
		check(t, rep.AddSite(s.ctx, "gdrive"))
		s.synced(rep)
	})
}

// A file that was never synced from the active site is left alone until it is there.
func TestActiveSiteWithoutDate(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	s.start(streamOnly...)
	waiting := s.publish(p, studio.Publish{Size: 100, NoActiveDate: true})
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 2}))
	if v := s.record(waiting, 0).Lookup("created_dt"); v.Type != 0 {
		t.Errorf("synced from a site that does not have it: %v", v)
	}
	if len(s.drive.Find(s.show, "projects/"+waiting.Files[0].Rel)) != 0 {
		t.Error("it was uploaded")
	}
}

func TestRecordIsWrittenAsPypeDoes(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		s.start(streamOnly...)
		before := time.Now().Add(-time.Second)
		pub.OtherSites = []string{"sftp"}
		rep := s.publish(s.project("Test"), pub)
		s.synced(rep)
		record := s.record(rep, 0)
		if at, ok := record.Lookup("created_dt").TimeOK(); !ok || at.Before(before) ||
			at.After(time.Now().Add(time.Second)) {
			t.Errorf("created_dt is %v, want the date in UTC", record.Lookup("created_dt"))
		}
		if id, ok := record.Lookup("id").StringValueOK(); !ok || id == "" {
			t.Errorf("id is %v, want Drive's id of the file", record.Lookup("id"))
		}
		allowed := map[string]bool{"name": !pub.DictSites, "created_dt": true, "id": true}
		for _, e := range must(record.Elements())(t) {
			if !allowed[e.Key()] {
				t.Errorf("the record has %s", e)
			}
		}
		if other := must(rep.Record(s.ctx, 0, "sftp"))(t); other.Lookup("created_dt").Type != 0 {
			t.Errorf("another site's record was touched: %v", other)
		}
	})
}

func TestFailingFileStopsAtRetryCount(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt = 4
	p := s.project("Test")
	d := s.start(append(streamOnly, "--retry-delay", "100ms")...)
	rep := s.publish(p, studio.Publish{Size: 100, Hold: true})
	f := rep.Files[0]
	check(t, os.Mkdir(f.Local, 0o755)) // a folder in place of the file

	// failures are the times at which a representation has failed, as the log has them.
	failures := func(rep *studio.Representation) (at []time.Time) {
		for _, l := range d.Lines(func(l process.Line) bool {
			return strings.HasPrefix(l.Message, "upload failed") && l.Text("representation") == rep.ID.Hex()
		}) {
			at = append(at, must(time.Parse(time.RFC3339Nano, l.Text("ts")))(t))
			if got := int(l.Float("tries")); got != len(at) {
				t.Errorf("try %d is logged as try %d", len(at), got)
			}
		}
		return at
	}
	s.eventually("four tries", func() bool { return len(failures(rep)) == 4 })
	at := failures(rep)
	for i := 1; i < len(at); i++ {
		if least := 100 * time.Millisecond << (i - 1); at[i].Sub(at[i-1]) < least {
			t.Errorf("try %d came %s after the one before, want at least %s", i+1, at[i].Sub(at[i-1]), least)
		}
	}
	if line := s.log(d, process.Message("failed for good")); line.Level != "error" || line.Float("tries") != 4 {
		t.Errorf("the log says %v", line.Fields)
	}
	s.eventually("the fourth try is recorded", func() bool {
		tries, ok := s.record(rep, 0).Lookup("tries").Int32OK()
		return ok && tries == 4
	})
	record := s.record(rep, 0)
	if text := record.Lookup("error").StringValue(); !strings.Contains(text, "not a regular file but a folder") {
		t.Errorf("error is %q", text)
	}
	if _, ok := record.Lookup("last_failed_dt").TimeOK(); !ok {
		t.Errorf("last_failed_dt is %v", record.Lookup("last_failed_dt"))
	}

	// It is left alone for longer than a fifth try would have taken to come: that is how long two others take to
	// fail as often.
	for version := 2; version <= 3; version++ {
		other := s.publish(p, studio.Publish{Size: 100, Hold: true, Version: version})
		check(t, os.Mkdir(other.Files[0].Local, 0o755))
		s.eventually("the other's four tries", func() bool { return len(failures(other)) == 4 })
	}
	if n := len(failures(rep)); n != 4 {
		t.Errorf("%d tries", n)
	}

	// Repaired, it is synced as soon as tries is deleted.
	check(t, os.Remove(f.Local))
	check(t, rep.Finish())
	check(t, rep.Retry(s.ctx, "gdrive"))
	s.synced(rep)
}

// IntegrateNew inserts the record before it renames the files.
func TestLateRename(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	d := s.start(append(streamOnly, "--settle", "1m")...)
	p := s.project("Test")
	late := s.publish(p, studio.Publish{Size: 100, Frames: 5, Hold: true})
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 2})) // the late one holds nothing up
	check(t, late.Finish())
	s.synced(late)
	if failed := d.Lines(process.Message("failed")); len(failed) > 0 {
		t.Errorf("a try was spent on waiting: %v", failed)
	}
}

// A file that never comes costs its tries once it had time to settle.
func TestRenameThatNeverComes(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(append(streamOnly, "--settle", "200ms", "--retry-delay", "50ms")...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100, Frames: 3, RenameFails: true})
	s.eventually("three tries", func() bool {
		return s.record(rep, 2).Lookup("tries").Type != 0 && s.record(rep, 2).Lookup("tries").AsInt64() == 3
	})
	if text := s.record(rep, 2).Lookup("error").StringValue(); !strings.Contains(text, "is not there") {
		t.Errorf("error is %q", text)
	}
	for i := range 2 {
		if s.record(rep, i).Lookup("created_dt").Type != bson.TypeDateTime {
			t.Errorf("file %d is not synced: %v", i, s.record(rep, i))
		}
	}
}

func TestSequence(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 1000, Name: "exr", Frames: 300}))
	s.checkNoDuplicates()
	if n := s.creates(); n != 300 {
		t.Errorf("%d uploads for 300 frames", n)
	}
}

func TestSequenceCostsFewCalls(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	const frames = 100
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 1000, Name: "exr", Frames: frames}))
	perFrame := float64(s.drive.TotalCalls()) / frames
	t.Logf("%.2f API calls a frame: %v", perFrame, s.drive.Calls())
	if perFrame > 1.2 {
		t.Errorf("%.2f API calls a frame, want at most 1.2", perFrame)
	}
}

func TestSeveralRoots(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	roots := map[string]string{"work": t.TempDir(), "render": t.TempDir()}
	s.studio = studio.New(s.db, studio.Options{Roots: roots})
	s.drive.Mkdir(s.show, "renders")
	s.remoteRoot(map[string]string{"work": "/SHOW/projects", "render": "/SHOW/renders"}, s.account)
	s.start(streamOnly...)
	p := s.project("Test")
	work := s.publish(p, studio.Publish{Size: 100, Root: "work"})
	render := s.publish(p, studio.Publish{Size: 100, Root: "render", Name: "exr", Frames: 3})
	s.synced(work)
	ctx := s.ctx
	must(s.studio.WaitSynced(ctx, render))(t)
	s.onDrive(s.show, "renders", render)
}

// In a container the storage is mounted elsewhere than artists have it.
func TestLocalRoot(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.LocalRoot = s.root
	s.start(streamOnly...)
	p := s.project("Test")
	s.synced(s.publish(p, studio.Publish{Size: 100, ContextRoot: "P:/projects"}))
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 2, ContextRoot: `P:\projects`, Backslashes: true}))
}

func TestMyDriveOfAUser(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	user := s.drive.AddUser("td@studio.example")
	s.drive.Mkdir(user, "sync/projects")
	s.remoteRoot("/My Drive/sync/projects", user)
	s.start(streamOnly...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	must(s.studio.WaitSynced(s.ctx, rep))(t)
	s.onDrive(user, "sync/projects", rep)
}

// A folder that a person has shared with the service account is found below /My Drive.
func TestFolderSharedWithTheAccount(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	user := s.drive.AddUser("td@studio.example")
	folder := s.drive.Mkdir(user, "for sitesync")
	s.drive.Share(folder, s.account, drive.Writer)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.ServiceAccountStorage = 1 << 30 })
	s.remoteRoot("/My Drive/for sitesync", s.account)
	s.start(streamOnly...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	must(s.studio.WaitSynced(s.ctx, rep))(t)
	s.onDrive(user, "for sitesync", rep)
}

// With domain-wide delegation the service account acts as a person, and uses the person's storage.
func TestSubject(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	user := s.drive.AddUser("td@studio.example")
	s.drive.Delegate(s.account, user)
	s.drive.Mkdir(user, "projects")
	s.remoteRoot("/My Drive/projects", s.account)
	g := s.presets.Sites["gdrive"]
	g.Subject = user.Email
	s.presets.Sites["gdrive"] = g
	s.start(streamOnly...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
	must(s.studio.WaitSynced(s.ctx, rep))(t)
	s.onDrive(user, "projects", rep)
}

func TestOverwriteKeepsTheID(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	p := s.project("Test")
	first := s.publish(p, studio.Publish{Size: 100, Seed: 1})
	s.synced(first)
	id := s.record(first, 0).Lookup("id").StringValue()
	second := s.publish(p, studio.Publish{Size: 200, Seed: 2})
	s.synced(second)
	if got := s.record(second, 0).Lookup("id").StringValue(); got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
}

func TestTwoRepresentationsWithOnePath(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	p := s.project("Test")
	reps := must(p.PublishAll(s.ctx,
		studio.Publish{Asset: "Cylinder", Subset: "lookMain", Name: "ma", Size: 100,
			Resources: []studio.Resource{{Name: "skin.tif", Size: 5000}}},
		studio.Publish{Asset: "Cylinder", Subset: "lookMain", Name: "json", Size: 50,
			Resources: []studio.Resource{{Name: "skin.tif", Size: 5000}}},
	))(t)
	for _, rep := range reps {
		s.synced(rep)
	}
	s.checkNoDuplicates()
}

func TestOddNames(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	p := s.project("Test")
	for i, name := range []string{"it's.ma", `back\slash.ma`, "100%.ma", "größe 日本 🎬.ma", " space .ma", "{braces}.ma",
		"a' or name != 'b.ma"} {
		s.synced(s.publish(p, studio.Publish{Size: 100, Version: i + 1, File: name}))
	}
}

func TestEmptyFile(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 0}))
}

// Above 5 MB a resumable session is used.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start(streamOnly...)
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 30 << 20}))
}

func TestPoisonedDocumentStopsNothingElse(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	var bad []*studio.Representation
	for i, change := range []func(bson.D) bson.D{
		func(doc bson.D) bson.D { return with(doc, "files", "none") },
		func(doc bson.D) bson.D {
			return with(doc, "files",
				bson.A{nil, 7, bson.D{{Key: "sites", Value: bson.A{bson.D{{Key: "name", Value: "gdrive"}}}}}})
		},
		func(doc bson.D) bson.D { return with(doc, "context", bson.A{}) },
	} {
		bad = append(bad, s.publish(p, studio.Publish{Size: 100, Version: 10 + i, Change: change, RecordOnly: true}))
	}
	d := s.start("--settle", "50ms")
	s.synced(s.publish(p, studio.Publish{Size: 100}))
	s.log(d, func(l process.Line) bool {
		return strings.Contains(l.Message, "invalid document") && l.Text("representation") == bad[1].ID.Hex() &&
			l.Text("project") == "Test"
	})
}

// with replaces a field of a document.
func with(doc bson.D, key string, value any) bson.D {
	for i := range doc {
		if doc[i].Key == key {
			doc[i].Value = value
			return doc
		}
	}
	return append(doc, bson.E{Key: key, Value: value})
}

// Every collection of the avalon database is a project, so sitesync creates none.
func TestNoCollectionIsCreated(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start()
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 100}))
	check(t, s.project("Gone").Collection().Drop(s.ctx))
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 100, Version: 2}))
	names := must(s.db.ListCollectionNames(s.ctx, bson.D{}))(t)
	if len(names) != 1 || names[0] != "Test" {
		t.Errorf("the database has the collections %v", names)
	}
}

// An unmounted storage is no file's fault.
func TestStorageNotMounted(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	rep := s.publish(p, studio.Publish{Size: 100})
	away := filepath.Join(t.TempDir(), "away")
	check(t, os.Rename(s.root, away))
	check(t, os.Mkdir(s.root, 0o755))
	d := s.start()
	held := s.log(d, process.Message("uploads are held"))
	if held.Text("held") != s.root || !strings.Contains(held.Text("error"), "not mounted") {
		t.Errorf("the log says %v", held.Fields)
	}
	check(t, os.Remove(s.root))
	check(t, os.Rename(away, s.root))
	s.synced(rep)
	if n := len(d.Lines(process.Message("uploads are held"))); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s.checkNoTries(d)
}

func TestManyPublishesAtOnce(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start()
	p := s.project("Test")
	var pubs []studio.Publish
	for i := range 200 {
		pubs = append(pubs, studio.Publish{Asset: fmt.Sprintf("Asset%03d", i%20), Subset: "modelMain",
			Version: 1 + i/20, Name: "ma", Size: 500})
	}
	for _, rep := range must(p.PublishAll(s.ctx, pubs...))(t) {
		s.synced(rep)
	}
	s.checkNoDuplicates()
	if n := s.creates(); n != 200 {
		t.Errorf("%d uploads for 200 files", n)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
