package integration_test

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/studio"
)

// What a record says counts at once: a file that is paused waits until it is not, and one that comes to the active site
// later is uploaded then. No poll helps.
func TestRecordsThatChange(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	s.page(s.start(append(serve, "--no-poll")...)).shows(map[string]float64{`sitesync_stream_state{state="open"}`: 1})
	update := func(rep *studio.Representation, operator, field string, value any) {
		t.Helper()
		check(t, p.Collection().FindOneAndUpdate(t.Context(), bson.D{{Key: "_id", Value: rep.ID}},
			bson.D{{Key: operator, Value: bson.D{{Key: field, Value: value}}}}).Err())
	}

	skeleton := bson.D{{Key: "name", Value: "gdrive"}, {Key: "paused", Value: true}}
	paused := s.publish(p, studio.Publish{Size: 100, NoRemote: true})
	update(paused, "$push", "files.0.sites", skeleton)
	absent := s.publish(p, studio.Publish{Size: 100, Version: 2, NoActiveDate: true})
	again := s.publish(p, studio.Publish{Size: 100, Version: 3})
	s.synced(again)
	update(again, "$set", "files.0.sites.1", skeleton)
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 4}))
	if code, out, _ := s.exits("explain", "Test", paused.ID.Hex()); code != 1 ||
		!strings.Contains(out, "its record has paused, ") {
		t.Errorf("explain: status %d\n%s", code, out)
	}
	s.says(nil, "Test: 2 files have paused set in the record", "Test: 1 file is not on site studio")
	if got := s.status(0).Total; got.Paused.Files != 2 || got.Synced.Files != 1 || got.Pending.Files != 0 {
		t.Errorf("status: %+v", got)
	}

	for _, rep := range []*studio.Representation{paused, again} {
		update(rep, "$unset", "files.0.sites.1.paused", "")
		s.synced(rep)
	}
	update(absent, "$set", "files.0.sites.0.created_dt", time.Now())
	s.synced(absent)
}

// Without polls, what a pause has left alone is found when it ends.
func TestPauseWithoutPolls(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	page := s.page(s.start(append(serve, "--no-poll")...))
	page.shows(map[string]float64{`sitesync_stream_state{state="open"}`: 1})
	s.pause(page, "Test")
	left := s.publish(p, studio.Publish{Size: 100})
	s.synced(s.publish(s.project("Other"), studio.Publish{Size: 100}))
	if code, out, stderr := s.exits("resume", "Test"); code != 0 {
		t.Fatalf("status %d\n%s%s", code, out, stderr)
	}
	s.synced(left)
}
