package integration_test

import (
	"fmt"
	"maps"
	"path"
	"testing"

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
