package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/avalon"
	"sitesync/integration/mongod"
	"sitesync/site"
)

const hold = time.Hour // of claims

// journal is the journal of a process that holds the lease of a route from the active site.
func journal(t *testing.T, db *Database, from string) *Journal {
	t.Helper()
	l := newLease(t, db, from)
	l.name = LeaseName("avalon", avalon.Route{From: from, To: "gdrive"})
	l.times = defaultTimes // nothing is about them here
	l.start(t).working(t)
	return &Journal{Database: db, Lease: l.Lease}
}

// claim claims one name, which has to work.
func claim(t *testing.T, j *Journal, account string, r site.ClaimRequest) site.Claim {
	t.Helper()
	r.Folder, r.Name = cmp.Or(r.Folder, "folder"), cmp.Or(r.Name, "a")
	r.Account = cmp.Or(r.Account, account)
	got, err := j.Claim(t.Context(), account, hold, []site.ClaimRequest{r})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	return got[0]
}

// expire ends the time for which claims are kept from other accounts.
func expire(t *testing.T, db *Database) {
	t.Helper()
	if _, err := db.db.Collection("claims").UpdateMany(t.Context(), bson.M{},
		bson.M{"$set": bson.M{"hold": 0}}); err != nil {
		t.Fatal(err)
	}
}

// Names are told apart, whatever is in them, and each keeps its id.
func TestClaims(t *testing.T) {
	db := open(t)
	j := journal(t, db, "studio")
	var requests []site.ClaimRequest
	for i, at := range [][2]string{{"folder", "a.b"}, {"folder", "$c"}, {"folder", ""}, {"folder", "a.b/"},
		{"folder", "ž'\\%"}, {"another", "a.b"}, {"$folder", "$$NOW"}} {
		requests = append(requests, site.ClaimRequest{Folder: at[0], Name: at[1], ID: fmt.Sprint("$id", i),
			Account: "account"})
	}
	for round := range 3 {
		got, err := j.Claim(t.Context(), "account", hold, requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range got {
			if c.ID != fmt.Sprint("$id", i) || c.Account != "account" {
				t.Errorf("round %d: claim %d is %+v", round, i, c)
			}
			requests[i].ID = "later"
		}
	}
	if n, err := db.db.Collection("claims").CountDocuments(t.Context(), bson.D{}); n != 7 || err != nil {
		t.Error(n, err)
	}
	if got, err := j.Claim(t.Context(), "account", hold, nil); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}

// Of several processes, of equal accounts and of different ones, all get the same ids, in whichever order they ask.
func TestClaimsOfManyAtOnce(t *testing.T) {
	db := open(t)
	const writers, names = 6, 200
	got := make([][]site.Claim, writers)
	var wg sync.WaitGroup
	for w := range writers {
		j := journal(t, db, fmt.Sprint("site", w))
		account := fmt.Sprint("account", w%2)
		wg.Go(func() {
			var requests []site.ClaimRequest
			for i := range names {
				requests = append(requests, site.ClaimRequest{Folder: "folder",
					Name: fmt.Sprint((i*7 + w*31) % names), ID: fmt.Sprint(w, " ", i), Account: account})
			}
			claims, err := j.Claim(t.Context(), account, hold, requests)
			if err != nil {
				t.Error(err)
				return
			}
			got[w] = make([]site.Claim, names)
			for i, c := range claims {
				got[w][(i*7+w*31)%names] = site.Claim{ID: c.ID, Account: c.Account}
			}
		})
	}
	wg.Wait()
	for w := 1; w < writers; w++ {
		if diff := gocmp.Diff(got[0], got[w]); diff != "" {
			t.Fatalf("the processes 0 and %d differ: %s", w, diff)
		}
	}
}

// Nothing is claimed in a folder that turns out to have another id.
func TestClaimsInALostFolder(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	requests := func(prefix, account string) (all []site.ClaimRequest) {
		for _, at := range [][3]string{{"pub", "shot/", "shot"}, {prefix + "shot", "v001/", "v001"},
			{prefix + "v001", "a", "a"}, {prefix + "v001", "b", "b"}} {
			all = append(all, site.ClaimRequest{Folder: at[0], Name: at[1], ID: prefix + at[2], Account: account})
		}
		return all
	}
	ids := func(j *Journal, prefix, account string) (ids []string) {
		t.Helper()
		got, err := j.Claim(t.Context(), account, hold, requests(prefix, account))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got {
			ids = append(ids, c.ID)
		}
		return ids
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(ids(studio, "1", "A"), "1shot", "1v001", "1a", "1b")
	check(ids(studio, "1", "A"), "1shot", "1v001", "1a", "1b")
	for _, account := range []string{"A", "B"} {
		check(ids(home, "2"+account, account), "1shot", "", "", "")
	}
	if n, err := db.db.Collection("claims").CountDocuments(t.Context(), bson.D{}); n != 4 || err != nil {
		t.Error(n, err)
	}
	if c := claim(t, studio, "B", site.ClaimRequest{Folder: "pub", Name: "shot/", ID: "3"}); c.Replaceable {
		t.Errorf("home does not own the claim: %+v", c)
	}
}

// A claim of another account is replaced when it has expired, if it is still the one that was seen, and not before.
func TestReplaceClaim(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	seen := claim(t, home, "B", site.ClaimRequest{ID: "2"})
	if seen.ID != "1" || seen.Account != "A" || seen.Replaceable {
		t.Fatalf("%+v", seen)
	}
	expire(t, db)
	if c := claim(t, home, "B", site.ClaimRequest{Name: "b", ID: "2", Stale: seen}); c.ID != "2" {
		t.Errorf("%+v", c)
	}
	old := claim(t, home, "B", site.ClaimRequest{ID: "2"})
	if old.ID != "1" || !old.Replaceable {
		t.Errorf("%+v", old)
	}
	// A confirms it meanwhile.
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "1"}); c.ID != "1" {
		t.Errorf("%+v", c)
	}
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "1" || c.Replaceable {
		t.Errorf("it is replaced although A has confirmed it: %+v", c)
	}
	// ... and that has expired too, but home has not looked at Drive since.
	expire(t, db)
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "1" {
		t.Errorf("it is replaced although A may have created it since: %+v", c)
	}
	old = claim(t, home, "B", site.ClaimRequest{ID: "2"})
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "2" || c.Account != "B" {
		t.Errorf("it is not replaced: %+v", c)
	}
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "1"}); c.ID != "2" || c.Account != "B" || c.Replaceable {
		t.Errorf("A does not notice: %+v", c)
	}
}

// A claim that another account waits for is not confirmed any more, unless a large file is on its way. Its account may
// take it again when it has expired, if the other one does not.
func TestWantedClaim(t *testing.T) {
	db := open(t)
	studio, backup, home := journal(t, db, "studio"), journal(t, db, "backup"), journal(t, db, "home")
	claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	seen := claim(t, home, "B", site.ClaimRequest{ID: "2"})
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: seen}); c.ID != "1" || c.Wanted {
		t.Errorf("it is replaced while A may create it: %+v", c)
	}
	for _, j := range []*Journal{studio, backup} {
		for _, r := range []site.ClaimRequest{{ID: "1"}, {ID: "3"}, {ID: "3", Spent: "4"}} {
			if c := claim(t, j, "A", r); c.ID != "1" || !c.Wanted || !c.At.Equal(seen.At) || c.Replaceable {
				t.Errorf("it is confirmed: %+v", c)
			}
		}
	}
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "1", InUse: true}); c.ID != "1" || c.Wanted {
		t.Errorf("it is not confirmed: %+v", c)
	}
	expire(t, db)
	old := claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	if !old.Wanted || !old.Replaceable {
		t.Fatalf("%+v", old)
	}
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "5", Stale: old}); c.ID != "5" || c.Wanted || c.Replaceable {
		t.Errorf("%+v", c)
	}
	if c := claim(t, backup, "A", site.ClaimRequest{ID: "1"}); c.ID != "5" || c.Wanted {
		t.Errorf("%+v", c)
	}
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "5" {
		t.Errorf("%+v", c)
	}
	expire(t, db)
	old = claim(t, home, "B", site.ClaimRequest{ID: "2"})
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "2" || c.Account != "B" {
		t.Errorf("it is not replaced: %+v", c)
	}
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2"}); c.ID != "2" || c.Wanted {
		t.Errorf("%+v", c)
	}
}

// A process that follows another one on its route need not wait when the account has been changed, unless a process of
// another route has the claim too.
func TestReplaceClaimOfOnesOwnRoute(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	old := claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	old = claim(t, studio, "B", site.ClaimRequest{ID: "2"})
	if !old.Replaceable {
		t.Fatalf("%+v", old)
	}
	claim(t, home, "A", site.ClaimRequest{ID: "3"})
	if c := claim(t, studio, "B", site.ClaimRequest{ID: "2", Stale: old}); c.ID != "1" || c.Replaceable {
		t.Errorf("it is replaced while another route may create it: %+v", c)
	}
	claim(t, studio, "A", site.ClaimRequest{Name: "b", ID: "4"})
	old = claim(t, studio, "B", site.ClaimRequest{Name: "b", ID: "5"})
	if c := claim(t, studio, "B", site.ClaimRequest{Name: "b", ID: "5", Stale: old}); c.ID != "5" || c.Account != "B" {
		t.Errorf("%+v", c)
	}
}

// What the last process of a route has claimed is kept from other accounts for half a minute after the next one begins,
// unless it is a large file, or a process of another route has the claim too.
func TestInheritedClaims(t *testing.T) {
	db := open(t)
	studio, backup, home := journal(t, db, "studio"), journal(t, db, "backup"), journal(t, db, "home")
	for _, name := range []string{"a", "shared", "large"} {
		claim(t, studio, "A", site.ClaimRequest{Name: name, ID: name})
	}
	claim(t, backup, "A", site.ClaimRequest{Name: "shared", ID: "2"})
	setHold := func(of time.Duration, names ...string) {
		t.Helper()
		_, err := db.db.Collection("claims").UpdateMany(t.Context(), bson.M{"_id.name": bson.M{"$in": names}},
			bson.M{"$set": bson.M{"hold": of.Milliseconds()}})
		if err != nil {
			t.Fatal(err)
		}
	}
	setHold(3*time.Minute, "a", "shared")
	setHold(32*time.Minute, "large")
	age := func(by time.Duration) {
		t.Helper()
		_, err := db.db.Collection("claims").UpdateMany(t.Context(), bson.M{}, mongo.Pipeline{{{Key: "$set",
			Value: bson.M{"at": bson.M{"$subtract": bson.A{"$at", by.Milliseconds()}}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(replaceable map[string]bool) {
		t.Helper()
		for name, want := range replaceable {
			if c := claim(t, home, "B", site.ClaimRequest{Name: name, ID: "3"}); c.Replaceable != want {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
	age(time.Minute)
	if err := studio.Inherit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(map[string]bool{"a": false, "shared": false, "large": false})
	age(inheritedHold)
	want(map[string]bool{"a": true, "shared": false, "large": false})
	// Who goes on with the name has its full time again.
	claim(t, studio, "A", site.ClaimRequest{Name: "a", ID: "a"})
	want(map[string]bool{"a": false})
}

// An id that can't be created with any more is replaced at once, by whoever finds out, and only once.
func TestSpentClaim(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	if c := claim(t, home, "B", site.ClaimRequest{ID: "2", Spent: "1"}); c.ID != "2" || c.Account != "B" {
		t.Errorf("%+v", c)
	}
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "3", Spent: "1"}); c.ID != "2" || c.Account != "B" {
		t.Errorf("%+v", c)
	}
}

// Where another route's process may be creating it, an id is not replaced on suspicion.
func TestSpentClaimIfSole(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	claim(t, studio, "A", site.ClaimRequest{ID: "1"})
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "2", Spent: "1", IfSole: true}); c.ID != "2" {
		t.Errorf("it is not replaced: %+v", c)
	}
	claim(t, home, "A", site.ClaimRequest{ID: "3"})
	for _, j := range []*Journal{studio, home} {
		if c := claim(t, j, "A", site.ClaimRequest{ID: "4", Spent: "2", IfSole: true}); c.ID != "2" {
			t.Errorf("it is replaced: %+v", c)
		}
	}
	if c := claim(t, home, "A", site.ClaimRequest{ID: "4", Spent: "2"}); c.ID != "4" {
		t.Errorf("it is not replaced: %+v", c)
	}
}

// What an older version has reserved is claimed under its id, by the account that it is for, or, if that is not known,
// by the one that asks first.
func TestClaimOfAnOlderReservation(t *testing.T) {
	db := open(t)
	studio, home := journal(t, db, "studio"), journal(t, db, "home")
	if _, err := db.db.Collection("ids").InsertMany(t.Context(), []any{
		reserved{Folder: "folder", Names: []string{"a", "b"}, IDs: []string{"1", "2"}, Account: "A", Token: 2, Write: 1,
			At: time.Now()},
		reserved{Folder: "folder", Names: []string{"a"}, IDs: []string{"late"}, Account: "A", Token: 1, Write: 7,
			At: time.Now()},
		reserved{Folder: "another", Names: []string{"a"}, IDs: []string{"3"}, At: time.Now()},
	}); err != nil {
		t.Fatal(err)
	}
	found, err := studio.Reserved(t.Context(), "folder")
	if err != nil || len(found) != 2 || found["a"].ID != "1" || found["b"].ID != "2" || found["a"].Account != "A" {
		t.Fatalf("%v, %v", found, err)
	}
	if found, err = studio.Reserved(t.Context(), "no such folder"); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	if found, err = studio.Reserved(t.Context(), "another"); err != nil || found["a"].ID != "3" {
		t.Errorf("%v, %v", found, err)
	}
	// Nobody creates with it any more, but what was created counts.
	old := claim(t, home, "B", site.ClaimRequest{ID: "1", Account: "A"})
	if old.ID != "1" || old.Account != "A" || !old.Replaceable {
		t.Fatalf("%+v", old)
	}
	if c := claim(t, studio, "A", site.ClaimRequest{ID: "1"}); c.ID != "1" || c.Account != "A" {
		t.Errorf("%+v", c)
	}
	if c := claim(t, home, "B", site.ClaimRequest{ID: "4", Stale: old}); c.ID != "1" || c.Replaceable {
		t.Errorf("it is replaced while A may create it: %+v", c)
	}
	if _, err := db.db.Collection("ids").DeleteMany(t.Context(), bson.M{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if found, err = home.Reserved(t.Context(), "folder"); err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
	}
}

// A process that has lost its lease without noticing neither changes what others have claimed nor is it told that it
// may go on.
func TestLateClaim(t *testing.T) {
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
	successor := journal(t, db, "studio")
	claim(t, successor, "B", site.ClaimRequest{ID: "successor"})
	// Its clocks have stood still, so that it takes the lease for its own.
	late := []site.ClaimRequest{{Folder: "folder", Name: "a", ID: "paused", Account: "A"},
		{Folder: "folder", Name: "b", ID: "paused", Account: "A"}}
	if _, err := j.Claim(t.Context(), "A", hold, late); !errors.Is(err, errNotHeld) {
		t.Errorf("the paused one may go on: %v", err)
	}
	if c := claim(t, successor, "B", site.ClaimRequest{ID: "2"}); c.ID != "successor" {
		t.Errorf("%+v", c)
	}
	// Also what it has claimed is no obstacle.
	c := claim(t, successor, "B", site.ClaimRequest{Name: "b", ID: "2"})
	if c = claim(t, successor, "B", site.ClaimRequest{Name: "b", ID: "2", Stale: c}); c.ID != "2" {
		t.Errorf("%+v", c)
	}
}

// All that is claimed at once is one command to the database, and nothing more if it is new.
func TestClaimIsOneWrite(t *testing.T) {
	set := mongod.Shared(t)
	var commands []string
	var mu sync.Mutex
	client, err := mongo.Connect(options.Client().ApplyURI(set.URI()).SetMonitor(&event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(e.Command.String(), `"claims"`) {
				commands = append(commands, e.CommandName)
			}
		}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.WithoutCancel(t.Context()))
	j := journal(t, Open(client, mongod.Database(t).Name()), "studio")
	var requests []site.ClaimRequest
	for i := range 1000 {
		requests = append(requests, site.ClaimRequest{Folder: "folder", ID: fmt.Sprintf("1%032d", i), Account: "A",
			Name: fmt.Sprintf("%s%04d.exr", strings.Repeat("x", 240), i)})
	}
	for _, want := range []string{"update", "update find getMore"} {
		mu.Lock()
		commands = nil
		mu.Unlock()
		if _, err := j.Claim(t.Context(), "A", hold, requests); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if got := strings.Join(commands, " "); got != want {
			t.Errorf("the commands are %s, want %s", got, want)
		}
		mu.Unlock()
	}
}

func TestSession(t *testing.T) {
	j := journal(t, open(t), "studio")
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

// No two routes are given one session, also if their accounts are the same. One that an older version has saved is
// given to one of them, and to its next process.
func TestSessionsOfTwoRoutes(t *testing.T) {
	db := open(t)
	at := time.Now()
	js := []*Journal{journal(t, db, "studio"), journal(t, db, "home")}
	if err := js[0].SaveSession(t.Context(), "f", 5, at, "studio's"); err != nil {
		t.Fatal(err)
	}
	if uri, err := js[1].Session(t.Context(), "f", 5, at); uri != "" || err != nil {
		t.Errorf("%q, %v", uri, err)
	}
	if err := js[1].DropSession(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if uri, err := js[0].Session(t.Context(), "f", 5, at); uri != "studio's" || err != nil {
		t.Errorf("%q, %v", uri, err)
	}
	older := func(key string, size int64) {
		if _, err := db.db.Collection("sessions").InsertOne(t.Context(), session{key, size, at.UnixNano(), "older",
			at}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		key := fmt.Sprint("g", i)
		older(key, 5)
		var got [2]string
		var wg sync.WaitGroup
		for i, j := range js {
			wg.Go(func() {
				var err error
				if got[i], err = j.Session(t.Context(), key, 5, at); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got != [2]string{"older", ""} && got != [2]string{"", "older"} {
			t.Fatalf("they are given %q", got)
		}
		for i, j := range js {
			next := &Journal{Database: db, Lease: j.Lease}
			if uri, err := next.Session(t.Context(), key, 5, at); uri != got[i] || err != nil {
				t.Errorf("%q, %v; it was %q", uri, err, got[i])
			}
		}
	}
	older("h", 6) // of another source
	if uri, err := js[0].Session(t.Context(), "h", 5, at); uri != "" || err != nil {
		t.Errorf("%q, %v", uri, err)
	}
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
	if _, err := j.Claim(t.Context(), "A", hold, []site.ClaimRequest{{Name: "a", ID: "1"}}); err == nil {
		t.Error("a name is claimed without the lease")
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
	for name, after := range map[string]int32{"claims": 2 * 24 * 3600, "sessions": 7 * 24 * 3600} {
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
