package integration_test

import (
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// uploaded is how many files Drive has been sent, finished or not.
func (s *testStudio) uploaded() int {
	calls := s.drive.Calls()
	return calls["files.create.multipart"] + calls["files.create.resumable"]
}

// A fresh publish does not wait for a backlog: only for what is being sent at that moment.
func TestFreshPublishBeforeTheBacklog(t *testing.T) {
	t.Parallel()
	const backlog, transfers = 1000, 8
	s := newTestStudio(t)
	p := s.project("Test")
	for i := range backlog / 50 { // single files would take long to publish; the lane does not know
		s.publish(p, studio.Publish{Asset: "Backlog", Name: "exr", Frames: 50, Version: i + 1, Size: 100, NoTmp: true})
	}
	s.drive.UpdateSettings(func(set *drive.Settings) { set.Latency = 50 * time.Millisecond })
	s.start()
	s.eventually("the backlog is being drained", func() bool { return s.uploaded() > 50 })
	for v := range 5 {
		rep := s.publish(p, studio.Publish{Asset: "Fresh", Size: 100, Version: v + 1, NoTmp: true})
		before := s.uploaded()
		s.synced(rep)
		// Its folder is made first, a request or two, in which the others go on: a few files each.
		if others := s.uploaded() - before; others > 10*transfers {
			t.Errorf("%d files were sent before the fresh one was synced", others)
		}
	}
	if s.uploaded() >= backlog {
		t.Error("the backlog was no longer there")
	}
}

// Single files do not wait for a sequence that was published before them.
func TestSinglesBesideASequence(t *testing.T) {
	t.Parallel()
	const frames, singles = 2000, 50
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.Latency = 20 * time.Millisecond })
	p := s.project("Test")
	s.start(streamOnly...)
	sequence := s.publish(p, studio.Publish{Asset: "Sequence", Name: "exr", Frames: frames, Size: 100, NoTmp: true})
	var reps []*studio.Representation
	for v := range singles {
		reps = append(reps, s.publish(p, studio.Publish{Asset: "Single", Size: 100, Version: v + 1, NoTmp: true}))
	}
	for _, rep := range reps {
		s.synced(rep)
	}
	if n := s.uploaded() - singles; n >= frames {
		t.Errorf("%d frames of the sequence were sent before %d single files were synced", n, singles)
	}
	s.synced(sequence)
}

// Nor for large caches that are being uploaded.
func TestSinglesBesideLargeFiles(t *testing.T) {
	t.Parallel()
	const large, size = 8, 64 << 20
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 16 << 20 })
	p := s.project("Test")
	s.start(streamOnly...)
	var caches []*studio.Representation
	for v := range large {
		caches = append(caches, s.publish(p, studio.Publish{Asset: "Cache", Name: "abc", Size: size, Sparse: true,
			Version: v + 1}))
	}
	s.eventually("all that may be are being uploaded", func() bool { return s.drive.Calls()["upload.put"] >= 6 })
	for v := range 5 {
		s.synced(s.publish(p, studio.Publish{Asset: "Single", Size: 100, Version: v + 1}))
	}
	if s.drive.Received() > large*size/2 {
		t.Error("half of the caches was sent before the single files were synced")
	}
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	for _, rep := range caches {
		s.synced(rep)
	}
}
