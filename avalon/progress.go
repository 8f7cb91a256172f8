package avalon

import (
	"context"
	"fmt"

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
	found, ok := f.RecordFor(site)
	if !ok {
		return nil
	}
	place := fmt.Sprintf("files.%d.sites.%d.progress", f.index, found.index)
	open := func(rec string) bson.D {
		return call("$and", is(rec+".created_dt", nil), is(rec+".tries", asFound(found.rawTries)))
	}
	there := call("$and", call("$isArray", "$$f.sites"), let("s", call("$arrayElemAt", "$$f.sites", found.index),
		call("$and", is("$$s.name", site), open("$$s"))))
	if found.dict {
		place = fmt.Sprintf("files.%d.sites.%s.progress", f.index, site)
		rec := "$$f.sites." + site
		there = call("$and", isOf("$$f.sites", "object"), isOf(rec, "object"), open(rec))
	}
	// An expression, as {"files.3.size": null} would also be true of any file that has no field "3".
	same := call("$and", call("$isArray", "$files"), let("f", call("$arrayElemAt", "$files", f.index),
		call("$and", append(sameFile(f), there)...)))
	if err := s.fenced(); err != nil {
		return err
	}
	_, err := s.db.Collection(key.Project, options.Collection().SetWriteConcern(writeconcern.W1())).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: eq(key.ID)}, {Key: "$expr", Value: same}}, update(place))
	if err != nil {
		return fmt.Errorf("note the progress of representation %s: %w", key, err)
	}
	return nil
}
