package mongod

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"
)

// startTimeout bounds a start in tests: seconds on an idle machine, more when a
// download comes first or the machine is busy.
const startTimeout = 2 * time.Minute

// shared is the replica set of this test process. It is the one state that
// belongs to the process: testing offers no other place between TestMain and the
// tests.
var shared struct {
	sync.Mutex
	inMain    bool
	started   bool
	rs        *ReplicaSet
	err       error
	databases int
}

// Main runs the tests of a package, stops the replica set that they shared, and
// fails if a goroutine is left. The set is started by the first test that asks
// for it with Shared, Database or URI. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }
func Main(m *testing.M, leaks ...goleak.Option) (code int) {
	shared.Lock()
	shared.inMain = true
	shared.Unlock()

	code = m.Run()

	shared.Lock()
	defer shared.Unlock()
	if shared.rs != nil {
		if err := shared.rs.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the shared mongod:", err)
			code = max(code, 1)
		}
	}
	if code == 0 { // a failed test may well leave goroutines, which is not the news
		if err := goleak.Find(leaks...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left after the tests:", err)
			code = 1
		}
	}
	return code
}

// Shared returns the replica set that all tests of this process share, one member
// with test commands. Tests must leave it running and primary: one that kills
// members starts its own with StartTest.
func Shared(t testing.TB) *ReplicaSet {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.inMain {
		t.Fatal("the shared mongod would not be stopped: add func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) } " +
			"to the package")
	}
	if !shared.started {
		shared.started = true
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		shared.rs, shared.err = Start(ctx, Options{TestCommands: true})
	}
	if shared.err != nil {
		t.Fatalf("start the shared mongod: %v", shared.err)
	}
	return shared.rs
}

// Database returns a new, empty database on the shared set, which is dropped when
// the test ends.
func Database(t testing.TB) *mongo.Database {
	t.Helper()
	rs := Shared(t)
	shared.Lock()
	shared.databases++
	name := databaseName(shared.databases, t.Name())
	shared.Unlock()
	db := rs.Client().Database(name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := db.Drop(ctx); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	return db
}

// URI returns the connection string of the shared set.
func URI(t testing.TB) string {
	t.Helper()
	return Shared(t).URI()
}

// StartTest starts a set for one test and stops it when the test ends.
func StartTest(t testing.TB, o Options) *ReplicaSet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	rs, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("start mongod: %v", err)
	}
	t.Cleanup(func() {
		if err := rs.Stop(); err != nil {
			t.Errorf("stop mongod: %v", err)
		}
	})
	return rs
}

// databaseName makes a legal, unique name (the number makes it so: MongoDB does
// not distinguish names by case) that still shows the test.
func databaseName(n int, test string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, test)
	return fmt.Sprintf("t%d_%.40s", n, clean)
}
