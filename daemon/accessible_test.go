package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/integration/mongod"
	"sitesync/state"
)

// home is a database with what was published at home, and a sitesync that keeps it accessible on two sites.
type home struct {
	*accessibility
	t    *testing.T
	db   *mongo.Database
	coll *mongo.Collection
	logs *observer.ObservedLogs
}

func newHome(t *testing.T) *home {
	t.Helper()
	db := mongod.Database(t)
	h := &home{t: t, db: db, coll: db.Collection("Alpha")}
	h.accessibility = h.another()
	return h
}

// another is the same in another process.
func (h *home) another() *accessibility {
	h.t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(mongod.URI(h.t)).SetAppName(h.t.Name()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	cfg := &config.Config{AlwaysAccessibleOn: []string{"studio", "farm"}, LoopDelay: time.Minute, Stream: true,
		Poll: true}
	own := state.Open(client, h.db.Name()+"-state")
	h.t.Cleanup(func() { _ = client.Database(h.db.Name() + "-state").Drop(context.Background()) })
	core, logs := observer.New(zap.InfoLevel)
	h.logs = logs
	return newAccessibility(cfg, avalon.NewStore(client, h.db.Name()),
		own.Scans(state.AccessibleName(h.db.Name(), cfg.AlwaysAccessibleOn)), zap.New(core))
}

// publish inserts so many representations at a time, with one file each.
func (h *home) publish(at time.Time, n int) (ids []any) {
	h.t.Helper()
	var docs []any
	for i := range n {
		id := bson.NewObjectIDFromTimestamp(at)
		files := bson.A{bson.M{"_id": bson.NewObjectID(), "path": fmt.Sprintf("{root}/%d", i), "sites": bson.A{
			bson.M{"name": "art-17", "created_dt": at}, bson.M{"name": "gdrive"}}}}
		docs, ids = append(docs, bson.M{"_id": id, "type": "representation", "files": files}), append(ids, id)
	}
	if _, err := h.coll.InsertMany(h.t.Context(), docs); err != nil {
		h.t.Fatal(err)
	}
	return ids
}

// lacking are the ids of representations that lack the records.
func (h *home) lacking() (ids []any) {
	h.t.Helper()
	err := h.coll.Distinct(h.t.Context(), "_id", bson.M{"files.sites.name": bson.M{"$nin": bson.A{"studio", "farm"}}}).
		Decode(&ids)
	if err != nil {
		h.t.Fatal(err)
	}
	return ids
}

func (h *home) forget(id any) {
	h.t.Helper()
	_, err := h.coll.UpdateByID(h.t.Context(), id,
		bson.M{"$pull": bson.M{"files.$[].sites": bson.M{"name": bson.M{"$in": bson.A{"studio", "farm"}}}}})
	if err != nil {
		h.t.Fatal(err)
	}
}

// mustScan scans, and returns whether more is left.
func (h *home) mustScan() bool {
	h.t.Helper()
	more, err := h.scan(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return more
}

// fail makes commands fail with an error, those on one collection if it is named, until off is called.
func (h *home) fail(mode any, code int, namespace string, commands ...string) (off func()) {
	h.t.Helper()
	m, err := mongod.Shared(h.t).Primary(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	data := bson.D{{Key: "failCommands", Value: commands}, {Key: "errorCode", Value: code},
		{Key: "appName", Value: h.t.Name()}}
	if namespace != "" {
		data = append(data, bson.E{Key: "namespace", Value: namespace})
	}
	disable, err := m.FailPoint(h.t.Context(), "failCommand", mode, data)
	if err != nil {
		h.t.Fatal(err)
	}
	off = func() {
		if err := disable(context.Background()); err != nil {
			h.t.Error(err)
		}
	}
	h.t.Cleanup(off)
	return off
}

func (h *home) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// run works until the returned function is called.
func run(a *accessibility) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.run(ctx) })
	return func() { cancel(); wg.Wait() }
}

var longAgo = time.Date(2020, 6, 18, 0, 0, 0, 0, time.UTC)

// A scan that is interrupted goes on where it was. It begins with what is new.
func TestScanIsInterrupted(t *testing.T) {
	h := newHome(t)
	const n = 3*accessibleBatch + 10
	old := h.publish(longAgo, n)
	young := h.publish(time.Now(), 5)
	// It saves how far it is after what is new, after the first batch of what is old, and then no more.
	off := h.fail(mongod.Skip(2), 2, h.db.Name()+"-state.scans", "update")
	if _, err := h.scan(t.Context()); err == nil {
		t.Fatal("the scan was not interrupted")
	}
	off()
	lacking := h.lacking()
	if len(lacking) != n-2*accessibleBatch || slices.Contains(lacking, young[0]) {
		t.Errorf("%d lack records, of %d", len(lacking), n)
	}
	for _, id := range lacking {
		if slices.Index(old, id) >= n-2*accessibleBatch {
			t.Fatal("an older one was done before a newer one")
		}
	}
	// What was done and saved is not looked at again, what was done is done again.
	h.forget(old[n-1])
	second := h.another()
	if _, err := second.scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lacking := h.lacking(); len(lacking) != 1 || lacking[0] != old[n-1] {
		t.Errorf("%d lack records after the scan: %v", len(lacking), lacking)
	}
	if got, want := h.files.Load()+second.files.Load(), int64(n+len(young)); got != want {
		t.Errorf("%d files got records, want %d", got, want)
	}
	if got := h.logs.FilterMessage("added the records of sites that files lacked").Len(); got != 1 {
		t.Errorf("logged %d times, for one project", got)
	}
}

// While much is old, scans look for what is new again and again.
func TestScanInTurns(t *testing.T) {
	h := newHome(t)
	h.cfg.LoopDelay = time.Nanosecond
	h.publish(longAgo, 2*accessibleBatch+1)
	for turn, left := range []int{accessibleBatch + 1, 1, 0} {
		h.publish(time.Now(), 1)
		more := h.mustScan()
		if lacking := h.lacking(); len(lacking) != left || more != (left > 0) {
			t.Errorf("turn %d: %d are left, want %d; more %t", turn, len(lacking), left, more)
		}
	}
}

// What was published while the change stream was lost is found as soon as it is open again.
func TestAccessibleAfterAnOutage(t *testing.T) {
	h := newHome(t)
	h.publish(longAgo, 1)
	defer run(h.accessibility)()
	h.eventually("it works", func() bool { return len(h.lacking()) == 0 })
	off := h.fail(mongod.AlwaysOn, 286, "", "aggregate", "getMore") // the history of the stream is lost
	h.eventually("the stream is lost", func() bool {
		return h.logs.FilterMessageSnippet("change stream lost").Len() == 1
	})
	h.publish(time.Now(), 2)
	off()
	h.eventually("what was published meanwhile has its records", func() bool { return len(h.lacking()) == 0 })
}

// Scans look at what is new since the last one, and rarely at all documents.
func TestScanAgain(t *testing.T) {
	h := newHome(t)
	old := h.publish(longAgo, 3)
	h.mustScan()
	if lacking := h.lacking(); len(lacking) > 0 {
		t.Fatalf("%v lack records", lacking)
	}
	h.forget(old[1])
	h.publish(time.Now().Add(-accessibleOverlap/2), 3) // by a clock that is wrong
	h.mustScan()
	if lacking := h.lacking(); len(lacking) != 1 || lacking[0] != old[1] {
		t.Errorf("%v lack records, want only what is old", lacking)
	}

	projects, err := h.store.Projects(t.Context())
	if err != nil || len(projects) != 1 {
		t.Fatal(projects, err)
	}
	scan, err := h.scans.Read(t.Context(), projects[0])
	if err != nil || time.Since(scan.Completed) > time.Minute || !scan.Position.IsZero() {
		t.Errorf("%+v, %v", scan, err)
	}
	scan.Completed = scan.Completed.Add(-accessibleRenewal)
	if err := h.scans.Save(t.Context(), projects[0], scan); err != nil {
		t.Fatal(err)
	}
	h.mustScan()
	if lacking := h.lacking(); len(lacking) > 0 {
		t.Errorf("%v lack records after a month", lacking)
	}

	// Another project of the same name is another one.
	if err := h.coll.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.publish(longAgo, 2)
	h.mustScan()
	if lacking := h.lacking(); len(lacking) > 0 {
		t.Errorf("%v lack records in a project that was created again", lacking)
	}
}

// What is published or changed gets its records through the change stream, in any process, also in several at once.
func TestAccessibleAtOnce(t *testing.T) {
	h := newHome(t)
	old := h.publish(longAgo, 300)
	for _, a := range []*accessibility{h.accessibility, h.another()} {
		defer run(a)()
	}
	h.eventually("what is old has its records", func() bool { return len(h.lacking()) == 0 })
	h.publish(longAgo, 300)
	h.eventually("what is new has its records", func() bool { return len(h.lacking()) == 0 })
	for _, id := range old[:100] {
		h.forget(id)
	}
	h.eventually("records that are removed come back", func() bool { return len(h.lacking()) == 0 })
	var docs []struct {
		Files []struct {
			Sites []struct{ Name string }
		}
	}
	cur, err := h.coll.Find(t.Context(), bson.M{})
	if err == nil {
		err = cur.All(t.Context(), &docs)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		var names []string
		for _, site := range doc.Files[0].Sites {
			names = append(names, site.Name)
		}
		if !slices.Equal(names, []string{"art-17", "gdrive", "studio", "farm"}) {
			t.Fatalf("records of %q", names)
		}
	}
}

// Documents that the database refuses to change do not keep the others from being changed.
func TestAccessibleButForOne(t *testing.T) {
	h := newHome(t)
	bad := h.publish(longAgo, 1)[0]
	rule := bson.M{"$or": bson.A{bson.M{"_id": bson.M{"$ne": bad}}, bson.M{"files.sites": bson.M{"$size": 2}}}}
	if err := h.db.RunCommand(t.Context(), bson.D{{Key: "collMod", Value: "Alpha"},
		{Key: "validator", Value: rule}}).Err(); err != nil {
		t.Fatal(err)
	}
	h.publish(longAgo, 2)
	defer run(h.accessibility)()
	h.publish(time.Now(), 2)
	h.eventually("all others have their records", func() bool { return len(h.lacking()) == 1 })
	h.mustScan()
	if lacking := h.lacking(); lacking[0] != bad {
		t.Errorf("%v lacks records", lacking)
	}
	if n := h.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings: %v", n, h.logs.All())
	}
}

// A project that cannot be changed for now does not keep others from being changed at once, and is not forgotten.
func TestAccessibleButForOneProject(t *testing.T) {
	h := newHome(t)
	alpha, beta := h.coll, h.db.Collection("Beta")
	h.publish(longAgo, 1)
	defer run(h.accessibility)()
	h.eventually("what is old has its records", func() bool { return len(h.lacking()) == 0 })
	const unauthorized = 13
	off := h.fail(mongod.AlwaysOn, unauthorized, h.db.Name()+".Alpha", "aggregate")
	h.publish(longAgo, 1)
	for range 10 {
		h.coll = beta
		h.publish(longAgo, 1)
		h.eventually("the other project has its records", func() bool { return len(h.lacking()) == 0 })
	}
	h.coll = alpha
	if n := len(h.lacking()); n != 1 {
		t.Errorf("%d lack records", n)
	}
	off()
	h.eventually("it has its records", func() bool { return len(h.lacking()) == 0 })
}
