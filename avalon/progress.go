package avalon

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// SetProgress writes into the record how far the upload of a file is, from 0 to 1, as OpenPype does. The file is as it
// was read when the upload was planned; if its record has changed since, nothing is written. The write is acknowledged
// by the primary alone: progress that an election rolls back is no loss.
func (r *Recorder) SetProgress(ctx context.Context, key Key, f File, done float64) error {
	return r.updateProgress(ctx, key, f, func(field string) bson.D {
		return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: done}}}}
	})
}

// ClearProgress removes what SetProgress has written. Recording an outcome does so too.
func (r *Recorder) ClearProgress(ctx context.Context, key Key, f File) error {
	return r.updateProgress(ctx, key, f, func(field string) bson.D {
		return bson.D{{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}}}
	})
}

// updateProgress changes one field by its position in the document, so that MongoDB logs, and change streams report,
// only this field: a change made by an expression may be reported as the whole record, which would wake us.
func (r *Recorder) updateProgress(ctx context.Context, key Key, f File, update func(field string) bson.D) error {
	found, ok := f.RecordFor(r.site)
	if !ok {
		return nil
	}
	place := fmt.Sprintf("files.%d.sites.%d.progress", f.index, found.index)
	open := func(rec string) bson.D {
		return call("$and", is(rec+".created_dt", nil), is(rec+".tries", guardExpr(found.rawTries)))
	}
	there := call("$and", call("$isArray", "$$f.sites"), let("s", call("$arrayElemAt", "$$f.sites", found.index),
		call("$and", is("$$s.name", r.site), open("$$s"))))
	if found.dict {
		place = fmt.Sprintf("files.%d.sites.%s.progress", f.index, r.site)
		rec := "$$f.sites." + r.site
		there = call("$and", isOf("$$f.sites", "object"), isOf(rec, "object"), open(rec))
	}
	// An expression, as {"files.3.size": null} would also be true of any file that has no field "3".
	same := call("$and", call("$isArray", "$files"), let("f", call("$arrayElemAt", "$files", f.index),
		call("$and", append(sameFile(f), there)...)))
	if err := r.fence(); err != nil {
		return err
	}
	_, err := r.store.db.Collection(key.Project, options.Collection().SetWriteConcern(writeconcern.W1())).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: eq(key.ID)}, {Key: "$expr", Value: same}}, update(place))
	if err != nil {
		return fmt.Errorf("write the progress of representation %s: %w", key, err)
	}
	return nil
}
