package watcher

import (
	"context"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

func TestMain(m *testing.M) {
	// The tests wait more than they work.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(mongod.Main(m))
}

// patience bounds every wait on a busy machine; nothing is asserted about time.
const patience = time.Minute

const (
	site       = "gdrive"
	retryCount = 3
)

var route = avalon.Route{From: "studio", To: site}

// fixture is a watcher with a connection of its own to the database that a studio publishes into.
type fixture struct {
	set    *mongod.ReplicaSet
	db     *mongo.Database
	studio *studio.Studio
	store  *avalon.Store
	queue  *Queue
	poll   *Poller
	index  *IndexEnsurer
	stream *Stream
	logs   *observer.ObservedLogs
	app    string // by which fail points know the watcher's connections
}

// newFixture returns a fixture with a database of its own on the MongoDB that the tests share. Tests that call fail run
// one after the other there: a fail point replaces the one that was set before.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, mongod.Shared(t), mongod.Database(t))
}

// newOwnFixture returns a fixture with a MongoDB of its own.
func newOwnFixture(t *testing.T, o mongod.Options) *fixture {
	t.Helper()
	set := mongod.StartTest(t, o)
	return newFixtureOn(t, set, set.Client().Database("avalon"))
}

func newFixtureOn(t *testing.T, set *mongod.ReplicaSet, db *mongo.Database) *fixture {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(set.URI()).SetAppName(t.Name()).
		SetServerSelectionTimeout(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = client.Disconnect(ctx) // the server may be gone
	})
	f := &fixture{set: set, db: db, studio: studio.New(db, studio.Options{}), store: avalon.NewStore(client, db.Name()),
		queue: NewQueue(1000), app: t.Name()}
	core, logs := observer.New(zap.DebugLevel)
	log := zap.New(core)
	f.logs = logs
	f.poll = NewPoller(f.store, avalon.Rules{Route: route, RetryCount: retryCount}, f.queue, log)
	f.poll.Interval = time.Hour
	f.poll.StreamOpen = func() bool { return true }
	f.index = &IndexEnsurer{Store: f.store, Route: route, Interval: time.Hour, Log: log}
	f.stream = &Stream{
		Store: f.store,
		Route: route,
		Queue: f.queue,
		Poll:  f.poll.Trigger,
		Gap:   f.poll.TriggerAfterGap,
		Log:   log,
	}
	t.Cleanup(f.queue.Close)
	return f
}

// start lets a part work until the test ends, or until it is told to stop.
func start(t *testing.T, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { run(ctx); close(ended) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) project(t *testing.T, name string) *studio.Project {
	t.Helper()
	p, err := f.studio.Project(t.Context(), name)
	must(t, err)
	return p
}

// publish publishes records without files.
func publish(t *testing.T, p *studio.Project, pubs ...studio.Publish) []*studio.Representation {
	t.Helper()
	for i := range pubs {
		pubs[i].RecordOnly = true
		if pubs[i].Subset == "" {
			pubs[i].Subset = bson.NewObjectID().Hex()
		}
		if pubs[i].Asset == "" {
			pubs[i].Asset = "Cylinder"
		}
		if pubs[i].Name == "" {
			pubs[i].Name = "ma"
		}
		pubs[i].Size = 5
	}
	reps, err := p.PublishAll(t.Context(), pubs...)
	must(t, err)
	return reps
}

func keyOf(r *studio.Representation) avalon.Key {
	return avalon.Key{Project: r.Project, ID: avalon.NewID(r.ID)}
}

func keysOf(reps []*studio.Representation) []string {
	var keys []string
	for _, r := range reps {
		keys = append(keys, keyOf(r).String())
	}
	return keys
}

// next waits for an item of the lane and is done with it.
func (f *fixture) next(t *testing.T, lane Lane) avalon.Key {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	item, err := f.queue.Get(ctx, lane)
	if err != nil {
		t.Fatalf("nothing came in lane %d: %v", lane, err)
	}
	f.queue.Done(item.Key)
	return item.Key
}

// until returns what comes in a lane before the key.
func (f *fixture) until(t *testing.T, lane Lane, last avalon.Key) []string {
	t.Helper()
	var keys []string
	for {
		key := f.next(t, lane)
		if key == last {
			slices.Sort(keys)
			return keys
		}
		keys = append(keys, key.String())
	}
}

// logged is how often a message was logged.
func (f *fixture) logged(message string) int {
	return f.logs.FilterMessage(message).Len()
}

// fail makes commands of the watcher fail, those on one collection if it is named.
func (f *fixture) fail(t *testing.T, mode any, collection string, how bson.E, commands ...string) (off func()) {
	t.Helper()
	m, err := f.set.Primary(t.Context())
	must(t, err)
	data := bson.D{{Key: "failCommands", Value: commands}, {Key: "appName", Value: f.app}, how}
	if collection != "" {
		data = append(data, bson.E{Key: "namespace", Value: f.db.Name() + "." + collection})
	}
	disable, err := m.FailPoint(t.Context(), "failCommand", mode, data)
	must(t, err)
	off = func() { must(t, disable(context.Background())) }
	t.Cleanup(off)
	return off
}

// code makes a command fail with an error of the server.
func code(n int) bson.E { return bson.E{Key: "errorCode", Value: n} }
