package avalon

import (
	"context"
	"fmt"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// NoteProgress notes in the record of a site how far the upload of a file is, from 0 to 1, as OpenPype does. The file is
// as it was read when the work was planned; where the record does not stand any more as it was read, nothing is written.
// Nor is it lost much if an election takes it back.
func (s *Store) NoteProgress(ctx context.Context, key Key, site string, f File, done float64) error {
	return s.progress(ctx, key, site, f, func(field string) bson.D {
		return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: done}}}}
	})
}

// DropProgress takes away what was noted, where no outcome does so.
func (s *Store) DropProgress(ctx context.Context, key Key, site string, f File) error {
	return s.progress(ctx, key, site, f, func(field string) bson.D {
		return bson.D{{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}}}
	})
}

// progress changes one field by its place in the document. So MongoDB logs, and tells change streams, this field and
// nothing else: of a change that is made by an expression it may tell the record as a whole, which would wake us.
func (s *Store) progress(ctx context.Context, key Key, site string, f File, update func(field string) bson.D) error {
	found, ok := f.On(site)
	if !ok {
		return nil
	}
	entry := "files." + strconv.Itoa(f.index)
	rec := entry + ".sites." + strconv.Itoa(found.index)
	same := bson.E{Key: rec + ".name", Value: eq(site)}
	if found.dict {
		rec = entry + ".sites." + site
		same = bson.E{Key: rec, Value: bson.D{{Key: "$type", Value: "object"}}}
	}
	_, err := s.db.Collection(key.Project, options.Collection().SetWriteConcern(writeconcern.W1())).UpdateOne(ctx, bson.D{
		{Key: "_id", Value: eq(key.ID)},
		{Key: entry + "._id", Value: eq(f.ID)},
		{Key: entry + ".path", Value: eq(f.Path)},
		{Key: entry + ".size", Value: eq(asFound(f.rawSize))},
		{Key: entry + ".hash", Value: eq(asFound(f.rawHash))},
		same,
		{Key: rec + ".created_dt", Value: nil},
		{Key: rec + ".tries", Value: eq(asFound(found.rawTries))},
	}, update(rec+".progress"))
	if err != nil {
		return fmt.Errorf("note the progress of representation %s: %w", key, err)
	}
	return nil
}
