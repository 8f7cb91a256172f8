package avalon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"sitesync/integration/mongod"
)

const (
	project = "Test"
	gdrive  = "gdrive"
)

var route = Route{From: "studio", To: gdrive}

// newStore returns a store on an empty database and the project's collection in it.
func newStore(t *testing.T) (*Store, *mongo.Collection) {
	t.Helper()
	db := mongod.Database(t)
	return NewStore(db.Client(), db.Name()), db.Collection(project)
}

func recorder(s *Store) *Recorder { return s.Recorder(route, func() error { return nil }) }

func insert(t *testing.T, coll *mongo.Collection, docs ...bson.D) []Key {
	t.Helper()
	var keys []Key
	for _, d := range docs {
		res, err := coll.InsertOne(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, Key{Project: coll.Name(), ID: NewID(res.InsertedID.(bson.ObjectID))})
	}
	return keys
}

var published = time.Date(2020, 6, 18, 8, 42, 43, 0, time.UTC)

// representation is a document with the given entries in files.
func representation(files ...any) bson.D {
	return bson.D{{Key: "type", Value: "representation"}, {Key: "name", Value: "ma"},
		{Key: "context", Value: bson.D{{Key: "root", Value: "/mnt/studio"}}}, {Key: "files", Value: bson.A(files)}}
}

// entry is a file that the studio has.
func entry(path string, sites any) bson.D {
	return bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "path", Value: path}, {Key: "size", Value: int64(5)},
		{Key: "hash", Value: "a,ma|1592468963,24|5"}, {Key: "sites", Value: sites}}
}

// list and dict are the two forms of sites, with the given fields in the gdrive record.
func list(fields ...bson.E) bson.A {
	return bson.A{
		bson.D{{Key: "name", Value: "studio"}, {Key: "created_dt", Value: published}},
		append(bson.D{{Key: "name", Value: gdrive}}, fields...),
	}
}

func dict(fields ...bson.E) bson.D {
	return bson.D{
		{Key: "studio", Value: bson.D{{Key: "created_dt", Value: published}}},
		{Key: gdrive, Value: append(bson.D{}, fields...)},
	}
}

func pendingKeys(t *testing.T, s *Store, retryCount int) []Key {
	t.Helper()
	var keys []Key
	for c, err := range s.Pending(t.Context(), project, Rules{Route: route, RetryCount: retryCount}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, c.Key)
	}
	return keys
}

func TestPending(t *testing.T) {
	s, coll := newStore(t)
	done := bson.E{Key: "created_dt", Value: published}
	tests := []struct {
		name  string
		sites any
		want  bool
	}{
		{"skeleton", list(), true},
		{"skeleton in a dict", dict(), true},
		{"synced", list(done), false},
		{"synced in a dict", dict(done), false},
		{"created_dt null", list(bson.E{Key: "created_dt", Value: nil}), true},
		{"created_dt null in a dict", dict(bson.E{Key: "created_dt", Value: nil}), true},
		{"no skeleton", bson.A{bson.D{{Key: "name", Value: "studio"}, done}}, false},
		{"no skeleton in a dict", bson.D{{Key: "studio", Value: bson.D{done}}}, false},
		{"paused", list(bson.E{Key: "paused", Value: true}), false},
		{"paused in a dict", dict(bson.E{Key: "paused", Value: true}), false},
		{"paused no more", list(bson.E{Key: "paused", Value: false}), true},
		{"paused no more in a dict", dict(bson.E{Key: "paused", Value: nil}), true},
		{"tries left", list(bson.E{Key: "tries", Value: 2}), true},
		{"tries null", list(bson.E{Key: "tries", Value: nil}), true},
		{"tries as text", list(bson.E{Key: "tries", Value: "1"}), true},
		{"tries used up", list(bson.E{Key: "tries", Value: 3}), false},
		{"tries used up, as text", list(bson.E{Key: "tries", Value: "3"}), false},
		{"tries used up in a dict", dict(bson.E{Key: "tries", Value: "3"}), false},
		{"tries used up, as double", list(bson.E{Key: "tries", Value: 3.0}), false},
		{"sites is a text", "gdrive", false},
	}
	want := map[Key]string{}
	for _, tt := range tests {
		keys := insert(t, coll, representation(entry("{root}/a", tt.sites)))
		if tt.want {
			want[keys[0]] = tt.name
		}
	}
	insert(t, coll, bson.D{{Key: "type", Value: "version"}, {Key: "files", Value: bson.A{entry("{root}/a", list())}}})

	for range 2 {
		got := map[Key]string{}
		for _, k := range pendingKeys(t, s, 3) {
			got[k] = want[k]
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
			t.Errorf("pending (-want +got):\n%s", diff)
		}
		if err := s.EnsureIndex(t.Context(), mustProjects(t, s)[0], route); err != nil {
			t.Fatal(err)
		}
	}
}

// MongoDB forgets a cursor that is not read from for a while.
func TestPendingOutlivesItsCursor(t *testing.T) {
	const batch = 5000
	s, coll := newStore(t)
	var docs []any
	for range batch + 100 {
		docs = append(docs, representation(entry("{root}/a", list())))
	}
	if _, err := coll.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	fail(t, mongod.Times(1), codeCursorNotFound, "getMore")
	found := map[Key]bool{}
	for _, key := range pendingKeys(t, s, 3) {
		found[key] = true
	}
	if len(found) != len(docs) {
		t.Errorf("%d found, want %d", len(found), len(docs))
	}
}

// Who may not, is told what to ask for.
func TestErrorsNameTheMend(t *testing.T) {
	s, coll := newStore(t)
	key := insert(t, coll, representation(entry("{root}/a", list())))[0]
	f := read(t, s, key)
	listed := mustProjects(t, s)
	calls := map[string]func() error{
		"listCollections": func() error { _, err := s.Projects(t.Context()); return err },
		"createIndexes":   func() error { return s.EnsureIndex(t.Context(), listed[0], route) },
		"find": func() error {
			for _, err := range s.Pending(t.Context(), project, Rules{Route: route, RetryCount: 3}) {
				return err
			}
			return nil
		},
		"aggregate": func() error { _, err := s.Changes(t.Context(), route); return err },
		"update": func() error {
			_, err := recorder(s).Record(t.Context(), key, []Outcome{{File: f, RemoteID: "x", At: published}})
			return err
		},
	}
	for command, call := range calls {
		fail(t, mongod.Times(1), codeUnauthorized, command)
		err := call()
		want := "grant the user the role readWrite on database " + s.db.Name()
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: error %v, want one that ends in %q", command, err, want)
		}
	}
	var malformed *MalformedError
	fail(t, mongod.Times(1), codeUnauthorized, "find")
	if _, err := s.Representation(t.Context(), key); err == nil || errors.As(err, &malformed) ||
		errors.Is(err, ErrNotFound) {
		t.Errorf("representation: error %v, want one that calls for trying again", err)
	}
}

// fail makes commands fail.
func fail(t *testing.T, mode any, code int, commands ...string) {
	t.Helper()
	m, err := mongod.Shared(t).Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	off, err := m.FailPoint(t.Context(), "failCommand", mode,
		bson.D{{Key: "failCommands", Value: commands}, {Key: "errorCode", Value: code}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := off(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A poll reads what can be due and nothing else, as MongoDB's profiler tells.
func TestPendingReadsNothingThatCantBeDue(t *testing.T) {
	const each, due = 20, 3
	s, coll := newStore(t)
	done := bson.E{Key: "created_dt", Value: published}
	created := bson.D{{Key: "name", Value: "studio"}, done}
	var docs []any
	add := func(n int, sites any) {
		for range n {
			docs = append(docs, representation(entry("{root}/a", sites)))
		}
	}
	for _, fields := range [][]bson.E{
		{done}, {{Key: "tries", Value: 3}}, {{Key: "tries", Value: 7.5}}, {{Key: "tries", Value: "3"}}, {{Key: "tries",
			Value: "12"}},
		{{Key: "paused", Value: true}}, {{Key: "paused", Value: 1}, {Key: "tries", Value: 1}},
	} {
		add(each, list(fields...))
		add(each, dict(fields...))
	}
	add(each, bson.D{{Key: "studio", Value: bson.D{}}, {Key: gdrive, Value: bson.D{}}})
	add(each, bson.D{{Key: gdrive, Value: bson.D{}}})
	add(each, bson.A{created, bson.D{{Key: "name", Value: "local_0"}}})
	for range each {
		docs = append(
			docs,
			bson.D{
				{Key: "type", Value: "archived_representation"},
				{Key: "files", Value: bson.A{entry("{root}/a", list())}},
			},
		)
	}
	missing := len(docs)
	add(each, bson.A{bson.D{{Key: "name", Value: "studio"}}, bson.D{{Key: "name", Value: gdrive}}})
	add(due, list())
	add(due, dict())
	add(due, list(bson.E{Key: "tries", Value: "2"}))
	add(due, dict(bson.E{Key: "tries", Value: "2"}, bson.E{Key: "paused", Value: false}))
	res, err := coll.InsertMany(t.Context(), docs)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureIndex(t.Context(), mustProjects(t, s)[0], route); err != nil {
		t.Fatal(err)
	}
	want, got := map[Candidate]int{}, map[Candidate]int{}
	for i, id := range res.InsertedIDs[missing:] {
		want[Candidate{Key{project, NewID(id.(bson.ObjectID))}, i < each}] = 1
	}
	requests, read := profiled(t, s, func() {
		for c, err := range s.Pending(t.Context(), project, Rules{Route: route, RetryCount: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			got[c]++
		}
	})
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
	// What is due and not as Pype writes it is read, and MongoDB counts a document twice that two stages of its plan
	// look at.
	if requests != 3 || read > 2*3*due {
		t.Errorf("%d requests have read %d documents, want 3 and %d", requests, read, 2*3*due)
	}
}

// A few dicts need no index of their own: the one for lists finds them.
func TestFewDictsArePending(t *testing.T) {
	const due = 3
	s, coll := newStore(t)
	for range 300 {
		insert(t, coll, representation(entry("{root}/a", list(bson.E{Key: "created_dt", Value: published}))))
	}
	want := map[Key]string{}
	for range due {
		want[insert(t, coll, representation(entry("{root}/a", dict())))[0]] = ""
	}
	must(t, s.EnsureIndex(t.Context(), mustProjects(t, s)[0], route))
	got := map[Key]string{}
	_, read := profiled(t, s, func() {
		for _, k := range pendingKeys(t, s, 3) {
			got[k] = ""
		}
	})
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
	if read > 2*due {
		t.Errorf("%d documents were read for %d that are due", read, due)
	}
}

// profiled counts the requests on the project that do makes, and the documents that the server reads for them.
func profiled(t *testing.T, s *Store, do func()) (requests, read int) {
	t.Helper()
	level := func(n int) { must(t, s.db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: n}}).Err()) }
	level(2)
	do()
	level(0)
	var ops []struct {
		Docs int `bson:"docsExamined"`
	}
	cur, err := s.db.Collection("system.profile").
		Find(t.Context(), bson.D{{Key: "ns", Value: s.db.Name() + "." + project}})
	must(t, err)
	must(t, cur.All(t.Context(), &ops))
	for _, op := range ops {
		read += op.Docs
	}
	return len(ops), read
}

func mustProjects(t *testing.T, s *Store) []Project {
	t.Helper()
	list, err := s.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEnsureIndexNeverCreatesAProject(t *testing.T) {
	s, coll := newStore(t)
	insert(t, coll, representation())
	listed := mustProjects(t, s)
	if err := coll.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureIndex(t.Context(), listed[0], route); !errors.Is(err, ErrNotFound) {
		t.Errorf("index of a dropped project: %v, want ErrNotFound", err)
	}
	if left := mustProjects(t, s); len(left) != 0 {
		t.Errorf("projects after that: %v, want none", left)
	}
}

func TestProjectsAreCollections(t *testing.T) {
	s, coll := newStore(t)
	insert(t, coll, representation())
	if err := s.db.CreateView(t.Context(), "view", project, mongo.Pipeline{}); err != nil {
		t.Fatal(err)
	}
	if got := mustProjects(t, s); len(got) != 1 || got[0].Name != project {
		t.Errorf("projects: %v, want only %s", got, project)
	}
}

// read returns the first file of a representation.
func read(t *testing.T, s *Store, key Key) File {
	t.Helper()
	r, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return r.Files[0]
}

// siteRecord returns a file's gdrive record as it stands in the database, without what precedes it.
func siteRecord(t *testing.T, coll *mongo.Collection, key Key, file string) bson.Raw {
	t.Helper()
	doc, err := coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: key.ID}}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	sites := doc.Lookup("files", file, "sites")
	if d, ok := sites.DocumentOK(); ok {
		return d.Lookup(gdrive).Document()
	}
	values, err := sites.Array().Values()
	if err != nil {
		t.Fatal(err)
	}
	return values[len(values)-1].Document()
}

func types(doc bson.Raw) map[string]bson.Type {
	m := map[string]bson.Type{}
	elems, _ := doc.Elements()
	for _, e := range elems {
		m[e.Key()] = e.Value().Type
	}
	return m
}

func TestRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("CET", 3600))
	failedBefore := []bson.E{
		{Key: "error", Value: "no"},
		{Key: "tries", Value: 1.0},
		{Key: "last_failed_dt", Value: published},
	}
	forms := map[string]func(...bson.E) any{
		"list": func(f ...bson.E) any { return list(f...) },
		"dict": func(f ...bson.E) any { return dict(f...) },
	}
	for form, sites := range forms {
		t.Run(form, func(t *testing.T) {
			s, coll := newStore(t)
			key := insert(t, coll, representation(entry("{root}/a", sites(failedBefore...)),
				entry("{root}/b", sites())))[0]

			record := func(o Outcome) {
				t.Helper()
				o.File, o.At = read(t, s, key), at
				if _, err := recorder(s).Record(t.Context(), key, []Outcome{o}); err != nil {
					t.Fatal(err)
				}
			}

			record(Outcome{Error: "disk on fire"})
			rec := siteRecord(t, coll, key, "0")
			want := map[string]bson.Type{
				"error":          bson.TypeString,
				"tries":          bson.TypeInt32,
				"last_failed_dt": bson.TypeDateTime,
			}
			if form == "list" {
				want["name"] = bson.TypeString
			}
			if diff := cmp.Diff(want, types(rec)); diff != "" {
				t.Errorf("types after a failure (-want +got):\n%s", diff)
			}
			if n := rec.Lookup("tries").Int32(); n != 2 {
				t.Errorf("tries = %d after one more, want 2", n)
			}

			record(Outcome{RemoteID: "drive-id"})
			rec = siteRecord(t, coll, key, "0")
			want = map[string]bson.Type{"created_dt": bson.TypeDateTime, "id": bson.TypeString}
			if form == "list" {
				want["name"] = bson.TypeString
			}
			if diff := cmp.Diff(want, types(rec)); diff != "" {
				t.Errorf("types after a success (-want +got):\n%s", diff)
			}
			if got := rec.Lookup("created_dt").Time(); !got.Equal(at) {
				t.Errorf("created_dt = %v, want %v", got, at)
			}
			if other := siteRecord(t, coll, key, "1"); !other.Lookup("created_dt").IsZero() {
				t.Errorf("the other file was touched: %v", other)
			}
		})
	}
}

func TestRecordLeavesAloneWhatChanged(t *testing.T) {
	update := func(set bson.D) func(*testing.T, *mongo.Collection, Key) {
		return func(t *testing.T, coll *mongo.Collection, key Key) {
			if _, err := coll.UpdateByID(t.Context(), key.ID, set); err != nil {
				t.Fatal(err)
			}
		}
	}
	set := func(k string, v any) bson.D { return bson.D{{Key: "$set", Value: bson.D{{Key: k, Value: v}}}} }
	failed := []bson.E{{Key: "tries", Value: int32(1)}, {Key: "error", Value: "no"}}
	tests := []struct {
		name    string
		change  func(*testing.T, *mongo.Collection, Key)
		outcome Outcome
		why     string
	}{
		{
			"another path",
			update(set("files.0.path", "{root}/other")),
			Outcome{RemoteID: "x"},
			"the file is no longer in the representation",
		},
		{
			"another size",
			update(set("files.0.size", int64(6))),
			Outcome{RemoteID: "x"},
			"the file was replaced by another one in the representation",
		},
		{
			"another hash",
			update(set("files.0.hash", "b")),
			Outcome{RemoteID: "x"},
			"the file was replaced by another one in the representation",
		},
		{
			"another id",
			update(set("files.0._id", bson.NewObjectID())),
			Outcome{RemoteID: "x"},
			"the file is no longer in the representation",
		},
		{
			"already marked",
			update(set("files.0.sites.1.created_dt", published)),
			Outcome{RemoteID: "x"},
			"another process has recorded it",
		},
		{"site gone", update(set("files.0.sites", bson.A{})), Outcome{RemoteID: "x"}, "its record of the site is gone"},
		{
			"sites now a dict",
			update(set("files.0.sites", dict())),
			Outcome{RemoteID: "x"},
			"its record of the site was replaced",
		},
		{
			"files gone",
			update(set("files", bson.A{})),
			Outcome{RemoteID: "x"},
			"the file is no longer in the representation",
		},
		{
			"tries deleted, then failed",
			update(bson.D{{Key: "$unset", Value: bson.D{{Key: "files.0.sites.1.tries", Value: ""}}}}),
			Outcome{Error: "again"},
			"its tries were changed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, coll := newStore(t)
			key := insert(t, coll, representation(entry("{root}/a", list(failed...))))[0]
			tt.outcome.File, tt.outcome.At = read(t, s, key), time.Now()
			tt.change(t, coll, key)
			before := document(t, coll, key)
			lost, err := recorder(s).Record(t.Context(), key, []Outcome{tt.outcome})
			if err != nil {
				t.Fatal(err)
			}
			if got := lost[tt.outcome.File.Key()]; len(lost) != 1 || got != tt.why {
				t.Errorf("lost: %v, want %q", lost, tt.why)
			}
			if diff := cmp.Diff(before, document(t, coll, key)); diff != "" {
				t.Errorf("the document was touched (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("representation gone", func(t *testing.T) {
		s, coll := newStore(t)
		key := insert(t, coll, representation(entry("{root}/a", list())))[0]
		f := read(t, s, key)
		if _, err := coll.DeleteMany(t.Context(), bson.D{}); err != nil {
			t.Fatal(err)
		}
		lost, err := recorder(s).Record(t.Context(), key, []Outcome{{File: f, RemoteID: "x", At: time.Now()}})
		if err != nil || lost[f.Key()] != "the representation is gone" {
			t.Fatal(lost, err)
		}
		if _, err := s.Representation(t.Context(), key); !errors.Is(err, ErrNotFound) {
			t.Errorf("read: %v, want ErrNotFound", err)
		}
	})
}

// Of several outcomes of a representation, those that still apply are written, and just the others are lost.
func TestRecordWhatStillApplies(t *testing.T) {
	for name, written := range map[string]bool{"for the first time": false, "again, as the answer was lost": true} {
		t.Run(name, func(t *testing.T) {
			s, coll := newStore(t)
			key := insert(t, coll, representation(entry("{root}/a", list()), entry("{root}/b", dict()),
				entry("{root}/c", list()), entry("{root}/d", dict()),
				entry("{root}/e", list())))[0]
			rep, err := s.Representation(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			var outcomes []Outcome
			for _, f := range rep.Files {
				outcomes = append(outcomes, Outcome{File: f, RemoteID: f.Path, At: at})
			}
			outcomes[4] = Outcome{File: rep.Files[4], Error: "no", At: at}
			if written {
				if lost, err := recorder(s).Record(t.Context(), key, outcomes); len(lost) > 0 || err != nil {
					t.Fatal(lost, err)
				}
			}
			for field, value := range map[string]any{"files.0.size": 7,
				"files.1.sites.gdrive": bson.D{{Key: "created_dt", Value: published}}} {
				if _, err := coll.UpdateByID(t.Context(), key.ID,
					bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}); err != nil {
					t.Fatal(err)
				}
			}
			lost, err := recorder(s).Record(t.Context(), key, outcomes)
			want := Lost{rep.Files[0].Key(): "the file was replaced by another one in the representation",
				rep.Files[1].Key(): "another process has recorded it"}
			if diff := cmp.Diff(want, lost, cmp.AllowUnexported(ID{})); diff != "" || err != nil {
				t.Errorf("lost (-want +got):\n%s%v", diff, err)
			}
			for _, file := range []string{"2", "3"} {
				if siteRecord(t, coll, key, file).Lookup("created_dt").IsZero() {
					t.Errorf("file %s is not recorded", file)
				}
			}
			if rec := siteRecord(t, coll, key, "4"); rec.Lookup("tries").AsInt64() != 1 {
				t.Errorf("a failure is recorded as %s", rec)
			}
		})
	}
}

// Outcomes of many representations go in one request; that some of them are lost is known of just these.
func TestRecordTogetherWithWhatIsLost(t *testing.T) {
	s, coll := newStore(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			key := insert(t, coll, representation(entry("{root}/a", list())))[0]
			f := read(t, s, key)
			if i%10 == 0 {
				if _, err := coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: key.ID}}); err != nil {
					t.Error(err)
				}
			}
			lost, err := recorder(s).Record(t.Context(), key, []Outcome{{File: f, RemoteID: "x", At: time.Now()}})
			if _, is := lost[f.Key()]; err != nil || is != (i%10 == 0) {
				t.Errorf("%d: %v, %v", i, lost, err)
			}
		})
	}
	wg.Wait()
}

func document(t *testing.T, coll *mongo.Collection, key Key) string {
	t.Helper()
	doc, err := coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: key.ID}}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	return doc.String()
}

// Positions shift, forms are mixed, an _id is shared, and more files come than fit one update.
func TestRecordMany(t *testing.T) {
	s, coll := newStore(t)
	var files []any
	for i := range maxGroup + 20 {
		sites := any(list())
		if i%2 == 1 {
			sites = dict()
		}
		files = append(files, entry("{root}/"+string(rune('a'+i)), sites))
	}
	shared := bson.NewObjectID()
	for _, i := range []int{3, 4} {
		f := files[i].(bson.D)
		f[0].Value = shared
	}
	key := insert(t, coll, representation(files...))[0]
	r, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	if _, err := coll.UpdateByID(t.Context(), key.ID,
		bson.D{{Key: "$set", Value: bson.D{{Key: "files", Value: files}}}}); err != nil {
		t.Fatal(err)
	}
	var outcomes []Outcome
	for _, f := range r.Files {
		outcomes = append(outcomes, Outcome{File: f, RemoteID: f.Path, At: published})
	}
	if _, err := recorder(s).Record(t.Context(), key, outcomes); err != nil {
		t.Fatal(err)
	}
	r, err = s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if rec, _ := f.RecordFor(gdrive); !rec.Created || rec.RemoteID != f.Path {
			t.Errorf("%s: created %v, id %q", f.Path, rec.Created, rec.RemoteID)
		}
	}
}

// Values are compared with what was read and written as they are, whatever they are.
func TestRecordOddValues(t *testing.T) {
	values := map[string]any{"null": nil, "text": "1", "expression": "$files", "int64": int64(1), "double": 1.0,
		"decimal": decimal(
			t,
			"1",
		), "NaN": math.NaN(), "bool": true, "document": bson.D{{Key: "$size", Value: "$files"}},
		"array": bson.A{1}, "pattern": bson.Regex{Pattern: ".*"}, "undefined": bson.Undefined{}}
	forms := map[string]func(...bson.E) any{
		"list": func(f ...bson.E) any { return list(f...) },
		"dict": func(f ...bson.E) any { return dict(f...) },
	}
	s, coll := newStore(t)
	for name, value := range values {
		for form, sites := range forms {
			t.Run(name+" in a "+form, func(t *testing.T) {
				id := value
				switch name {
				case "null", "array", "pattern", "undefined": // are no ids
					id = name
				}
				key := insert(t, coll, representation(bson.D{{Key: "_id", Value: id},
					{Key: "path", Value: "$files.path"},
					{Key: "size", Value: value}, {Key: "hash", Value: value}, {Key: "note", Value: value},
					{Key: "sites", Value: sites(bson.E{Key: "tries", Value: value},
						bson.E{Key: "priority", Value: value})}}))[0]
				before := read(t, s, key)
				was, _ := before.RecordFor(gdrive)
				if _, err := recorder(s).Record(t.Context(), key,
					[]Outcome{{File: before, Error: "$$ROOT", At: published}}); err != nil {
					t.Fatal(err)
				}
				failed := read(t, s, key)
				got, _ := failed.RecordFor(gdrive)
				want := SiteRecord{Name: gdrive, Error: "$$ROOT", Tries: was.Tries + 1, LastFailed: published}
				if diff := cmp.Diff(want, got, decoded); diff != "" {
					t.Errorf("after a failure (-want +got):\n%s", diff)
				}
				if _, err := recorder(s).Record(t.Context(), key,
					[]Outcome{{File: failed, RemoteID: "$type", At: published}}); err != nil {
					t.Fatal(err)
				}
				synced := read(t, s, key)
				got, _ = synced.RecordFor(gdrive)
				want = SiteRecord{Name: gdrive, Created: true, CreatedAt: published, RemoteID: "$type"}
				if diff := cmp.Diff(want, got, decoded); diff != "" {
					t.Errorf("after a success (-want +got):\n%s", diff)
				}
				if siteRecord(t, coll, key, "0").Lookup("priority").Type != before.rawHash.Type {
					t.Error("what others wrote into the record is gone")
				}
			})
		}
	}
}

// What is no file, or no record, next to those that are recorded stays as it is.
func TestRecordAmongAnything(t *testing.T) {
	s, coll := newStore(t)
	key := insert(t, coll, representation(nil, "x", bson.A{bson.A{}, bson.D{}}, bson.D{},
		entry("{root}/a", bson.A{nil, "gdrive", bson.A{}, bson.D{},
			bson.D{{Key: "name", Value: gdrive}, {Key: "created_dt", Value: published}},
			bson.D{{Key: "name", Value: gdrive}}}),
		entry("{root}/b", nil), entry("{root}/c", bson.D{{Key: gdrive, Value: nil}}), entry("{root}/d", dict())))[0]
	r, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []Outcome
	for _, f := range r.Files {
		outcomes = append(outcomes, Outcome{File: f, RemoteID: "x", At: published})
	}
	if _, err := recorder(s).Record(t.Context(), key, outcomes); err != nil {
		t.Fatal(err)
	}
	again, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Files {
		for j := range r.Files[i].Sites {
			if site := &r.Files[i].Sites[j]; site.Name == gdrive && site.Problem == "" {
				*site = SiteRecord{Name: gdrive, Created: true, CreatedAt: published, RemoteID: site.RemoteID}
			}
		}
	}
	r.Files[4].Sites[len(r.Files[4].Sites)-1].RemoteID = "x" // the one of the two that was open
	r.Files[7].Sites[1].RemoteID = "x"
	if diff := cmp.Diff(r, again, decoded); diff != "" {
		t.Errorf("representation (-want +got):\n%s", diff)
	}
}

// The database refuses one outcome of a group: the others are written all the same.
func TestRecordPoisonedEntry(t *testing.T) {
	s, coll := newStore(t)
	key := insert(t, coll, representation(entry("{root}/a", list()), entry("{root}/b", dict()),
		entry("{root}/c", list())))[0]
	r, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	validator := bson.D{{Key: "files.sites." + gdrive + ".id", Value: bson.D{{Key: "$ne", Value: "{root}/b"}}}}
	if err := coll.Database().RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: project}, {Key: "validator", Value: validator}}).Err(); err != nil {
		t.Fatal(err)
	}
	var outcomes []Outcome
	for _, f := range r.Files {
		outcomes = append(outcomes, Outcome{File: f, RemoteID: f.Path, At: published})
	}
	_, err = recorder(s).Record(t.Context(), key, outcomes)
	var re *RecordError
	if !errors.As(err, &re) || len(re.Files) != 1 || re.Files[r.Files[1].Key()] == nil {
		t.Fatalf("error %v, want a RecordError of {root}/b", err)
	}
	if r, err = s.Representation(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	var marked []string
	for _, f := range r.Files {
		if rec, _ := f.RecordFor(gdrive); rec.Created {
			marked = append(marked, f.Path)
		}
	}
	if diff := cmp.Diff([]string{"{root}/a", "{root}/c"}, marked); diff != "" {
		t.Errorf("marked (-want +got):\n%s", diff)
	}
}

// Every way to make a file pending is a change, and nothing else is.
func TestChanges(t *testing.T) {
	upd := func(op, field string, v any) bson.D {
		return bson.D{{Key: op, Value: bson.D{{Key: field, Value: v}}}}
	}
	done := []bson.E{{Key: "created_dt", Value: published}, {Key: "id", Value: "x"}}
	failed := []bson.E{
		{Key: "error", Value: "no"},
		{Key: "tries", Value: int32(3)},
		{Key: "last_failed_dt", Value: published},
	}
	pause := bson.E{Key: "paused", Value: true}
	missing := func(fields ...bson.E) bson.A { // sites of a file that the studio does not have
		return bson.A{append(bson.D{{Key: "name", Value: "studio"}}, fields...), bson.D{{Key: "name", Value: gdrive}}}
	}
	const several = "outcomes of several files"
	tests := []struct {
		name   string
		sites  any
		change any // an update, or an Outcome to record
		want   bool
	}{
		{"tries deleted", list(failed...), upd("$unset", "files.0.sites.1.tries", ""), true},
		{"tries deleted in a dict", dict(failed...), upd("$unset", "files.0.sites.gdrive.tries", ""), true},
		{"tries set to 0", list(failed...), upd("$set", "files.0.sites.1.tries", 0), true},
		{"created_dt removed", list(done...), upd("$unset", "files.0.sites.1.created_dt", ""), true},
		{"created_dt removed in a dict", dict(done...), upd("$unset", "files.0.sites.gdrive.created_dt", ""), true},
		{"created_dt set to null", list(done...), upd("$set", "files.0.sites.1.created_dt", nil), true},
		{"skeleton pushed", bson.A{}, upd("$push", "files.$[].sites", bson.D{{Key: "name", Value: gdrive}}), true},
		{"skeleton added to a dict", bson.D{}, upd("$set", "files.$[].sites.gdrive", bson.D{}), true},
		{"record emptied in a dict", dict(done...), upd("$set", "files.0.sites.gdrive", bson.D{}), true},
		{"record replaced", list(done...), upd("$set", "files.0.sites.1", bson.D{{Key: "name", Value: gdrive}}), true},
		{"record replaced, its failure kept", list(failed...), upd("$set", "files.0.sites.1",
			bson.D{{Key: "name", Value: gdrive}, {Key: "last_failed_dt", Value: published}}), true},
		{"record replaced in a dict, its failure kept", dict(failed...), upd("$set", "files.0.sites.gdrive",
			bson.D{{Key: "last_failed_dt", Value: published}}), true},
		{"sites replaced", list(done...), upd("$set", "files.0.sites", list()), true},
		{"file replaced", list(done...), upd("$set", "files.0", entry("{root}/a", list())), true},
		{"files replaced", list(done...), upd("$set", "files", bson.A{entry("{root}/a", list())}), true},
		{"path mended", list(), upd("$set", "files.0.path", "{root}/b"), true},
		{"our failure", list(), Outcome{Error: "no"}, false},
		{"our failure, told of as a whole", list(bson.E{Key: "progress", Value: 1}), Outcome{Error: "no"}, false},
		{"our second failure", list(failed...), Outcome{Error: "no"}, false},
		{"our success", list(), Outcome{RemoteID: "x"}, false},
		{"our success after failures", list(failed...), Outcome{RemoteID: "x"}, false},
		{"our success again, with the same id", list(bson.E{Key: "id", Value: "x"}), Outcome{RemoteID: "x"}, false},
		{"our failure in a dict", dict(), Outcome{Error: "no"}, false},
		{"our success in a dict", dict(failed...), Outcome{RemoteID: "x"}, false},
		{"our successes, of several files", list(), several, false},
		{"paused by $set", list(), upd("$set", "files.0.sites.1.paused", true), false},
		{"paused in a dict", dict(), upd("$set", "files.0.sites.gdrive.paused", true), false},
		{"paused by another value", list(), upd("$set", "files.0.sites.1.paused", 1), false},
		{"paused, the record replaced", list(failed...), upd("$set", "files.0.sites.1",
			bson.D{{Key: "name", Value: gdrive}, {Key: "paused", Value: true}}), false},
		{
			"paused, the record replaced in a dict",
			dict(failed...),
			upd("$set", "files.0.sites.gdrive", bson.D{{Key: "paused", Value: true}}),
			false,
		},
		{"paused, the sites replaced", list(), upd("$set", "files.0.sites", list(pause)), false},
		{"paused, the sites replaced by a dict", list(), upd("$set", "files.0.sites", dict(pause)), false},
		{"paused, the file replaced", list(), upd("$set", "files.0", entry("{root}/a", list(pause))), false},
		{
			"paused, all files replaced",
			list(),
			upd("$set", "files", bson.A{entry("{root}/a", list(pause)), entry("{root}/a", dict(pause))}),
			false,
		},
		{
			"paused skeleton pushed",
			bson.A{},
			upd("$push", "files.$[].sites", bson.D{{Key: "name", Value: gdrive}, pause}),
			false,
		},
		{"paused by array filters", list(), upd("$set", "files.$[].sites.$[s].paused", true), false},
		{"pause removed", list(pause), upd("$unset", "files.0.sites.1.paused", ""), true},
		{"pause removed in a dict", dict(pause), upd("$unset", "files.0.sites.gdrive.paused", ""), true},
		{"pause removed by array filters", list(pause), upd("$unset", "files.$[].sites.$[s].paused", ""), true},
		{"pause set to false", list(pause), upd("$set", "files.0.sites.1.paused", false), true},
		{"pause set to null", list(pause), upd("$set", "files.0.sites.1.paused", nil), true},
		{
			"pause removed, the record replaced",
			list(pause),
			upd("$set", "files.0.sites.1", bson.D{{Key: "name", Value: gdrive}}),
			true,
		},
		{"pause removed, the sites replaced", list(pause), upd("$set", "files.0.sites", list()), true},
		{
			"pause of one of two files removed",
			list(pause),
			upd("$set", "files", bson.A{entry("{root}/a", list(pause)), entry("{root}/b", list())}),
			true,
		},
		{"pause removed in a pipeline", list(pause), mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "files",
			Value: bson.A{entry("{root}/a", list())}}}}}}, true},
		{"source created", missing(), upd("$set", "files.0.sites.0.created_dt", published), true},
		{"source created, with an id", missing(), upd("$set", "files.0.sites.0", bson.D{{Key: "name", Value: "studio"},
			{Key: "id", Value: "x"}, {Key: "created_dt", Value: published}}), true},
		{"source created, its fields set", missing(bson.E{Key: "tries", Value: 1}), bson.D{{Key: "$set", Value: bson.D{
			{Key: "files.0.sites.0.created_dt", Value: published}, {Key: "files.0.sites.0.id", Value: "x"}}},
			{Key: "$unset", Value: bson.D{{Key: "files.0.sites.0.tries", Value: ""}}}}, true},
		{"source created by array filters", missing(), upd("$set", "files.$[].sites.$[a].created_dt", published), true},
		{"source created by a position", missing(), upd("$set", "files.$.sites.0.created_dt", published), true},
		{
			"source pushed",
			bson.A{bson.D{{Key: "name", Value: gdrive}}},
			upd("$push", "files.$[].sites", bson.D{{Key: "name", Value: "studio"},
				{Key: "created_dt", Value: published}}),
			true,
		},
		{"source created in a dict", bson.D{{Key: "studio", Value: bson.D{}}, {Key: gdrive, Value: bson.D{}}},
			upd("$set", "files.0.sites.studio.created_dt", published), true},
		{
			"source added to a dict",
			bson.D{{Key: gdrive, Value: bson.D{}}},
			upd("$set", "files.0.sites.studio", bson.D{{Key: "created_dt", Value: published}}),
			true,
		},
		{"source created in a pipeline", missing(), mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "files",
			Value: bson.A{entry("{root}/a", list())}}}}}}, true},
		{"source created, the sites replaced", missing(), upd("$set", "files.0.sites", list()), true},
		{
			"a site's name mended",
			bson.A{list()[0], bson.D{{Key: "name", Value: " gdrive"}}},
			upd("$set", "files.0.sites.1.name", gdrive),
			true,
		},
		{"source announced", list(), upd("$push", "files.$[].sites", bson.D{{Key: "name", Value: "studio"}}), false},
		{"another site", list(), upd("$push", "files.$[].sites", bson.D{{Key: "name", Value: "local_0"}}), false},
		{"another site in a dict", dict(), upd("$set", "files.0.sites.local_0.created_dt", published), false},
		{
			"odd values",
			list(),
			bson.D{
				{
					Key: "$set",
					Value: bson.D{
						{Key: "files.0.sites.0", Value: bson.A{bson.A{}}},
						{Key: "files.0.sites.1", Value: "x"},
					},
				},
			},
			false,
		},
		{"odd sites", list(), upd("$set", "files.0.sites", bson.A{nil, "x", bson.A{bson.D{}}, bson.D{}}), false},
		{
			"odd files",
			list(),
			upd("$set", "files", bson.A{nil, "x", bson.A{bson.D{}}, bson.D{{Key: "sites", Value: 7}}}),
			false,
		},
		{"no files", list(), upd("$set", "files", "x"), false},
		{"something else", list(), upd("$set", "data.comment", "files.0.sites"), false},
		{"progress", list(), upd("$set", "files.0.sites.1.progress", 0.5), false},
	}
	s, coll := newStore(t)
	var keys []Key
	for _, tt := range tests {
		doc := representation(entry("{root}/a", tt.sites))
		if fmt.Sprint(tt.change) == several {
			doc = representation(entry("{root}/a", tt.sites), entry("{root}/b", bson.A{}))
		}
		keys = append(keys, insert(t, coll, doc)...)
	}
	ch, err := s.Changes(t.Context(), route)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close(context.Background())

	want := map[Key]string{}
	for i, tt := range tests {
		if tt.want {
			want[keys[i]] = tt.name
		}
		switch c := tt.change.(type) {
		case Outcome:
			c.File, c.At = read(t, s, keys[i]), time.Now()
			if _, err := recorder(s).Record(t.Context(), keys[i], []Outcome{c}); err != nil {
				t.Fatal(err)
			}
		case string:
			rep, err := s.Representation(t.Context(), keys[i])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := coll.UpdateByID(t.Context(), keys[i].ID, upd("$set", "files.1.sites", list())); err != nil {
				t.Fatal(err)
			}
			want[keys[i]] = "a skeleton"
			outcomes := []Outcome{{File: rep.Files[0], RemoteID: "x", At: time.Now()},
				{File: rep.Files[1], RemoteID: "y", At: time.Now().Add(time.Second)}}
			if _, err := recorder(s).Record(t.Context(), keys[i], outcomes); err != nil {
				t.Fatal(err)
			}
		default:
			filter, o := bson.D{{Key: "_id", Value: keys[i].ID},
				{Key: "files.path", Value: "{root}/a"}}, options.UpdateOne()
			text := fmt.Sprint(c)
			for name, site := range map[string]string{"s": gdrive, "a": "studio"} {
				if strings.Contains(text, "$["+name+"]") {
					o.SetArrayFilters([]any{bson.D{{Key: name + ".name", Value: site}}})
				}
			}
			if _, err := coll.UpdateOne(t.Context(), filter, c, o); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
	}
	other := coll.Database().Collection("Created later")
	inserts := insert(t, other,
		representation(entry("{root}/a", list(done...))),              // synced
		bson.D{{Key: "type", Value: "version"}},                       // no representation
		representation(entry("{root}/a", bson.A{})),                   // not for this site
		representation(entry("{root}/a", dict(done...))),              // synced
		representation(entry("{root}/a", list()), entry("x", list())), // pending
		representation(entry("{root}/a", dict())),                     // pending
	)
	want[inserts[4]], want[inserts[5]] = "insert", "insert of a dict"
	if _, err := other.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: inserts[2].ID}},
		representation(entry("x", list()))); err != nil {
		t.Fatal(err)
	}
	want[inserts[2]] = "replace"
	last := insert(t, coll, representation(entry("{root}/last", list())))[0]

	got := map[Key]string{}
	for {
		c, err := next(t, ch)
		if err != nil {
			t.Fatal(err)
		}
		if c.Key == last {
			break
		}
		if _, again := got[c.Key]; again {
			t.Errorf("%q woke us twice", want[c.Key])
		}
		got[c.Key] = want[c.Key]
		if want[c.Key] == "" {
			if i := slices.Index(keys, c.Key); i >= 0 {
				t.Errorf("%q woke us", tests[i].name)
			}
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What this process records for one route does not wake the other one, whose source it is. What another process records
// does.
func TestChangesOfTheWayBack(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	back := Route{From: gdrive, To: "studio"}
	changes, err := s.Changes(t.Context(), back)
	must(t, err)
	defer changes.Close(t.Context())
	others, err := NewStore(coll.Database().Client(), coll.Database().Name()).Changes(t.Context(), back)
	must(t, err)
	defer others.Close(t.Context())
	keys := insert(t, coll, representation(entry("{root}/a", list())), representation(entry("{root}/b", dict())),
		representation(entry("{root}/c", list()), entry("{root}/d", list())))
	for _, key := range keys {
		rep, err := s.Representation(t.Context(), key)
		must(t, err)
		var outcomes []Outcome
		for i, f := range rep.Files {
			at := time.Now().Add(time.Duration(i) * time.Second)
			outcomes = append(outcomes, Outcome{File: f, RemoteID: "x", At: at})
		}
		_, err = recorder(s).Record(t.Context(), key, outcomes)
		must(t, err)
	}
	open := bson.A{bson.D{{Key: "name", Value: "studio"}}}
	last := insert(t, coll, representation(entry("{root}/last", open)))[0]
	count := func(changes *Changes) (n int) {
		for {
			c, err := next(t, changes)
			must(t, err)
			if c.Key == last {
				return n
			}
			n++
		}
	}
	if n := count(changes); n > 0 {
		t.Errorf("%d of its own results are reported", n)
	}
	if n := count(others); n != len(keys) {
		t.Errorf("of %d results of another process %d are reported", len(keys), n)
	}
}

// next waits for a change.
func next(t *testing.T, ch *Changes) (Change, error) {
	for {
		if c, ok, err := ch.TryNext(t.Context()); ok || err != nil {
			return c, err
		}
	}
}

func TestChangesEnd(t *testing.T) {
	s, coll := newStore(t)
	insert(t, coll, representation())
	ch, err := s.Changes(t.Context(), route)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close(context.Background())
	if err := coll.Database().Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	rescans := 0
	for {
		c, err := next(t, ch)
		if errors.Is(err, errInvalidated) {
			if got := ReasonOf(err); got != Invalidated {
				t.Errorf("reason %q", got)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Rescan {
			rescans++
		}
	}
	if rescans == 0 {
		t.Error("the dropped project was not told of")
	}
}

func TestIndexed(t *testing.T) {
	s, coll := newStore(t)
	insert(t, coll, representation(entry("{root}/a", list())))
	projects, err := s.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	indexed := func() bool {
		t.Helper()
		ok, err := s.Indexed(t.Context(), projects[0], route)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if indexed() {
		t.Error("indexed before there is an index")
	}
	if err := s.EnsureIndex(t.Context(), projects[0], route); err != nil {
		t.Fatal(err)
	}
	if !indexed() {
		t.Error("not indexed once the index is created")
	}

	// Only where there are many dicts, a second one is needed.
	names := func() (all []string) {
		t.Helper()
		specs, err := coll.Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range specs {
			all = append(all, spec.Name)
		}
		return all
	}
	for range 40 { // as many routes as artists may have
		r := Route{From: "artist_" + bson.NewObjectID().Hex(), To: gdrive}
		must(t, s.EnsureIndex(t.Context(), projects[0], r))
		must(t, s.EnsureIndex(t.Context(), projects[0], Route{From: r.To, To: r.From}))
	}
	if got := names(); len(got) != 2 { // that of _id
		t.Errorf("the indexes of many routes are %q", got)
	}
	for range maxUnnamed + 1 {
		insert(t, coll, representation(entry("{root}/a", dict())))
	}
	if indexed() {
		t.Error("indexed before there is an index for dicts")
	}
	must(t, s.EnsureIndex(t.Context(), projects[0], route))
	if !indexed() || len(names()) != 3 {
		t.Errorf("with dicts the indexes are %q", names())
	}
}

// The pipeline writes what it likes: no index of ours has MongoDB refuse a value, as it does if two keys are arrays.
func TestIndexesRefuseNoArrays(t *testing.T) {
	s, coll := newStore(t)
	insert(t, coll, representation(entry("{root}/a", list())))
	if err := s.EnsureIndex(t.Context(), mustProjects(t, s)[0], route); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []any{bson.A{}, bson.A{"representation", 3}} {
		sites := []any{
			odd,
			bson.A{odd},
			bson.D{{Key: gdrive, Value: odd}},
			bson.D{{Key: "studio", Value: odd}, {Key: gdrive, Value: bson.D{}}},
			bson.A{bson.D{{Key: "name", Value: odd}}, bson.D{{Key: "tries", Value: odd}}},
		}
		for _, field := range []string{"name", "created_dt", "tries", "paused"} {
			sites = append(sites, list(bson.E{Key: field, Value: odd}), dict(bson.E{Key: field, Value: odd}))
		}
		for _, one := range sites {
			doc := representation(entry("{root}/a", one))
			insert(t, coll, doc)
			doc[0].Value = odd // its type
			insert(t, coll, doc)
		}
	}
}

// What the change stream has told of must be there to be read.
func TestReadsGoToThePrimary(t *testing.T) {
	db := mongod.Database(t)
	client, err := mongo.Connect(options.Client().ApplyURI(mongod.URI(t)).SetReadPreference(readpref.Secondary()).
		SetServerSelectionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background()) //nolint:errcheck // the server ends with the tests
	s := NewStore(client, db.Name())
	keys := insert(t, db.Collection(project), representation(entry("{root}/a", list())))
	if _, err := s.Representation(t.Context(), keys[0]); err != nil {
		t.Error(err) // there is no secondary
	}
}
