package state

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/mongod"
	"sitesync/site"
)

// journal is the journal of a process that holds the lease.
func journal(t *testing.T, db *Database) *Journal {
	t.Helper()
	l := newLease(t, db, "a")
	l.times = defaultTimes // nothing is about them here
	l.start(t).working(t)
	return &Journal{Database: db, Lease: l.Lease}
}

func ids(t *testing.T, found map[string]site.Reservation, err error) map[string]string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, r := range found {
		if age := time.Since(r.At); age < -time.Minute || age > time.Minute {
			t.Errorf("%s was reserved at %v", name, r.At)
		}
		out[name] = r.ID
	}
	return out
}

// What one process has reserved the next one finds, and of several reservations of a name the last.
func TestReserve(t *testing.T) {
	db := open(t)
	j := journal(t, db)
	ctx := t.Context()
	for _, r := range []map[string]string{
		{"a.b": "1", "$c": "2", "": "3", "ž'\\%": "4"},
		{"a.b": "5"},
		{},
	} {
		if err := j.Reserve(ctx, "account", map[string]map[string]string{"folder": r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Reserve(ctx, "account", map[string]map[string]string{"another": {"a.b": "6"},
		"a third": {"a.b": "7", "d": "8"}}); err != nil {
		t.Fatal(err)
	}
	found, err := (&Journal{Database: db}).Reserved(ctx, "folder")
	if diff := cmp.Diff(map[string]string{"a.b": "5", "$c": "2", "": "3", "ž'\\%": "4"},
		ids(t, found, err)); diff != "" {
		t.Error(diff)
	}
	found, err = j.Reserved(ctx, "a third")
	if diff := cmp.Diff(map[string]string{"a.b": "7", "d": "8"}, ids(t, found, err)); diff != "" {
		t.Error(diff)
	}
	found, err = j.Reserved(ctx, "no such folder")
	if got := ids(t, found, err); len(got) != 0 {
		t.Error(got)
	}
}

// What a process writes that has lost its lease without noticing counts less than what its successor has written.
func TestLateReservation(t *testing.T) {
	db := open(t)
	paused := newLease(t, db, "a")
	if ok, err := paused.try(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	j := &Journal{Database: db, Lease: paused.Lease}
	if _, err := db.db.Collection("leases").UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{
		{Key: "expires", Value: time.Now().Add(-time.Second)}}}}); err != nil {
		t.Fatal(err)
	}
	successor := journal(t, db)
	reserved := map[string]map[string]string{"folder": {"a": "successor"}}
	if err := successor.Reserve(t.Context(), "account", reserved); err != nil {
		t.Fatal(err)
	}
	// Its clocks have stood still, so that it takes the lease for its own.
	if err := j.Reserve(t.Context(), "account", map[string]map[string]string{"folder": {"a": "paused",
		"b": "paused"}}); err == nil {
		t.Error("the paused one may go on")
	}
	found, err := successor.Reserved(t.Context(), "folder")
	if diff := cmp.Diff(map[string]string{"a": "successor", "b": "paused"}, ids(t, found, err)); diff != "" {
		t.Error(diff)
	}
}

// However many ids are reserved at once, a folder's are one document.
func TestReserveIsOneWrite(t *testing.T) {
	db := open(t)
	many := map[string]string{}
	for i := range 1000 {
		many[fmt.Sprintf("%s%04d.exr", strings.Repeat("x", 240), i)] = fmt.Sprintf("1%032d", i)
	}
	j := journal(t, db)
	if err := j.Reserve(t.Context(), "account", map[string]map[string]string{"folder": many}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.db.Collection("ids").CountDocuments(t.Context(), bson.D{}); n != 1 || err != nil {
		t.Error(n, err)
	}
	found, err := j.Reserved(t.Context(), "folder")
	if diff := cmp.Diff(many, ids(t, found, err)); diff != "" {
		t.Error(diff)
	}
}

func TestSession(t *testing.T) {
	j := journal(t, open(t))
	ctx := t.Context()
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	check := func(file string, size int64, at time.Time, want string) {
		t.Helper()
		if got, err := j.Session(ctx, file, size, at); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	check("f", 5, at, "")
	for _, uri := range []string{"first", "second"} {
		if err := j.SaveSession(ctx, "f", 5, at, uri); err != nil {
			t.Fatal(err)
		}
		check("f", 5, at.In(time.FixedZone("", 3600)), uri)
	}
	check("f", 6, at, "")
	check("f", 5, at.Add(time.Nanosecond), "")
	check("g", 5, at, "")
	if err := j.DropSession(ctx, "f"); err != nil {
		t.Fatal(err)
	}
	check("f", 5, at, "")
}

// What is written when the lease may have ended is not to be relied on.
func TestJournalWithoutLease(t *testing.T) {
	db := open(t)
	l := newLease(t, db, "a")
	l.times = defaultTimes // nothing is about them here
	l.start(t).working(t)
	l.stop()
	<-l.stopped
	j := &Journal{Database: db, Lease: l.Lease}
	if err := j.Reserve(t.Context(), "account", map[string]map[string]string{"folder": {"a": "1"}}); err == nil {
		t.Error("ids are reserved without the lease")
	}
	if err := j.SaveSession(t.Context(), "f", 5, time.Now(), "uri"); err == nil {
		t.Error("a session is saved without the lease")
	}
}

// What is of no more use is forgotten by itself.
func TestForgets(t *testing.T) {
	db := open(t)
	for range 2 {
		if err := db.EnsureIndexes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, after := range map[string]int32{"ids": 2 * 24 * 3600, "sessions": 7 * 24 * 3600} {
		specs, err := db.db.Collection(name).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, s := range specs {
			found = found || s.ExpireAfterSeconds != nil && *s.ExpireAfterSeconds == after
		}
		if !found {
			t.Errorf("collection %s never forgets: %v", name, specs)
		}
	}
}

// The URI of a session is a secret, also when something goes wrong.
func TestErrorsHoldNoSessions(t *testing.T) {
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	uri, err := set.CreateUser(t.Context(), "guest", "secret", mongod.Role{Role: "read", DB: "sitesync"})
	if err != nil {
		t.Fatal(err)
	}
	j := &Journal{
		Database: Open(connect(t, uri), "sitesync"),
		Lease:    newLease(t, Open(set.Client(), "sitesync"), "a").Lease,
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), canceled} {
		err := j.SaveSession(ctx, "f", 5, time.Now(), "https://drive.example/upload?upload_id=S3cret")
		if err == nil || strings.Contains(err.Error(), "S3cret") {
			t.Error(err)
		}
	}
}
