package mongod_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"sitesync/integration/mongod"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

// waitTimeout bounds every wait on a busy machine; nothing is asserted about time.
const waitTimeout = 2 * time.Minute

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, uri string) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = client.Disconnect(ctx)
	})
	return client
}

// insert puts one document into the collection with the majority's word for it.
func insert(t *testing.T, ctx context.Context, c *mongo.Client, name string) {
	t.Helper()
	majority := options.Collection().SetWriteConcern(writeconcern.Majority())
	_, err := c.Database("shots").Collection("Test", majority).InsertOne(ctx, bson.D{{Key: "name", Value: name}})
	must(t, err)
}

func count(t *testing.T, ctx context.Context, c *mongo.Client) int64 {
	t.Helper()
	n, err := c.Database("shots").Collection("Test").CountDocuments(ctx, bson.D{})
	must(t, err)
	return n
}

func TestSharedSetHasChangeStreamsPerDatabase(t *testing.T) {
	ctx := deadline(t)
	db := mongod.Database(t)
	stream, err := db.Watch(ctx, mongo.Pipeline{})
	must(t, err)
	defer stream.Close(ctx)

	_, err = db.Collection("Project").InsertOne(ctx, bson.D{{Key: "name", Value: "ma"}})
	must(t, err)

	if !stream.Next(ctx) {
		t.Fatalf("no event: %v", stream.Err())
	}
	var event struct {
		Kind string `bson:"operationType"`
	}
	must(t, stream.Decode(&event))
	if event.Kind != "insert" {
		t.Errorf("event is %q, want insert", event.Kind)
	}
}

func TestDatabasesAreFreshAndDropped(t *testing.T) {
	ctx := deadline(t)
	var name string
	t.Run("first/'Ä'", func(t *testing.T) {
		db := mongod.Database(t)
		name = db.Name()
		_, err := db.Collection("Project").InsertOne(ctx, bson.D{})
		must(t, err)
		if other := mongod.Database(t); other.Name() == name {
			t.Errorf("two databases are called %s", name)
		}
	})
	names, err := connect(t, mongod.URI(t)).ListDatabaseNames(ctx, bson.D{{Key: "name", Value: name}})
	must(t, err)
	if len(names) != 0 {
		t.Errorf("database %s is left after its test", name)
	}
}

func TestKilledMemberKeepsItsDataAndPort(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{})
	client := connect(t, rs.URI())
	insert(t, ctx, client, "before")

	m := rs.Members()[0]
	must(t, m.Kill())
	if m.Running() {
		t.Error("the member runs after Kill")
	}
	must(t, m.Kill()) // once more does nothing
	must(t, m.Restart(ctx))

	if n := count(t, ctx, client); n != 1 {
		t.Errorf("%d documents after kill -9, want 1", n)
	}
	insert(t, ctx, client, "after")

	must(t, m.Stop(ctx))
	must(t, m.Restart(ctx))
	if n := count(t, ctx, client); n != 2 {
		t.Errorf("%d documents after an orderly stop, want 2", n)
	}
}

func TestAnotherMemberTakesOver(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{Members: 3})
	client := connect(t, rs.URI())
	insert(t, ctx, client, "before")

	first, err := rs.Primary(ctx)
	must(t, err)
	must(t, first.Kill())
	second, err := rs.Primary(ctx)
	must(t, err)
	if second == first {
		t.Fatal("the killed member is still primary")
	}
	insert(t, ctx, client, "while one is down")
	must(t, first.Restart(ctx))

	must(t, second.Pause())
	third, err := rs.Primary(ctx)
	must(t, err)
	if third == second {
		t.Fatal("the paused member is still primary")
	}
	// The old client may still send to the paused member, and would wait there.
	client = connect(t, rs.URI())
	insert(t, ctx, client, "while one hangs")
	must(t, second.Resume())

	must(t, rs.StepDown(ctx))
	fourth, err := rs.Primary(ctx)
	must(t, err)
	if fourth == third {
		t.Fatal("the member that stepped down is still primary")
	}
	insert(t, ctx, client, "after stepping down")
	if n := count(t, ctx, client); n != 4 {
		t.Errorf("%d documents, want 4", n)
	}
}

func TestSingleMemberStepsDownAndComesBack(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{})
	must(t, rs.StepDown(ctx))
	_, err := rs.Primary(ctx)
	must(t, err)
	insert(t, ctx, connect(t, rs.URI()), "after")
}

func TestPausedMemberDoesNotAnswer(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{})
	client := connect(t, rs.URI())
	insert(t, ctx, client, "before")
	m := rs.Members()[0]

	must(t, m.Pause())
	for answers := true; answers; { // a signal takes a moment to reach all of its threads
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		answers = client.Ping(short, nil) == nil
		cancel()
		if ctx.Err() != nil {
			t.Fatal("a paused mongod answers")
		}
	}
	must(t, m.Resume())
	insert(t, ctx, client, "after")

	must(t, m.Pause())
	must(t, m.Stop(ctx)) // does not wait for ever for one that is paused
	if err := m.Pause(); err == nil {
		t.Error("Pause of a stopped member says nothing")
	}
}

func TestStandaloneHasNoChangeStreams(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{Standalone: true})
	insert(t, ctx, rs.Client(), "x")
	_, err := rs.Client().Database("shots").Watch(ctx, mongo.Pipeline{})
	var refused mongo.CommandError
	if !errors.As(err, &refused) || refused.Code != 40573 {
		t.Errorf("Watch answers %v, want code 40573", err)
	}
	must(t, rs.Members()[0].Kill())
	must(t, rs.Members()[0].Restart(ctx))
	insert(t, ctx, rs.Client(), "y")
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]mongod.Options{
		"replica set": {Auth: true},
		"standalone":  {Auth: true, Standalone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			rs := mongod.StartTest(t, o)
			insert(t, ctx, rs.Client(), "admin may write")

			_, credentials, _ := strings.Cut(rs.URI(), "://")
			_, stranger, _ := strings.Cut(credentials, "@")
			if err := connect(t, "mongodb://"+stranger).Database("shots").Collection("Test").FindOne(ctx, bson.D{}).
				Err(); err == nil {
				t.Error("a client without credentials can read")
			}

			uri, err := rs.CreateUser(ctx, "reader", "p@ss/wörd", mongod.Role{Role: "read", DB: "shots"})
			must(t, err)
			reader := connect(t, uri)
			if n := count(t, ctx, reader); n != 1 {
				t.Errorf("the reader sees %d documents, want 1", n)
			}
			if _, err := reader.Database("shots").Collection("Test").InsertOne(ctx, bson.D{}); err == nil {
				t.Error("the reader can write")
			}
		})
	}
}

func TestFailPoint(t *testing.T) {
	ctx := deadline(t)
	rs := mongod.Shared(t)
	c := mongod.Database(t).Collection("Test")
	m, err := rs.Primary(ctx)
	must(t, err)
	off, err := m.FailPoint(ctx, "failCommand", mongod.AlwaysOn, bson.D{
		{Key: "failCommands", Value: bson.A{"find"}},
		{Key: "errorCode", Value: 13},
	})
	must(t, err)
	var refused mongo.CommandError
	if err := c.FindOne(ctx, bson.D{}).Err(); !errors.As(err, &refused) || refused.Code != 13 {
		t.Errorf("find answers %v, want code 13", err)
	}
	must(t, off(ctx))
	if err := c.FindOne(ctx, bson.D{}).Err(); !errors.Is(err, mongo.ErrNoDocuments) {
		t.Errorf("find answers %v after the fail point is off", err)
	}
}

// A stream that is continued from a place that the oplog has forgotten ends with
// ChangeStreamHistoryLost; the smallest oplog makes that cheap to have.
func TestSmallOplogForgets(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{OplogSizeMB: 1})
	db := rs.Client().Database("shots")
	stream, err := db.Watch(ctx, mongo.Pipeline{})
	must(t, err)
	insert(t, ctx, rs.Client(), "the first")
	if !stream.Next(ctx) {
		t.Fatal(stream.Err())
	}
	token := stream.ResumeToken()
	must(t, stream.Close(ctx))

	large := bson.D{{Key: "data", Value: make([]byte, 1<<20)}}
	for {
		for range 8 {
			_, err := db.Collection("Large").InsertOne(ctx, large)
			must(t, err)
		}
		stream, err := db.Watch(ctx, mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(token))
		if err == nil {
			must(t, stream.Close(ctx))
			continue // not yet
		}
		var lost mongo.CommandError
		if !errors.As(err, &lost) || lost.Code != 286 {
			t.Fatalf("the stream ends with %v, want code 286", err)
		}
		return
	}
}

func TestStartRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, o := range []mongod.Options{{Members: -1}, {Members: 8}, {Members: 3, Standalone: true}} {
		if rs, err := mongod.Start(t.Context(), o); err == nil {
			rs.Stop()
			t.Errorf("Start accepts %+v", o)
		}
	}
}

func TestStartShowsWhyMongodDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := mongod.Start(deadline(t), mongod.Options{Dir: dir, Args: []string{"--nonsense"}})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v does not show mongod's own words", err)
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("%v is left after a failed start", left)
	}
}
