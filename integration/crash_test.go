//go:build unix

package integration_test

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// lag is how far listings lag behind what was created: longer than any of these tests.
const lag = 10 * time.Minute

// Killed when Drive has done the work but the answer has not come: no listing has the file, and it is
// not created again.
func TestKilledBeforeTheAnswer(t *testing.T) {
	for _, kind := range []string{"files.create", "files.create.multipart", "upload.put"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.drive.UpdateSettings(func(set *drive.Settings) { set.ListingLag = lag })
			hang := s.drive.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectHang, When: drive.After})
			d := s.start()
			size := int64(4822)
			if kind == "upload.put" {
				size = 6 << 20
			}
			rep := s.publish(s.project("Test"), studio.Publish{Size: size})
			s.eventually("the work is done", func() bool { return hang.Hits() > 0 })
			d.Kill()
			hang.Remove()
			s.start()
			s.synced(rep)
			s.checkNoDuplicates()
		})
	}
}

// Killed again and again in the middle of a sequence, with answers that get lost: each frame is there once.
func TestKilledInASequence(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.ListingLag = lag; set.Latency = 20 * time.Millisecond })
	s.drive.AddFault(drive.Fault{Kind: "files.create.*", Probability: 0.2, Effect: drive.EffectReset,
		When: drive.After})
	d := s.start()
	rep := s.publish(s.project("Test"), studio.Publish{Size: 1000, Name: "exr", Frames: 200})
	for kills := range 4 {
		s.eventually("some frames are created", func() bool { return s.creates() > 40*(kills+1) })
		d.Kill()
		d = s.start()
	}
	s.synced(rep)
	s.checkNoDuplicates()
	// One for each folder and file. Later processes find them.
	if n := must(s.stateDB().Collection("claims").CountDocuments(s.ctx, bson.D{}))(t); n > 212 {
		t.Errorf("there are %d claims", n)
	}
}

// An overwrite after a restart, when the listing does not show the file yet, keeps its id.
func TestOverwriteAfterRestart(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) { set.ListingLag = lag })
	d := s.start()
	rep := s.publish(s.project("Test"), studio.Publish{Size: 1000})
	s.synced(rep)
	before := s.record(rep, 0).Lookup("id").StringValue()
	check(t, d.Stop())
	s.start()
	again := s.publish(s.project("Test"), studio.Publish{Size: 2000, Seed: 7})
	s.synced(again)
	if after := s.record(again, 0).Lookup("id").StringValue(); after != before {
		t.Errorf("the id was %s and is %s", before, after)
	}
	s.checkNoDuplicates()
}

// A large file goes on where it was when sitesync was killed, if it is still the same.
func TestLargeFileGoesOnAfterKill(t *testing.T) {
	const size = 60 << 20
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, s *testStudio, rep *studio.Representation)
		sessions  int   // that were begun
		most      int64 // bytes that were sent
	}{
		"unchanged": {func(*testing.T, *testStudio, *studio.Representation) {}, 1, size + 4<<20},
		"another time": {func(t *testing.T, s *testStudio, rep *studio.Representation) {
			check(t, os.Chtimes(rep.Files[0].Local, time.Time{}, time.Now().Add(-time.Hour)))
		}, 2, 2 * size},
		"session expired": {func(t *testing.T, s *testStudio, rep *studio.Representation) {
			s.drive.AddFault(drive.Fault{Kind: "upload.status", Count: 1, Effect: drive.EffectStatus, Status: 404})
		}, 2, 2 * size},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 20 << 20; set.ListingLag = lag })
			d := s.start()
			rep := s.publish(s.project("Test"), studio.Publish{Size: size})
			s.eventually("half of it is sent", func() bool { return s.drive.Received() > size/2 })
			d.Kill()
			test.meanwhile(t, s, rep)
			s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
			s.start()
			s.synced(rep)
			s.checkNoDuplicates()
			if n := s.drive.Calls()["files.create.resumable"]; n != test.sessions {
				t.Errorf("%d sessions", n)
			}
			if got := s.drive.Received(); got > test.most {
				t.Errorf("%d bytes were sent of %d", got, size)
			}
			if n := must(s.stateDB().Collection("sessions").CountDocuments(s.ctx, bson.D{}))(t); n != 0 {
				t.Errorf("%d sessions are left in the database", n)
			}
		})
	}
}

// The file was complete when sitesync was killed: it is compared with the source, and not sent again.
func TestKilledAfterTheLastByte(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	hang := s.drive.AddFault(drive.Fault{Kind: "upload.put", Effect: drive.EffectHang, When: drive.After})
	d := s.start()
	rep := s.publish(s.project("Test"), studio.Publish{Size: 20 << 20})
	s.eventually("it is complete", func() bool { return hang.Hits() > 0 })
	d.Kill()
	hang.Remove()
	s.start()
	s.synced(rep)
	if got := s.drive.Received(); got > 21<<20 {
		t.Errorf("%d bytes were sent", got)
	}
}

// Of two sitesyncs one works. The other says so, and takes over when the first has ended.
func TestTakeover(t *testing.T) {
	for name, end := range map[string]struct {
		end    func(t *testing.T, d *process.Process)
		within time.Duration
	}{
		"stopped": {func(t *testing.T, d *process.Process) { check(t, d.Stop()) }, 3 * time.Second},
		"killed":  {func(t *testing.T, d *process.Process) { d.Kill() }, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			first := s.start()
			second := s.launch(serve...)
			s.log(second, process.Message("standing by"))
			page := s.page(second)
			says := func(path, what string) func() bool {
				return func() bool {
					status, body := page.get(path)
					return status == http.StatusOK && strings.Contains(body, what)
				}
			}
			s.eventually("its health page says so", says("/healthz", `"status":"standby"`))
			s.eventually("it is ready", says("/readyz", ""))
			p := s.project("Test")
			s.synced(s.publish(p, studio.Publish{Size: 1000}))
			if n := len(second.Lines(process.Message("synced"))); n != 0 {
				t.Errorf("the one that stands by has synced %d", n)
			}
			end.end(t, first)
			ended := time.Now()
			s.log(second, process.Message("change stream open"))
			s.eventually("its health page says that it works", says("/healthz", `"status":"ok"`))
			rep := s.publish(p, studio.Publish{Size: 1000, Version: 2})
			s.synced(rep)
			if took := time.Since(ended); took > end.within {
				t.Errorf("the takeover took %v", took)
			}
			s.checkNoDuplicates()
		})
	}
}

// One that is paused for longer than its lease does no harm when it goes on.
func TestPausedHolder(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.drive.UpdateSettings(func(set *drive.Settings) {
		set.ListingLag = lag
		set.Latency = 50 * time.Millisecond
		set.UploadBandwidth = 8 << 20
	})
	first := s.start()
	second := s.launch()
	s.log(second, process.Message("standing by"))
	p := s.project("Test")
	frames := s.publish(p, studio.Publish{Size: 1000, Name: "exr", Frames: 300})
	large := s.publish(p, studio.Publish{Size: 30 << 20, Name: "abc"})
	s.eventually("it is at work", func() bool { return s.creates() > 30 && s.drive.Received() > 4<<20 })
	check(t, first.Signal(syscall.SIGSTOP))
	s.log(second, process.Message("change stream open"))
	check(t, first.Signal(syscall.SIGCONT))
	s.log(first, process.Message("standing by"))
	s.synced(frames)
	s.synced(large)
	s.checkNoDuplicates()
	// And back.
	check(t, second.Stop())
	s.synced(s.publish(p, studio.Publish{Size: 1000, Version: 2}))
	s.checkNoDuplicates()
}

// Two that are started at the same moment, on a database that knows neither.
func TestBothAtOnce(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	a, b := s.launch(), s.launch()
	p := s.project("Test")
	for v := range 5 {
		s.synced(s.publish(p, studio.Publish{Size: 1000, Version: v + 1}))
	}
	if len(a.Lines(process.Message("synced"))) > 0 == (len(b.Lines(process.Message("synced"))) > 0) {
		t.Error("both have worked, or none")
	}
	s.checkNoDuplicates()
}

// A second sitesync run --once does not wait for a lease that is in good hands.
func TestOnceWhileAnotherWorks(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start()
	status, _, stderr := s.exits("run", "--once")
	if status != 1 || !strings.Contains(stderr, "syncs this site already") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	if _, stdout, _ := s.exits("check"); !strings.Contains(stdout, "sitesync runs as process") {
		t.Errorf("check does not say who works:\n%s", stdout)
	}
}
