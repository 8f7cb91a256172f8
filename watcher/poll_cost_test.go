package watcher

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/studio"
)

// A poll examines what is pending, and nothing of what is synced, as MongoDB's profiler tells.
func TestPollExaminesWhatIsPending(t *testing.T) {
	t.Parallel()
	const projects, synced, pending = 20, 500, 2
	f := newFixture(t)
	var want []string
	for i := range projects {
		p := f.project(t, fmt.Sprintf("Project%02d", i))
		pubs := make([]studio.Publish, synced+pending)
		for n := range pubs {
			// All of one version, which spares the documents above them.
			pubs[n] = studio.Publish{Subset: "modelMain", Name: fmt.Sprintf("n%03d", n), Synced: n >= pending}
		}
		want = append(want, keysOf(publish(t, p, pubs...)[:pending])...)
	}
	f.index.Once(t.Context())

	must(t, f.db.CreateCollection(t.Context(), "system.profile",
		options.CreateCollection().SetCapped(true).SetSizeInBytes(16<<20)))
	profile := func(level int) {
		t.Helper()
		must(t, f.db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err())
	}
	profile(2)
	must(t, f.poll.Once(t.Context()))
	profile(0)

	var got []string
	for f.queue.Len(Backlog) > 0 {
		got = append(got, f.next(t, Backlog).String())
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	cur, err := f.db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "appName", Value: f.app},
		{Key: "op", Value: bson.D{{Key: "$in", Value: bson.A{"query", "getmore"}}}}})
	must(t, err)
	var ops []struct {
		Docs int `bson:"docsExamined"`
		Keys int `bson:"keysExamined"`
	}
	must(t, cur.All(t.Context(), &ops))
	docs, keys := 0, 0
	for _, op := range ops {
		docs, keys = docs+op.Docs, keys+op.Keys
	}
	t.Logf("%d requests, %d documents and %d keys examined for %d pending of %d", len(ops), docs, keys, len(want),
		projects*(synced+pending))
	// What waits for the remote site, what the active site lacks, and what is not as Pype writes it.
	if len(ops) != 3*projects {
		t.Errorf("%d requests for %d projects, want 3 for each", len(ops), projects)
	}
	if docs > 0 {
		t.Errorf("%d documents examined: the index has it all", docs)
	}
	// MongoDB counts the key that a range of an index ends at.
	if keys < len(want) || keys > len(want)+8*projects {
		t.Errorf("%d keys examined for %d that are pending", keys, len(want))
	}
}

// Where few files wait, and the site that they come from lacks very many, a poll does not read these: the line to the
// database of an artist at home is slow.
func TestPollDoesNotReadAllThatTheSourceLacks(t *testing.T) {
	t.Parallel()
	const lacking = 3000
	f := newFixture(t)
	p := f.project(t, "Test")
	pubs := make([]studio.Publish, lacking+2)
	for n := range pubs {
		pubs[n] = studio.Publish{Subset: "modelMain", Name: fmt.Sprintf("n%04d", n), NoActiveDate: true,
			NoRemote: n < lacking}
	}
	absent := publish(t, p, pubs...)[lacking:] // what is made last the index has last
	pending := publish(t, p, studio.Publish{})[0]
	f.index.Once(t.Context())

	must(t, f.db.CreateCollection(t.Context(), "system.profile",
		options.CreateCollection().SetCapped(true).SetSizeInBytes(16<<20)))
	must(t, f.db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: 2}}).Err())
	got := map[string]bool{}
	for c, err := range f.store.Pending(t.Context(), "Test", f.poll.Rules) {
		must(t, err)
		got[c.Key.String()] = c.SourceOpen
	}
	must(t, f.db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: 0}}).Err())
	want := map[string]bool{keyOf(pending).String(): false}
	for _, rep := range absent {
		want[keyOf(rep).String()] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("whether the source is open, by key (-want +got):\n%s", diff)
	}
	cur, err := f.db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "appName", Value: f.app},
		{Key: "op", Value: bson.D{{Key: "$in", Value: bson.A{"query", "getmore"}}}}})
	must(t, err)
	var ops []struct {
		Docs     int `bson:"docsExamined"`
		Keys     int `bson:"keysExamined"`
		Returned int `bson:"nreturned"`
	}
	must(t, cur.All(t.Context(), &ops))
	docs, keys, returned := 0, 0, 0
	for _, op := range ops {
		docs, keys, returned = docs+op.Docs, keys+op.Keys, returned+op.Returned
	}
	t.Logf("%d requests, %d documents and %d keys examined, %d returned", len(ops), docs, keys, returned)
	if returned > 1010 || keys > 1100 {
		t.Errorf("%d keys are examined, and %d returned", keys, returned)
	}
	if docs > len(absent) {
		t.Errorf("%d documents are examined", docs)
	}
}
