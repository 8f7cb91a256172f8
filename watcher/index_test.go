package watcher

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/zap"

	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

func TestIndex(t *testing.T) {
	f := newFixture(t)
	p := f.project(t, "A")
	f.project(t, "B")
	indexes := func() int {
		specs, err := p.Collection().Indexes().ListSpecifications(t.Context())
		must(t, err)
		return len(specs)
	}
	before := indexes()

	off := f.fail(t, mongod.AlwaysOn, "", code(badValue), "createIndexes")
	for range 3 {
		f.index.Once(t.Context())
	}
	if n := f.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("told %d times that there is no index, want once", n)
	}
	off()
	f.index.Once(t.Context())
	if n := indexes(); n != before+1 {
		t.Errorf("%d indexes once they can be made, want %d", n, before+1)
	}

	must(t, p.Collection().Drop(t.Context()))
	f.index.Once(t.Context())
	must(t, f.db.CreateCollection(t.Context(), "A"))
	f.index.Once(t.Context())
	if n := indexes(); n != before+1 {
		t.Errorf("%d indexes in a project that was created again, want %d", n, before+1)
	}
}

// MongoDB builds an index only when every member is there to vote for it. The poll does not wait for that.
func TestPollDoesNotWaitForTheIndex(t *testing.T) {
	t.Parallel()
	f := newOwnFixture(t, mongod.Options{Members: 3})
	r := publish(t, f.project(t, "Test"), studio.Publish{})[0]
	primary, err := f.set.Primary(t.Context())
	must(t, err)
	for _, m := range f.set.Members() {
		if m != primary {
			must(t, m.Kill())
			break
		}
	}
	start(t, f.index.Run)
	eventually(t, "the index is being built", func() bool {
		var ops struct{ Inprog []any }
		must(t, primary.Command(t.Context(), bson.D{{Key: "currentOp", Value: 1},
			{Key: "command.createIndexes", Value: bson.D{{Key: "$exists", Value: true}}}}, &ops))
		return len(ops.Inprog) > 0
	})
	start(t, f.poll.Run)
	f.until(t, Backlog, keyOf(r))
}
