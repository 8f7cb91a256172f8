package avalon

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A transient error is retried; any other one is the document's.
func TestPassingWriteErrors(t *testing.T) {
	for code, want := range map[int]bool{-31800: true, 112: true, 365: true, 121: false, 10334: false, 17419: false} {
		err := mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: code}}}
		if got := isTransient(err); got != want {
			t.Errorf("code %d: %v", code, got)
		}
	}
	if isTransient(nil) || isTransient(mongo.CommandError{Code: 112}) {
		t.Error("what is no write error is not repeated here")
	}
}

// Representations that are read and recorded at the same time have nothing to do with each other: one is gone, one is
// malformed, one is refused by the database, and all others are as if they were alone.
func TestManyTogether(t *testing.T) {
	s, coll := newStore(t)
	docs := make([]bson.D, 100)
	for i := range docs {
		docs[i] = representation(entry("{root}/a", list()))
	}
	keys := insert(t, coll, docs...)
	const refused, gone, malformed = 20, 40, 60
	set := func(i int, field string, v any) {
		if _, err := coll.UpdateByID(t.Context(), keys[i].ID,
			bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: v}}}}); err != nil {
			t.Fatal(err)
		}
	}
	set(malformed, "files", "none")
	set(refused, "refused", true)
	if _, err := coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: keys[gone].ID}}); err != nil {
		t.Fatal(err)
	}
	validator := bson.D{{Key: "$nor", Value: bson.A{bson.D{{Key: "refused", Value: true},
		{Key: "files.sites.created_dt", Value: bson.D{{Key: "$gt", Value: published.Add(time.Hour)}}}}}}}
	if err := coll.Database().RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: project}, {Key: "validator", Value: validator}}).Err(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var recorded []int
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			r, err := s.Representation(t.Context(), key)
			switch {
			case i == gone:
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("of the one that is gone: %v", err)
				}
				return
			case i == malformed:
				if !errors.As(err, new(*MalformedError)) {
					t.Errorf("of the malformed one: %v", err)
				}
				return
			case err != nil || r.Key != key:
				t.Errorf("%s is read as %+v: %v", key, r, err)
				return
			}
			_, err = recorder(s).Record(t.Context(), key,
				[]Outcome{{File: r.Files[0], RemoteID: key.ID.String(), At: published.Add(2 * time.Hour)}})
			if errors.As(err, new(*RecordError)) != (i == refused) || err != nil && i != refused {
				t.Errorf("record %d: %v", i, err)
			}
			r, err = s.Representation(t.Context(), key)
			if err != nil {
				t.Error(err)
				return
			}
			if rec, _ := r.Files[0].RecordFor(gdrive); rec.Created && rec.RemoteID == key.ID.String() {
				mu.Lock()
				defer mu.Unlock()
				recorded = append(recorded, i)
			}
		})
	}
	wg.Wait()
	slices.Sort(recorded)
	var want []int
	for i := range keys {
		if i != refused && i != gone && i != malformed {
			want = append(want, i)
		}
	}
	if diff := cmp.Diff(want, recorded); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// No outcome and no progress is written once another process may have taken over.
func TestFence(t *testing.T) {
	s, coll := newStore(t)
	key := insert(t, coll, representation(entry("{root}/a", list())))[0]
	rep, err := s.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	taken := errors.New("another process has taken over")
	r := s.Recorder(route, func() error { return taken })
	outcomes := []Outcome{{File: rep.Files[0], RemoteID: "1", At: published}}
	if _, err := r.Record(t.Context(), key, outcomes); !errors.Is(err, taken) {
		t.Errorf("record: %v", err)
	}
	if err := r.SetProgress(t.Context(), key, rep.Files[0], 0.5); !errors.Is(err, taken) {
		t.Errorf("progress: %v", err)
	}
	if rep, err = s.Representation(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if rec, _ := rep.Files[0].RecordFor(gdrive); rec.Created {
		t.Errorf("the record is %+v", rec)
	}
}
