package state

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/integration/mongod"
)

const patience = 30 * time.Second

// upRoute is the route of most tests.
var upRoute = LeaseName("avalon", avalon.Route{From: "studio", To: "gdrive"})

// process is a process that wants a lease.
type process struct {
	*Lease
	logs    *observer.ObservedLogs
	fences  chan context.Context // one each time that work begins
	stop    context.CancelFunc
	stopped chan struct{}
}

// newLease is a lease with short times, held by a process of a machine of its own.
func newLease(t *testing.T, db *Database, host string) *process {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	p := &process{logs: logs, fences: make(chan context.Context, 100), stopped: make(chan struct{})}
	p.Lease = db.NewLease(upRoute,
		Holder{ID: bson.NewObjectID().Hex(), Host: host, PID: 1, System: "of " + host, Started: "1"},
		zap.New(core),
		func() WorkerStatus {
			return WorkerStatus{Stream: "open", Holds: []Hold{{Kind: "site", What: "site", Why: "full"}}}
		},
	)
	p.times = leaseTimes{
		duration:      time.Second,
		renewInterval: 100 * time.Millisecond,
		retryPeriod:   20 * time.Millisecond,
		skewMargin:    100 * time.Millisecond,
	}
	return p
}

// start has the process wait for the lease, and work until it is stopped.
func (p *process) start(t *testing.T) *process {
	ctx, cancel := context.WithCancel(t.Context())
	p.stop = cancel
	go func() {
		defer close(p.stopped)
		p.Run(ctx, func(ctx, fenced context.Context) {
			p.fences <- fenced
			<-ctx.Done()
		})
	}()
	t.Cleanup(func() { cancel(); <-p.stopped })
	return p
}

// working waits until the process works, and returns when it has to have stopped.
func (p *process) working(t *testing.T) context.Context {
	t.Helper()
	select {
	case fenced := <-p.fences:
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		return fenced
	case <-time.After(patience):
		t.Fatal("it does not get the lease")
		return nil
	}
}

func (p *process) idle(t *testing.T) {
	t.Helper()
	if len(p.fences) != 0 || p.Check() == nil || p.State().Held {
		t.Error("two work at once")
	}
}

func ended(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func open(t *testing.T) *Database {
	return Open(mongod.Shared(t).Client(), mongod.Database(t).Name())
}

// Of two processes one works. When it stops, the other does.
func TestOneHolder(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a").start(t)
	a.working(t)
	b := newLease(t, db, "b").start(t)
	eventually(
		t,
		"b knows of a",
		func() bool { h := b.State().Holder; return h != nil && h.Host == "a" && !h.Since.IsZero() },
	)
	b.idle(t)
	a.stop()
	<-a.stopped
	fenced := b.working(t)
	if err := a.Check(); err == nil {
		t.Error("a, which has stopped, may still write")
	}
	if b.State().Holder != nil || fenced.Err() != nil {
		t.Error("b does not know that it is the holder")
	}
	if n := b.logs.FilterMessageSnippet("standing by").Len(); n != 1 {
		t.Errorf("it was logged %d times that b stands by", n)
	}
}

// It is renewed for as long as it is held.
func TestRenewal(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a").start(t)
	fenced := a.working(t)
	b := newLease(t, db, "b").start(t)
	a.mu.Lock()
	first := a.until
	a.mu.Unlock()
	eventually(t, "a has renewed it beyond its first length", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.until.After(first.Add(2 * a.times.duration))
	})
	b.idle(t)
	if fenced.Err() != nil {
		t.Error("a has lost it")
	}
	var doc LeaseInfo
	if err := db.db.Collection("leases").FindOne(t.Context(), bson.D{}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Status.Stream != "open" || len(doc.Status.Holds) != 1 ||
		doc.Status.Holds[0] != (Hold{Kind: "site", What: "site", Why: "full"}) {
		t.Errorf("the report is %+v", doc.Status)
	}
}

// No two routes have one name, nor does one have a name that older versions use.
func TestLeaseNames(t *testing.T) {
	seen := map[string]string{}
	take := func(name, of string) {
		if other, ok := seen[name]; ok && other != of {
			t.Errorf("%s and %s are both called %s", other, of, name)
		}
		seen[name] = of
	}
	sites := []string{"studio", "gdrive", `a" -> "b`, `a`, `b`, `b" -> "a`, "a -> b", "", "a/b", `avalon "a" -> "b"`}
	for _, database := range []string{"avalon", "avalon2"} {
		for _, from := range sites {
			for _, to := range sites {
				name := LeaseName(database, avalon.Route{From: from, To: to})
				take(name.route, fmt.Sprintf("%s %q %q", database, from, to))
				take(name.older, fmt.Sprintf("older %s %q", database, to))
			}
		}
	}
	if upRoute != (RouteName{`avalon "studio" -> "gdrive"`, "avalon/gdrive"}) {
		t.Errorf("%+v", upRoute)
	}
}

// Routes to one site, and the ways back, are worked on at the same time.
func TestRoutesBesideEachOther(t *testing.T) {
	db := open(t)
	for _, route := range []avalon.Route{{From: "studio", To: "gdrive"}, {From: "home", To: "gdrive"},
		{From: "gdrive", To: "studio"}, {From: "gdrive", To: "home"}, {From: "studio", To: "backup"}} {
		l := newLease(t, db, route.From+route.To)
		l.name = LeaseName("avalon", route)
		defer l.start(t).working(t)
	}
}

// setOlder writes the lease that a process of an older version holds, for so long.
func setOlder(t *testing.T, db *Database, h Holder, lasts time.Duration) {
	t.Helper()
	_, err := db.db.Collection("leases").ReplaceOne(t.Context(), bson.M{"_id": "avalon/gdrive"},
		bson.M{"holder": h, "expires": time.Now().Add(lasts)}, options.Replace().SetUpsert(true))
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing works beside a process of an older version: it is waited for, and what runs stops when one begins. Its lease
// is left alone.
func TestOlderVersion(t *testing.T) {
	db := open(t)
	older := Holder{ID: "1", Host: "old", PID: 1, System: "another", Started: "1"}
	setOlder(t, db, older, time.Hour)
	a := newLease(t, db, "a").start(t)
	eventually(t, "a stands by", func() bool { h := a.State().Holder; return h != nil && h.Host == "old" })
	a.idle(t)
	info, err := db.LeaseInfo(t.Context(), upRoute)
	if err != nil || info == nil || !info.Active() || info.Holder.Host != "old" {
		t.Errorf("%+v, %v", info, err)
	}
	setOlder(t, db, Holder{}, 0) // it gives the lease back
	fenced := a.working(t)
	if info, err = db.LeaseInfo(t.Context(), upRoute); err != nil || info == nil || info.Holder.Host != "a" {
		t.Errorf("%+v, %v", info, err)
	}
	setOlder(t, db, older, time.Hour)
	ended(t, fenced)
	eventually(t, "a stands by again", func() bool { h := a.State().Holder; return h != nil && h.Host == "old" })
	a.idle(t)
	setOlder(t, db, older, -time.Second) // it was killed
	a.working(t)
	if raw, err := db.db.Collection("leases").FindOne(t.Context(), bson.M{"_id": "avalon/gdrive"}).Raw(); err != nil ||
		raw.Lookup("holder", "id").StringValue() != "1" {
		t.Errorf("the older lease was written to: %v, %v", raw, err)
	}
}

// A process that ended without a word is replaced when its lease ends; if it ran on this system, at once.
func TestDeadHolder(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run", "^$")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		holder Holder
		wait   bool
	}{
		"elsewhere": {Holder{ID: "1", Host: "b", PID: child.Process.Pid, System: "another", Started: "1"},
			true},
		"unknown system":    {Holder{ID: "1", Host: "b", PID: child.Process.Pid, Started: "1"}, true},
		"here":              {Holder{ID: "1", PID: child.Process.Pid, System: thisSystem(), Started: "1"}, false},
		"here, alive":       {Self(), true},
		"here, its id used": {Holder{ID: "1", PID: os.Getpid(), System: thisSystem(), Started: "1"}, false},
	} {
		for _, id := range []string{upRoute.route, upRoute.older} {
			t.Run(name+" "+id, func(t *testing.T) {
				db := open(t)
				_, err := db.db.Collection("leases").InsertOne(t.Context(), bson.M{"_id": id, "holder": test.holder,
					"expires": time.Now().Add(time.Hour)})
				if err != nil {
					t.Fatal(err)
				}
				a := newLease(t, db, "a").start(t)
				if test.wait || runtime.GOOS != "linux" {
					eventually(t, "it waits", func() bool { return a.State().Holder != nil })
					a.idle(t)
					_, err := db.db.Collection("leases").
						UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{
							{Key: "expires", Value: time.Now().Add(-time.Second)}}}})
					if err != nil {
						t.Fatal(err)
					}
				}
				a.working(t)
			})
		}
	}
}

// Of many that want a lease at the same moment one gets it.
func TestRace(t *testing.T) {
	db := open(t)
	got := make(chan bool)
	for range 20 {
		l := newLease(t, db, "x")
		go func() {
			ok, err := l.try(t.Context())
			got <- ok && err == nil
		}()
	}
	holders := 0
	for range 20 {
		if <-got {
			holders++
		}
	}
	if holders != 1 {
		t.Errorf("%d hold it", holders)
	}
}

// The lease was taken, but the answer was lost: it is not waited for.
func TestLostAnswer(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a")
	for range 2 {
		if ok, err := a.try(t.Context()); !ok || err != nil {
			t.Fatal(ok, err)
		}
		a.held = false
	}
	if a.token != 2 {
		t.Errorf("term %d", a.token)
	}
}

// A renewal that comes late does not undo that the lease was given back.
func TestLateRenewal(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a")
	if ok, err := a.try(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	a.release()
	if err := a.extend(t.Context()); err != errTaken {
		t.Error(err)
	}
	if ok, err := newLease(t, db, "b").try(t.Context()); !ok || err != nil {
		t.Error(ok, err)
	}
}

// A database that does not answer ends the work before the lease ends, and lets it go on when it is back.
func TestDatabaseAway(t *testing.T) {
	set := mongod.StartTest(t, mongod.Options{})
	db := Open(set.Client(), "sitesync")
	a := newLease(t, db, "a").start(t)
	fenced := a.working(t)
	if err := set.Members()[0].Pause(); err != nil {
		t.Fatal(err)
	}
	ended(t, fenced)
	if a.Check() == nil {
		t.Error("it may still write")
	}
	if err := set.Members()[0].Resume(); err != nil {
		t.Fatal(err)
	}
	a.working(t)
	if n := a.logs.FilterMessageSnippet("cannot renew the lease").Len(); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	if n := a.logs.FilterMessageSnippet("acquired the lease").Len(); n != 1 {
		t.Errorf("that it goes on was logged %d times", n)
	}
}

// A process whose lease was taken from it while it did not run stops, and stands by.
func TestTaken(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a").start(t)
	fenced := a.working(t)
	_, err := db.db.Collection("leases").UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{
		{Key: "holder", Value: Holder{ID: "b", Host: "b"}}, {Key: "expires", Value: time.Now().Add(time.Hour)}}}})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, fenced)
	eventually(t, "a stands by", func() bool { h := a.State().Holder; return h != nil && h.Host == "b" })
	a.idle(t)
}

func TestPassed(t *testing.T) {
	now := time.Now()
	if passed(now.Add(time.Hour)) || !passed(now) {
		t.Error("the monotonic clock does not count")
	}
	// As after a sleep, in which only one of the clocks went on.
	if wall := now.Add(-time.Second).Round(0); !passed(wall) {
		t.Error("the wall clock does not count")
	}
}

func TestTryRun(t *testing.T) {
	db := open(t)
	a := newLease(t, db, "a").start(t)
	a.working(t)
	b := newLease(t, db, "b")
	err := b.TryRun(t.Context(), func(context.Context, context.Context) { t.Error("two work at once") })
	if err == nil || !strings.Contains(err.Error(), "process 1 on a") {
		t.Error(err)
	}
	a.stop()
	<-a.stopped
	worked := false
	if err := b.TryRun(t.Context(), func(context.Context, context.Context) { worked = true }); err != nil || !worked {
		t.Error(worked, err)
	}
}

// Missing rights are logged once, with the remedy, and the lease is acquired when they are granted.
func TestLeaseWithoutRights(t *testing.T) {
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	uri, err := set.CreateUser(t.Context(), "guest", "secret", mongod.Role{Role: "readWrite", DB: "avalon"})
	if err != nil {
		t.Fatal(err)
	}
	client := connect(t, uri)
	a := newLease(t, Open(client, "sitesync"), "a").start(t)
	eventually(t, "it is logged", func() bool { return a.logs.Len() > 0 })
	said := a.logs.All()[0]
	if reason := said.ContextMap()["error"].(string); !strings.Contains(
		reason,
		"grant the user the role readWrite on database sitesync",
	) {
		t.Errorf("it says %q", reason)
	}
	err = set.Client().Database("admin").RunCommand(t.Context(), bson.D{{Key: "grantRolesToUser", Value: "guest"},
		{Key: "roles", Value: bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: "sitesync"}}}}}).Err()
	if err != nil {
		t.Fatal(err)
	}
	a.working(t)
	if n := a.logs.FilterMessageSnippet("cannot acquire the lease").Len(); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}
