package avalon

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	randv1 "math/rand"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// doubling are rules with waits of 10 s, 20 s, 30 s, 30 s ...
var doubling = Rules{Route: route, RetryCount: 6, Backoff: func(tries int) time.Duration {
	return min(10*time.Second<<(tries-1), 30*time.Second)
}}

// odd makes documents of what there is in the wild, and of what there might be.
type odd struct {
	*rand.Rand
	t   testing.TB
	now time.Time

	// plain documents are as Pype and the reference write them: then each query promises more.
	plain bool
}

func pick[T any](o odd, of ...T) T { return of[o.IntN(len(of))] }

// rarely is one of the odd values, or else the usual one.
func (o odd) rarely(usual any, values ...any) any {
	if o.plain || o.IntN(4) > 0 {
		return usual
	}
	return pick(o, values...)
}

// left is a field that is left out at times.
func (o odd) left(doc bson.D, key string, value any) bson.D {
	if !o.plain && o.IntN(12) == 0 {
		return doc
	}
	return append(doc, bson.E{Key: key, Value: value})
}

func (o odd) created(doc bson.D) bson.D {
	if o.IntN(2) == 0 {
		return doc
	}
	return append(doc, bson.E{Key: "created_dt",
		Value: o.rarely(published, nil, "2020-06-18", false, bson.Undefined{}, bson.Timestamp{T: 1}, bson.A{}, bson.D{},
			0)})
}

func (o odd) record() any {
	if !o.plain && o.IntN(15) == 0 {
		return pick[any](o, nil, "x", 7, bson.A{}, bson.A{bson.D{{Key: "created_dt", Value: published}}}, bson.D{},
			bson.Undefined{}, true)
	}
	doc := o.created(bson.D{})
	if o.IntN(3) > 0 {
		doc = o.left(doc, "tries", o.rarely(pick[any](o, o.IntN(9), int64(o.IntN(9)), float64(o.IntN(9))), nil, "", "2",
			" 7 ", "+8", "-3", "many", "99999999999999999999", "6.5", 2.9, 6.0, 6.5, -2, math.NaN(), math.Inf(1),
			math.Inf(-1), int64(math.MaxInt64), int64(6), decimal(o.t, "6"), decimal(o.t, "5.9"), decimal(o.t, "NaN"),
			decimal(o.t, "9E+6000"), true, bson.D{}, bson.D{{Key: "$gt", Value: "$x"}}, bson.A{}, bson.A{7}, published,
			bson.Regex{Pattern: "6"}))
		doc = o.left(doc, "last_failed_dt", o.rarely(o.now.Add(-time.Duration(o.IntN(40_000)-5000)*time.Millisecond),
			nil, "yesterday", 7, bson.A{}, bson.DateTime(math.MaxInt64/2), bson.DateTime(0),
			bson.Timestamp{T: math.MaxUint32}, bson.Regex{Pattern: "7"}, bson.MaxKey{}, bson.Undefined{}))
		doc = o.left(doc, "error", o.rarely("no", nil, 7, ""))
	}
	if o.IntN(4) == 0 {
		doc = append(doc, bson.E{Key: "paused",
			Value: o.rarely(true, false, nil, bson.Undefined{}, 0, 1, int64(0), int64(-1), 0.0, math.Copysign(0, -1),
				0.5, math.NaN(), math.Inf(1), "", "true", "false", decimal(o.t, "0"), decimal(o.t, "0E+100"),
				decimal(o.t, "-0"), decimal(o.t, "1E-6000"), decimal(o.t, "NaN"), bson.D{}, bson.A{}, bson.A{0},
				bson.A{false}, bson.A{true}, published, bson.DateTime(0), bson.NewObjectID())})
	}
	return doc
}

func (o odd) sites() any {
	switch {
	case !o.plain && o.IntN(20) == 0:
		return pick[any](o, nil, "gdrive", 7, bson.A{}, bson.D{},
			bson.A{nil, "gdrive", bson.A{bson.D{{Key: "name", Value: gdrive}}}, bson.D{{Key: "name", Value: 7}}})
	case o.IntN(2) == 0:
		dict := bson.D{}
		for _, name := range []string{"studio", gdrive, "local_0"} {
			if o.IntN(8) > 0 {
				dict = append(dict, bson.E{Key: name, Value: o.record()})
			}
		}
		return dict
	}
	list := bson.A{}
	names := []any{"studio", gdrive, "local_0"}
	if o.plain {
		names = names[o.IntN(2):]
	} else {
		for range o.IntN(5) {
			names = append(names, o.rarely(pick(o, "studio", gdrive), "local_0", nil, 7))
		}
		names = names[o.IntN(3):]
	}
	for _, name := range names {
		rec, ok := o.record().(bson.D)
		if !ok {
			rec = bson.D{}
		}
		list = append(list, append(bson.D{{Key: "name", Value: name}}, rec...))
	}
	return list
}

func (o odd) file() any {
	if !o.plain && o.IntN(30) == 0 {
		return pick[any](o, nil, "x", 7, bson.D{}, bson.A{},
			bson.A{bson.D{{Key: "sites", Value: bson.D{{Key: gdrive, Value: bson.D{}}}}}})
	}
	id := bson.NewObjectIDFromTimestamp(o.now.Add(-time.Duration(o.IntN(1e6)) * time.Second))
	doc := o.left(bson.D{}, "_id", o.rarely(id, id.Hex(), 7, 7.5, nil, bson.A{1}, bson.D{}, bson.Regex{Pattern: "x"},
		published, bson.Binary{Data: []byte("x")}, true, bson.Undefined{}, bson.MinKey{}, bson.MaxKey{},
		bson.JavaScript("x"), decimal(o.t, "1")))
	doc = o.left(doc, "path", o.rarely(fmt.Sprintf("{root}/%d", o.Int()), nil, "", 7, bson.A{"{root}/a"}))
	doc = o.left(doc, "size", o.rarely(int64(o.IntN(1e6)), nil, "5", -3, int32(7), 7.9, -0.5, decimal(o.t, "7.5"),
		math.NaN(), decimal(o.t, "NaN"), bson.A{5}, math.Inf(-1), true, 0))
	if o.IntN(1000) == 0 {
		doc = append(doc[:0:0], bson.E{Key: "_id", Value: id}, bson.E{Key: "path", Value: "{root}/huge"},
			bson.E{Key: "size", Value: pick[any](o, math.Inf(1), int64(math.MaxInt64), decimal(o.t, "9E+6000"))})
	}
	return o.left(doc, "sites", o.sites())
}

func (o odd) document() bson.D {
	files := bson.A{}
	for range o.IntN(5) {
		files = append(files, o.file())
	}
	doc := o.left(bson.D{}, "type", o.rarely("representation", "archived_representation", "version", nil,
		bson.A{"representation"}))
	return o.left(doc, "files", o.rarely(files, files, files, nil, bson.D{}, "x",
		bson.D{{Key: "sites", Value: o.sites()}}))
}

// world is what a project has, by document.
type world struct {
	docs map[Key]bson.Raw
	reps map[Key]*Representation // those that can be read
}

func readWorld(t *testing.T, coll *mongo.Collection) world {
	t.Helper()
	cur, err := coll.Find(t.Context(), bson.D{})
	must(t, err)
	var docs []bson.Raw
	must(t, cur.All(t.Context(), &docs))
	w := world{map[Key]bson.Raw{}, map[Key]*Representation{}}
	for _, doc := range docs {
		id, _ := documentIDOf(doc.Lookup("_id"))
		key := Key{project, id}
		w.docs[key] = doc
		if rep, err := Decode(key, doc); err == nil {
			w.reps[key] = rep
		}
	}
	return w
}

// any reports whether a file of the representation meets the condition.
func (w world) any(key Key, cond func(*File) bool) bool {
	rep := w.reps[key]
	return rep != nil && slices.ContainsFunc(rep.Files, func(f File) bool { return cond(&f) })
}

// entry is a file as it stands in the document.
func (w world) entry(key Key, i int) bson.RawValue { return w.docs[key].Lookup("files", fmt.Sprint(i)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever is in the database, every query agrees with Rules.Evaluate: what a poll finds, what wakes us, what is
// counted, and what retry and add-site change.
func TestQueriesAgreeWithEvaluate(t *testing.T) {
	for _, plain := range []bool{true, false} {
		for _, retryCount := range []int{6, 3, 1} {
			t.Run(fmt.Sprintf("plain %t, retry_cnt %d", plain, retryCount), func(t *testing.T) {
				t.Parallel()
				rules := doubling
				rules.RetryCount = retryCount
				const seed = 2 // of the documents' seeds; with any other all agrees too, but a status may not occur
				var seen Stats
				agree := func(documents uint64) bool {
					t.Logf("seed %d, documents of %#x", seed, documents)
					now := time.Now().UTC().Truncate(time.Millisecond)
					seen.Add(testQueries(t, odd{rand.New(rand.NewPCG(documents, 0)), t, now, plain}, rules))
					return !t.Failed()
				}
				config := &quick.Config{MaxCount: 2, Rand: randv1.New(randv1.NewSource(seed))}
				if err := quick.Check(agree, config); err != nil {
					t.Fatal(err)
				}
				for status := Synced; status <= Invalid; status++ {
					never := status == Invalid && plain || status == BackingOff && retryCount == 1
					if seen.of(status).Files == 0 && !never {
						t.Errorf("no file has status %d: %+v", status, seen)
					}
				}
			})
		}
	}
}

// testQueries puts documents into a project of its own, and returns what there was of each status.
func testQueries(t *testing.T, o odd, r Rules) Stats {
	s, coll := newStore(t)
	must(t, coll.Database().CreateCollection(t.Context(), project))
	must(t, s.EnsureIndex(t.Context(), mustProjects(t, s)[0], r.Route))
	changes, err := s.Changes(t.Context(), r.Route)
	must(t, err)
	defer changes.Close(t.Context())
	wanted := []string{"local_0", "farm"}
	lacking, err := s.LackingChanges(t.Context(), wanted)
	must(t, err)
	defer lacking.Close(t.Context())
	const n = 500
	var stubs []any
	var writes []mongo.WriteModel
	for i := range n {
		doc := append(bson.D{{Key: "_id", Value: i}}, o.document()...)
		if i%3 > 0 {
			stubs = append(stubs, doc[:1])
		}
		switch {
		case i%3 == 0:
			writes = append(writes, mongo.NewInsertOneModel().SetDocument(doc))
		case i%3 == 1 || len(doc) == 1:
			writes = append(writes, mongo.NewReplaceOneModel().SetFilter(doc[:1]).SetReplacement(doc))
		default:
			update := bson.D{{Key: "$set", Value: doc[1:]}}
			writes = append(writes, mongo.NewUpdateOneModel().SetFilter(doc[:1]).SetUpdate(update))
		}
	}
	_, err = coll.InsertMany(t.Context(), stubs)
	must(t, err)
	// The index refuses records with arrays in several of its fields.
	_, err = coll.BulkWrite(t.Context(), writes, options.BulkWrite().SetOrdered(false))
	if refused := new(mongo.BulkWriteException); errors.As(err, refused) && len(refused.WriteErrors) < n/20 {
		err = nil
	}
	must(t, err)
	last := insert(t, coll, representation(entry("{root}/last", list())))[0]
	w := readWorld(t, coll)
	status := func(f *File) Status { return r.Evaluate(f, o.now).Status }
	due := func(f *File) bool { st := status(f); return st == Pending || st == BackingOff }

	woken := map[Key]bool{}
	for !woken[last] {
		if c, ok, err := changes.TryNext(t.Context()); err != nil {
			t.Fatal(err)
		} else if ok {
			woken[c.Key] = true
		}
	}
	for key := range w.docs {
		// A new document wakes us whatever the tries, and though the source is missing.
		open := w.any(
			key,
			func(f *File) bool { rec, ok := f.RecordFor(r.To); return ok && !rec.Created && !rec.Paused },
		)
		if w.any(key, due) && !woken[key] || o.plain && woken[key] != open {
			t.Errorf("woken %t by %s", woken[key], w.docs[key])
		}
	}

	lacks := func(f *File) bool {
		return slices.ContainsFunc(f.Sites, func(rec SiteRecord) bool { return rec.Created }) &&
			slices.ContainsFunc(wanted, func(site string) bool { return lacksRecord(f, site) })
	}
	found := reported(t, lacking, coll)
	for key := range w.docs {
		if want := w.any(key, lacks); want && !found[key] || o.plain && want != found[key] {
			t.Errorf("reported %t as lacking a record: %s", found[key], w.docs[key])
		}
	}

	for _, index := range []string{"with the index", "without it"} {
		found, sourceOpen := map[Key]bool{}, map[Key]bool{}
		for c, err := range s.Pending(t.Context(), project, r) {
			must(t, err)
			found[c.Key], sourceOpen[c.Key] = true, sourceOpen[c.Key] || c.SourceOpen
		}
		inList := func(f *File) bool { return len(f.Sites) > 0 && !f.Sites[0].dict }
		for key := range w.docs {
			// A query looks into an array, which as tries counts as none.
			sure := func(f *File) bool {
				rec, _ := f.RecordFor(r.To)
				return due(f) && rec.rawTries.Type != bson.TypeArray
			}
			// In a list, the records of two sites are not looked at together. In a dict they are.
			listed := func(f *File) bool { return due(f) || status(f) == SourceMissing && inList(f) }
			if w.any(key, sure) && !found[key] || o.plain && found[key] != w.any(key, listed) {
				t.Errorf("found %t %s: %s", found[key], index, w.docs[key])
			}
			missing := func(f *File) bool { rec, ok := f.RecordFor(r.From); return ok && !rec.Created && inList(f) }
			byKey := func(f *File) bool { return inList(f) && listed(f) }
			if o.plain && index == "with the index" && w.any(key, byKey) && sourceOpen[key] != w.any(key, missing) {
				t.Errorf("source open %t: %s", sourceOpen[key], w.docs[key])
			}
		}
		must(t, coll.Indexes().DropAll(t.Context()))
	}

	for key, rep := range w.reps {
		waits := w.any(key, func(f *File) bool {
			rec, ok := f.RecordFor(r.To)
			return ok && !rec.Created && rec.Problem == "" // what is no record is none that waits
		})
		read, err := s.OpenRepresentation(t.Context(), key, r.To)
		if waits && err != nil || o.plain && (err == nil) != waits {
			t.Errorf("read with %v: %s", err, w.docs[key])
		} else if err == nil && len(read.Files) != len(rep.Files) {
			t.Errorf("read %d of %d files", len(read.Files), len(rep.Files))
		}
	}

	stats := testStats(t, s, w, r, o)

	edit := func(what string, run func() (EditResult, error), applies func(*File) bool, becomes func(*File) bool) {
		t.Helper()
		before := readWorld(t, coll)
		done, err := run()
		must(t, err)
		after := readWorld(t, coll)
		n := 0
		for key, rep := range before.reps {
			for i, f := range rep.Files {
				is := &after.reps[key].Files[i]
				if changed := !before.entry(key, i).Equal(after.entry(key, i)); changed != applies(&f) ||
					changed && !becomes(is) {
					t.Errorf("%s: changed %t: %s to %s", what, changed, before.entry(key, i), after.entry(key, i))
				} else if changed {
					n++
				}
			}
		}
		for key, doc := range before.docs {
			if before.reps[key] == nil && !bytes.Equal(doc, after.docs[key]) {
				t.Errorf("%s: changed: %s", what, doc)
			}
		}
		if done.Files != int64(n) || n == 0 {
			t.Errorf("%s: %d files are changed, not %d", what, n, done.Files)
		}
	}
	retry := func(minTries int) func() (EditResult, error) {
		return func() (EditResult, error) {
			return s.Retry(t.Context(), project, Retry{Site: r.To, MinTries: minTries})
		}
	}
	fresh := func(f *File) bool {
		rec, _ := f.RecordFor(r.To)
		return rec.Tries == 0 && (status(f) == Pending || status(f) == SourceMissing)
	}
	edit("retry", retry(r.RetryCount), func(f *File) bool { return status(f) == Failed }, fresh)
	if r.RetryCount > 1 {
		edit("retry of what has failed at all", retry(1), func(f *File) bool {
			rec, _ := f.RecordFor(r.To)
			return rec.Tries > 0 && (due(f) || status(f) == SourceMissing)
		}, fresh)
	}
	edit("add-site", func() (EditResult, error) {
		return s.AddSite(t.Context(), project, AddSite{From: r.From, Site: r.To})
	}, func(f *File) bool {
		from, _ := f.RecordFor(r.From)
		return from.Created && lacksRecord(f, r.To)
	}, func(f *File) bool { return status(f) == Pending || f.Problem != "" })

	back := Rules{Route: Route{From: r.To, To: r.From}, RetryCount: 1, Backoff: r.Backoff}
	edit("fetch", func() (EditResult, error) {
		return s.AddSite(t.Context(), project, AddSite{Site: back.To, Retry: true})
	}, func(f *File) bool {
		held := slices.ContainsFunc(f.Sites, func(rec SiteRecord) bool { return rec.Created })
		return held && lacksRecord(f, back.To) || back.Evaluate(f, o.now).Status == Failed
	}, func(f *File) bool {
		is := back.Evaluate(f, o.now).Status
		return is == Pending || is == SourceMissing || f.Problem != ""
	})

	reported(t, lacking, coll) // of the edits before
	edit("ensure sites", func() (done EditResult, err error) {
		for before := (ID{}); ; {
			list, err := s.NewestIDs(t.Context(), project, ID{}, before, 100)
			if err != nil || len(list) == 0 {
				return done, err
			}
			more, err := s.EnsureSites(t.Context(), project, wanted, list)
			if err != nil {
				return done, err
			}
			done.Add(more)
			before = list[len(list)-1]
		}
	}, lacks, func(f *File) bool { return !lacks(f) })
	if keys := reported(t, lacking, coll); len(keys) > 0 {
		t.Errorf("what was ensured is reported: %v", keys)
	}
	return stats
}

// lacksRecord reports whether a file has no record of a site, or null for one in a dict.
func lacksRecord(f *File, site string) bool {
	rec, found := f.RecordFor(site)
	return !found || nullRecord.MatchString(rec.Problem)
}

var nullRecord = regexp.MustCompile("is (null|of type undefined), not a record$")

func testStats(t *testing.T, s *Store, w world, r Rules, o odd) Stats {
	var want Stats
	var failed []FailedFile
	for _, rep := range w.reps {
		for _, f := range rep.Files {
			rec, tracked := f.RecordFor(r.To)
			if !tracked {
				continue
			}
			status := r.Evaluate(&f, o.now).Status
			want.of(status).Add(FileCount{Files: 1, Bytes: max(f.Size, 0)})
			if status == Failed {
				failed = append(failed, FailedFile{rep.Key, f.Path, rec.Tries, rec.Error, rec.LastFailed})
			}
			if f.ID.kind == bson.TypeObjectID && (status == Pending || status == BackingOff) {
				want.noteOldest(f.ID.Time())
			}
		}
	}
	got, err := s.Stats(t.Context(), project, r, o.now)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}

	list, err := s.Failed(t.Context(), project, r, math.MaxInt)
	must(t, err)
	if !slices.IsSortedFunc(list, func(a, b FailedFile) int { return b.LastFailed.Compare(a.LastFailed) }) {
		t.Error("the last to fail do not come first")
	}
	byText := func(a, b FailedFile) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(list, byText)
	slices.SortFunc(failed, byText)
	if diff := cmp.Diff(failed, list, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("failed files (-want +got):\n%s", diff)
	}
	return want
}
