package integration_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/studio"
)

// operations counts what MongoDB has done in the test's database, as its profiler has written it down.
func (s *testStudio) operations(filter bson.D) int {
	s.t.Helper()
	return int(must(s.db.Collection("system.profile").CountDocuments(s.ctx, filter))(s.t))
}

// A sequence costs few updates and reads of its document, however many frames it has: each of them is as large as the
// whole sequence. And what sitesync writes does not come back to it.
func TestLongSequence(t *testing.T) {
	s := newTestStudio(t)
	const frames = 1000
	check(t, s.db.CreateCollection(s.ctx, "system.profile", options.CreateCollection().SetCapped(true).
		SetSizeInBytes(64<<20)))
	p := s.project("Test")
	s.start(streamOnly...)
	check(t, s.db.RunCommand(s.ctx, bson.D{{Key: "profile", Value: 2}}).Err())
	rep := s.publish(p, studio.Publish{Name: "exr", Frames: frames, Size: 100, NoTmp: true})
	s.synced(rep)
	check(t, s.db.RunCommand(s.ctx, bson.D{{Key: "profile", Value: 0}}).Err())

	ours := bson.E{Key: "appName", Value: "sitesync"}
	ns := bson.E{Key: "ns", Value: s.db.Name() + ".Test"}
	updates := s.operations(bson.D{ours, ns, {Key: "op", Value: "update"}})
	reads := s.operations(bson.D{ours, ns, {Key: "op", Value: "query"}})
	t.Logf("%d frames: %d updates, %d reads", frames, updates, reads)
	if updates == 0 || updates > 60 {
		t.Errorf("%d updates", updates)
	}
	if reads != 1 { // each event of our own writes would lead to another one
		t.Errorf("the document was read %d times", reads)
	}
}
