package avalon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// doubling are rules with waits of 10 s, 20 s, 30 s, 30 s ...
var doubling = Rules{Route: route, RetryCount: 6, Backoff: func(tries int) time.Duration {
	return min(10*time.Second<<(tries-1), 30*time.Second)
}}

// tallied counts the files of a document by its model, one after the other.
func tallied(rep *Representation, r Rules, now time.Time) (t Stats, failed []FailedFile) {
	for _, f := range rep.Files {
		rec, ok := f.RecordFor(r.To)
		if !ok {
			continue
		}
		count := FileCount{Files: 1, Bytes: max(f.Size, 0)}
		switch r.Evaluate(&f, now).Status {
		case Synced:
			t.Synced.Add(count)
			continue
		case Invalid:
			t.Invalid.Add(count)
			continue
		case Paused:
			t.Paused.Add(count)
			continue
		case Failed:
			t.Failed.Add(count)
			failed = append(failed, FailedFile{rep.Key, f.Path, rec.Tries, rec.Error, rec.LastFailed})
			continue
		case SourceMissing:
			t.SourceMissing.Add(count)
			continue
		case BackingOff:
			t.BackingOff.Add(count)
		case Pending:
			t.Pending.Add(count)
		}
		if f.ID.kind == bson.TypeObjectID {
			t.noteOldest(bson.ObjectID([]byte(f.ID.raw)).Timestamp().UTC())
		}
	}
	return t, failed
}

// odd makes documents of what there is in the wild, and of what there might be.
type odd struct {
	*rand.Rand
	t   testing.TB
	now time.Time
}

func pick[T any](o odd, of ...T) T { return of[o.IntN(len(of))] }

// rarely is one of the odd values, or else the usual one.
func (o odd) rarely(usual any, values ...any) any {
	if o.IntN(4) > 0 {
		return usual
	}
	return pick(o, values...)
}

// left is a field that is left out at times.
func (o odd) left(doc bson.D, key string, value any) bson.D {
	if o.IntN(12) == 0 {
		return doc
	}
	return append(doc, bson.E{Key: key, Value: value})
}

func (o odd) created(doc bson.D) bson.D {
	if o.IntN(2) == 0 {
		return doc
	}
	return append(doc, bson.E{Key: "created_dt", Value: o.rarely(published, nil, "2020-06-18", false, bson.Undefined{}, bson.Timestamp{T: 1}, bson.A{}, bson.D{}, 0)})
}

func (o odd) record() any {
	if o.IntN(15) == 0 {
		return pick[any](o, nil, "x", 7, bson.A{}, bson.A{bson.D{{Key: "created_dt", Value: published}}}, bson.D{}, bson.Undefined{}, true)
	}
	doc := o.created(bson.D{})
	if o.IntN(3) > 0 {
		doc = o.left(doc, "tries", o.rarely(o.IntN(9), nil, "", "2", " 7 ", "+8", "-3", "many", "99999999999999999999", "6.5", 2.9, 6.0, 6.5, -2, math.NaN(),
			math.Inf(1), math.Inf(-1), int64(math.MaxInt64), int64(6), decimal(o.t, "6"), decimal(o.t, "5.9"), decimal(o.t, "NaN"), decimal(o.t, "9E+6000"),
			true, bson.D{}, bson.D{{Key: "$gt", Value: "$x"}}, bson.A{}, bson.A{7}, published, bson.Regex{Pattern: "6"}))
		doc = o.left(doc, "last_failed_dt", o.rarely(o.now.Add(-time.Duration(o.IntN(40_000)-5000)*time.Millisecond), nil, "yesterday", 7, bson.A{},
			bson.DateTime(math.MaxInt64/2), bson.DateTime(0), bson.Timestamp{T: math.MaxUint32}, bson.Regex{Pattern: "7"}, bson.MaxKey{}, bson.Undefined{}))
		doc = o.left(doc, "error", o.rarely("no", nil, 7, ""))
	}
	if o.IntN(4) == 0 {
		doc = append(doc, bson.E{Key: "paused", Value: o.rarely(true, false, nil, bson.Undefined{}, 0, 1, int64(0), int64(-1), 0.0, math.Copysign(0, -1), 0.5,
			math.NaN(), math.Inf(1), "", "true", "false", decimal(o.t, "0"), decimal(o.t, "0E+100"), decimal(o.t, "-0"), decimal(o.t, "1E-6000"), decimal(o.t, "NaN"),
			bson.D{}, bson.A{}, bson.A{0}, bson.A{false}, bson.A{true}, published, bson.DateTime(0), bson.NewObjectID())})
	}
	return doc
}

func (o odd) sites() any {
	switch {
	case o.IntN(20) == 0:
		return pick[any](o, nil, "gdrive", 7, bson.A{}, bson.D{}, bson.A{nil, "gdrive", bson.A{bson.D{{Key: "name", Value: gdrive}}}, bson.D{{Key: "name", Value: 7}}})
	case o.IntN(2) == 0:
		dict := bson.D{}
		for _, name := range []string{"studio", gdrive, "local_0"} {
			dict = o.left(dict, name, o.record())
		}
		return dict
	}
	list := bson.A{}
	for range 1 + o.IntN(5) {
		name := o.rarely(pick(o, "studio", gdrive), "local_0", nil, 7)
		rec, ok := o.record().(bson.D)
		if !ok {
			rec = bson.D{}
		}
		list = append(list, append(bson.D{{Key: "name", Value: name}}, rec...))
	}
	return list
}

func (o odd) file() any {
	if o.IntN(30) == 0 {
		return pick[any](o, nil, "x", 7, bson.D{}, bson.A{}, bson.A{bson.D{{Key: "sites", Value: bson.D{{Key: gdrive, Value: bson.D{}}}}}})
	}
	id := bson.NewObjectIDFromTimestamp(o.now.Add(-time.Duration(o.IntN(1e6)) * time.Second))
	doc := o.left(bson.D{}, "_id", o.rarely(id, id.Hex(), 7, 7.5, nil, bson.A{1}, bson.D{}, bson.Regex{Pattern: "x"}, published, bson.Binary{Data: []byte("x")},
		true, bson.Undefined{}, bson.MinKey{}, bson.MaxKey{}, bson.JavaScript("x"), decimal(o.t, "1")))
	doc = o.left(doc, "path", o.rarely(fmt.Sprintf("{root}/%d", o.Int()), nil, "", 7, bson.A{"{root}/a"}))
	doc = o.left(doc, "size", o.rarely(int64(o.IntN(1e6)), nil, "5", -3, int32(7), 7.9, -0.5, decimal(o.t, "7.5"), math.NaN(), decimal(o.t, "NaN"), bson.A{5},
		math.Inf(-1), true, 0))
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
	doc := o.left(bson.D{}, "type", o.rarely("representation", "archived_representation", "version", nil, bson.A{"representation"}))
	return o.left(doc, "files", o.rarely(files, files, files, nil, bson.D{}, "x", bson.D{{Key: "sites", Value: o.sites()}}))
}

// Whatever is in the database, the server counts as the model decides.
func TestStatsAreWhatTheRulesDecide(t *testing.T) {
	s, coll := newStore(t)
	const seed = 1 // of the documents; any other must do too
	now := time.Now().UTC().Truncate(time.Millisecond)
	o := odd{rand.New(rand.NewPCG(seed, 0)), t, now}
	for _, retryCount := range []int{6, 3, 1} {
		if err := coll.Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
		rules := doubling
		rules.RetryCount = retryCount
		var docs []any
		var want Stats
		var failed []FailedFile
		for i := range 2000 {
			doc := append(bson.D{{Key: "_id", Value: i}}, o.document()...)
			docs = append(docs, doc)
			raw := marshal(t, doc)
			id, _ := idOf(raw.Lookup("_id"))
			if rep, err := decode(Key{project, id}, raw); err == nil {
				tally, f := tallied(rep, rules, now)
				want.Add(tally)
				failed = append(failed, f...)
			}
		}
		if _, err := coll.InsertMany(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
		got, err := s.Stats(t.Context(), project, rules, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d, retry_cnt %d (-want +got):\n%s", seed, retryCount, diff)
		}
		if want.Pending.Files == 0 || want.Failed.Files == 0 || want.Synced.Files == 0 || want.SourceMissing.Files == 0 || want.Paused.Files == 0 ||
			want.Invalid.Files == 0 || retryCount > 1 && want.BackingOff.Files == 0 {
			t.Errorf("seed %d: there are too few of something: %+v", seed, want)
		}

		list, err := s.Failed(t.Context(), project, rules, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		byKey := func(a, b FailedFile) int {
			return strings.Compare(fmt.Sprint(a.Key, a.Path, a.Tries, a.Error, a.LastFailed), fmt.Sprint(b.Key, b.Path, b.Tries, b.Error, b.LastFailed))
		}
		if !slices.IsSortedFunc(list, func(a, b FailedFile) int { return b.LastFailed.Compare(a.LastFailed) }) {
			t.Errorf("seed %d: the last to fail do not come first", seed)
		}
		slices.SortFunc(list, byKey)
		slices.SortFunc(failed, byKey)
		if diff := cmp.Diff(failed, list, cmp.AllowUnexported(ID{})); diff != "" {
			t.Errorf("seed %d, failed files (-want +got):\n%s", seed, diff)
		}
	}
}

func TestFailedReturnsTheLastToFail(t *testing.T) {
	s, coll := newStore(t)
	var docs []bson.D
	for i := range 10 {
		docs = append(docs, representation(entry(fmt.Sprintf("{root}/%d", i), list(bson.E{Key: "tries", Value: 6}, bson.E{Key: "error", Value: "no"},
			bson.E{Key: "last_failed_dt", Value: published.Add(time.Duration(i*7%10) * time.Second)}))))
	}
	docs = append(docs, representation(entry("{root}/tries left", list(bson.E{Key: "tries", Value: 5}))))
	keys := insert(t, coll, docs...)
	got, err := s.Failed(t.Context(), project, doubling, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []FailedFile{
		{keys[7], "{root}/7", 6, "no", published.Add(9 * time.Second)},
		{keys[4], "{root}/4", 6, "no", published.Add(8 * time.Second)},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("failed files (-want +got):\n%s", diff)
	}
	if got, err := s.Failed(t.Context(), project, doubling, 0); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}
