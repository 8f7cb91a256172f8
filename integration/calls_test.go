package integration_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/studio"
)

// calls has a sitesync with empty caches sync a publish of small files, and checks how many calls to Drive it takes
// for each: all of them are counted, those at the start and for tokens, ids, folders and listings too. Bounds are well
// above what is expected, as the share of what is not done for each file falls with the number of files.
func (s *testStudio) calls(what string, most float64, p *studio.Project, pubs ...studio.Publish) {
	s.t.Helper()
	files := 0
	for i := range pubs {
		pubs[i].Asset, pubs[i].Family, pubs[i].Subset = "Cylinder", "render", "renderMain"
		files += max(pubs[i].Frames, 1)
	}
	s.drive.ResetCalls()
	d := s.start()
	reps := must(p.PublishAll(s.ctx, pubs...))(s.t)
	for _, rep := range reps {
		s.wait(rep)
	}
	check(s.t, d.Stop())
	for _, rep := range reps {
		for _, f := range rep.Files {
			sum := must(f.Sum())(s.t)
			if found := s.drive.Find(s.show, path.Join("projects", f.Rel)); len(found) != 1 || found[0].MD5 != sum {
				s.t.Fatalf("%s is not on Drive once, with the MD5 %s: %v", f.Rel, sum, found)
			}
		}
	}
	calls := 0
	for n := range maps.Values(s.drive.Calls()) {
		calls += n
	}
	each := float64(calls) / float64(files)
	s.t.Logf("%s: %.3f calls a file: %v", what, each, s.drive.Calls())
	if each > most {
		s.t.Errorf("%s took %.3f calls a file, more than %v: %v", what, each, most, s.drive.Calls())
	}
}

// A sequence of 1,000 frames, at first into a version whose folder and some above it are new, then over that again.
func TestCallsOfASequence(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	// The files are complete before the document is inserted: copying over a thousand may take longer than these
	// presets let sitesync wait for newer ones.
	frames := studio.Publish{Name: "exr", Frames: 1000, Size: 1000, NoTmp: true}
	s.calls("a new sequence", 1.05, p, frames)
	frames.Size = 1100
	s.calls("one over it, of another size", 1.1, p, frames)
	frames.Seed = 1
	s.calls("one over it, of the same size", 1.1, p, frames)
	s.calls("the same once more", 1.1, p, frames)
	if n := s.drive.Calls()["files.update.multipart"]; n != 0 {
		t.Errorf("%d files were sent that were there", n)
	}
}

// 1,000 frames in ten versions. Then as many of another format, into the folders that are there now.
func TestCallsOfVersions(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	versions := func(name string) (pubs []studio.Publish) {
		for v := range 10 {
			pubs = append(pubs, studio.Publish{Version: v + 1, Name: name, Frames: 100, Size: 1000})
		}
		return pubs
	}
	s.calls("ten new versions", 1.05, p, versions("exr")...)
	s.calls("into ten versions", 1.1, p, versions("png")...)
}

// A single file in a version of its own takes two calls, as the version's folder takes one to be created.
func TestCallsOfSingleFiles(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	var pubs []studio.Publish
	for v := range 200 {
		pubs = append(pubs, studio.Publish{Version: v + 1, Name: "ma", Size: 1000})
	}
	s.calls(fmt.Sprintf("%d versions of one file", len(pubs)), 2.15, s.project("Test"), pubs...)
}

// A sequence of 1,000 frames down: the content of each, and one listing for all else.
func TestCallsOfASequenceDown(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	up := s.start()
	rep := must(p.Publish(s.ctx, studio.Publish{Asset: "Cylinder", Family: "render", Subset: "renderMain", Name: "exr",
		Frames: 1000, Size: 1000, NoTmp: true}))(t)
	s.wait(rep)
	check(t, up.Stop())
	sums := map[string]string{}
	for _, f := range rep.Files {
		sums[f.Local] = must(f.Sum())(t)
		check(t, os.Remove(f.Local))
	}
	records := s.db.Collection("Test")
	_, err := records.UpdateOne(s.ctx, bson.M{"_id": rep.ID},
		bson.M{"$unset": bson.M{"files.$[].sites.$[here].created_dt": ""}},
		options.UpdateOne().SetArrayFilters([]any{bson.M{"here.name": "studio"}}))
	check(t, err)

	s.presets.LocalRoot = s.root
	s.drive.ResetCalls()
	down := s.start("--direction", "down")
	missing := bson.M{"_id": rep.ID, "files.sites": bson.M{"$elemMatch": bson.M{"name": "studio",
		"created_dt": bson.M{"$exists": false}}}}
	for deadline := time.Now().Add(waitTimeout); must(records.CountDocuments(s.ctx, missing))(t) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("not all are here within %v", waitTimeout)
		}
		time.Sleep(20 * time.Millisecond)
	}
	check(t, down.Stop())
	for _, f := range rep.Files {
		if got := must(f.Sum())(t); got != sums[f.Local] {
			t.Fatalf("%s has the MD5 %s, want %s", f.Local, got, sums[f.Local])
		}
	}
	calls := 0
	for n := range maps.Values(s.drive.Calls()) {
		calls += n
	}
	each := float64(calls) / float64(len(rep.Files))
	t.Logf("%.3f calls a file: %v", each, s.drive.Calls())
	if each > 1.05 {
		t.Errorf("%.3f calls a file: %v", each, s.drive.Calls())
	}
}
