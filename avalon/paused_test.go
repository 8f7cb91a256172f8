package avalon

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Whatever is in the database, the query and the change stream find each document that has a file which waits.
func TestWhateverWaitsIsFound(t *testing.T) {
	s, coll := newStore(t)
	const seed, retryCount = 3, 6 // any other seed must do too
	o := odd{rand.New(rand.NewPCG(seed, 0)), t, time.Now()}
	changes, err := s.Changes(t.Context(), route)
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close(context.Background())
	waiting, due := map[Key]bool{}, map[Key]bool{}
	for i := range 1500 {
		doc := append(bson.D{{Key: "_id", Value: i}}, o.document()...)
		raw := marshal(t, doc)
		id, _ := idOf(raw.Lookup("_id"))
		key := Key{project, id}
		if rep, err := decode(key, raw); err == nil {
			for _, f := range rep.Files {
				rec, ok := f.RecordFor(gdrive)
				switch {
				case !ok || rec.Created || f.Problem != "" || rec.Problem != "":
				case rec.Paused, rec.rawTries.Type == bson.TypeArray: // a query looks into arrays
				case rec.Tries < retryCount:
					waiting[key] = true
					if active, ok := f.RecordFor("studio"); ok && active.Created {
						due[key] = true
					}
				}
			}
		}
		switch i % 3 {
		case 0:
			_, err = coll.InsertOne(t.Context(), doc)
		case 1:
			_, err = coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}})
			if err == nil {
				_, err = coll.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: i}}, doc)
			}
		case 2:
			_, err = coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}})
			if err == nil {
				_, err = coll.UpdateByID(t.Context(), i, bson.D{{Key: "$set", Value: doc[1:]}})
			}
			if len(doc) == 1 {
				err = nil // there is nothing to set
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	last := insert(t, coll, representation(entry("{root}/last", list())))[0]

	woken := map[Key]bool{}
	for {
		c, err := next(t, changes)
		if err != nil {
			t.Fatal(err)
		}
		if c.Key == last {
			break
		}
		woken[c.Key] = true
	}
	for key := range waiting {
		if !woken[key] {
			t.Errorf("seed %d: %s waits, and did not wake us: %s", seed, key, document(t, coll, key))
		}
	}
	for _, how := range []string{"without the index", "by the index"} {
		found := map[Key]bool{}
		for _, key := range pendingKeys(t, s, retryCount) {
			found[key] = true
		}
		for key := range due {
			if err := coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: eq(key.ID)}}).Err(); err == nil && !found[key] {
				t.Errorf("seed %d: %s is due, and not found %s: %s", seed, key, how, document(t, coll, key))
			}
		}
		// What nobody would insert MongoDB can't index.
		for _, field := range []string{"type", "files.sites.created_dt", "files.sites.tries", "files.sites.gdrive.created_dt", "files.sites.gdrive.tries",
			"files.sites.studio.created_dt", "files.sites.gdrive", "files.sites.studio"} {
			if _, err := coll.DeleteMany(t.Context(), bson.D{{Key: field, Value: bson.D{{Key: "$type", Value: "array"}}}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.EnsureIndex(t.Context(), mustProjects(t, s)[0], route); err != nil {
			t.Fatal(err)
		}
	}
	if len(waiting) < 150 || len(due) < 50 {
		t.Errorf("seed %d: too few wait, or are due: %d, %d", seed, len(waiting), len(due))
	}
}
