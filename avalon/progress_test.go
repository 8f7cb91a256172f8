package avalon

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// In both forms, nothing that notes progress or takes it away wakes us, and nothing else in the document changes.
func TestProgress(t *testing.T) {
	t.Parallel()
	for form, sites := range map[string]any{"list": list(), "dict": dict(), "failed list": list(failed(int32(1))...),
		"failed dict": dict(failed("1")...)} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s, coll := newStore(t)
			same := entry("{root}/b", sites)
			// The same file twice is known to happen.
			key := insert(t, coll, representation(entry("{root}/a", list()), same, same))[0]
			rep, err := s.Representation(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			before := document(t, coll, key)
			changes, err := s.Changes(t.Context(), route)
			if err != nil {
				t.Fatal(err)
			}
			defer changes.Close(context.Background())
			for _, done := range []float64{0.001, 0.5, 1} {
				if err := recorder(s).SetProgress(t.Context(), key, rep.Files[1], done); err != nil {
					t.Fatal(err)
				}
				if got, ok := siteRecord(t, coll, key, "1").Lookup("progress").DoubleOK(); !ok || got != done {
					t.Errorf("progress is %v, want %v", got, done)
				}
			}
			if err := recorder(s).ClearProgress(t.Context(), key, rep.Files[1]); err != nil {
				t.Fatal(err)
			}
			if after := document(t, coll, key); after != before {
				t.Errorf("the document is\n%s\nand was\n%s", after, before)
			}

			// An outcome takes it away, and does not wake us either.
			for _, o := range []Outcome{{Error: "no"}, {RemoteID: "x"}} {
				rep, err := s.Representation(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if err := recorder(s).SetProgress(t.Context(), key, rep.Files[1], 0.25); err != nil {
					t.Fatal(err)
				}
				o.File, o.At = rep.Files[1], time.Now()
				if _, err := recorder(s).Record(t.Context(), key, []Outcome{o}); err != nil {
					t.Fatal(err)
				}
				if rec := siteRecord(t, coll, key, "1"); rec.Lookup("progress").Type != 0 {
					t.Errorf("after the outcome the record is %v", rec)
				}
			}
			last := insert(t, coll, representation(entry("{root}/last", list())))[0]
			if c, err := next(t, changes); err != nil || c.Key != last {
				t.Errorf("woken by %v, %v", c, err)
			}
		})
	}
}

// What does not stand any more as it was read gets no note.
func TestProgressOfWhatHasChanged(t *testing.T) {
	t.Parallel()
	set := func(field string, v any) bson.D { return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: v}}}} }
	for name, change := range map[string]bson.D{
		"synced":        set("files.0.sites.1.created_dt", published),
		"failed":        set("files.0.sites.1.tries", 1),
		"another path":  set("files.0.path", "{root}/b"),
		"another size":  set("files.0.size", 6),
		"another hash":  set("files.0.hash", "b"),
		"another id":    set("files.0._id", bson.NewObjectID()),
		"another form":  set("files.0.sites", dict()),
		"another order": set("files.0.sites", bson.A{list()[1], bson.D{{Key: "name", Value: "backup"}}}),
		"a file before": {{Key: "$push",
			Value: bson.D{{Key: "files",
				Value: bson.D{{Key: "$each", Value: bson.A{entry("{root}/0", list())}},
					{Key: "$position", Value: 0}}}}}},
		"no files":       set("files", bson.A{}),
		"files no array": set("files", "x"),
	} {
		s, coll := newStore(t)
		key := insert(t, coll, representation(entry("{root}/a", list())))[0]
		f := read(t, s, key)
		if _, err := coll.UpdateByID(t.Context(), key.ID, change); err != nil {
			t.Fatal(err)
		}
		before := document(t, coll, key)
		if err := recorder(s).SetProgress(t.Context(), key, f, 0.5); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := document(t, coll, key); after != before {
			t.Errorf("%s: the document is\n%s\nand was\n%s", name, after, before)
		}
	}
	s, coll := newStore(t)
	key := insert(t, coll, representation(entry("{root}/a", list())))[0]
	f := read(t, s, key)
	if _, err := coll.DeleteOne(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	if err := recorder(s).SetProgress(t.Context(), key, f, 0.5); err != nil {
		t.Error(err)
	}
}
