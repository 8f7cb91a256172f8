package avalon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// maxGrouped bounds the outcomes written by one update: the server compares each with each of their files.
const maxGrouped = 250

// Waits before a write is repeated whose error passes by itself, 3 s in all: a document of 16 MB is too much for a
// small MongoDB while it is busy.
const (
	firstRewrite = 100 * time.Millisecond
	lastRewrite  = 1600 * time.Millisecond
)

// Outcome is what became of one file on one site.
type Outcome struct {
	File     File      // as it was read when the work was planned
	RemoteID string    // the site's id of the file, if it is there now
	Error    string    // why the try failed; "" means that the file is on the site
	At       time.Time // when that was so
}

// Record writes outcomes of files of one representation on one site, grouped into few updates because each
// rewrites the whole document on the server.
//
// An outcome is written only where it still applies: the entry has the _id, path, size and hash that it was
// planned with, its record of the site has no created_dt, and for a failure its tries are what they were.
// What changed meanwhile is left alone (the change itself has woken us), and so is a representation that is
// gone. An error that is a [*RecordError] concerns only the files that it names; any other means that the
// database could not be reached or refused, and that everything should be tried again.
func (s *Store) Record(ctx context.Context, key Key, site string, outcomes []Outcome) error {
	refused := map[FileKey]error{}
	for len(outcomes) > 0 {
		n := min(len(outcomes), maxGrouped)
		group := outcomes[:n]
		outcomes = outcomes[n:]
		err := s.record(ctx, key, site, group)
		if isWriteError(err) && n > 1 {
			// One poisoned entry must not lose the others' outcomes.
			for i := range group {
				if err := s.record(ctx, key, site, group[i:i+1]); isWriteError(err) {
					refused[group[i].File.Key()] = err
				} else if err != nil {
					return err
				}
			}
		} else if isWriteError(err) {
			refused[group[0].File.Key()] = err
		} else if err != nil {
			return err
		}
	}
	if len(refused) > 0 {
		return &RecordError{Files: refused}
	}
	return nil
}

// RecordError says that the database will not take the outcomes of some files, whatever is tried.
type RecordError struct {
	Files map[FileKey]error // why, by file
}

func (e *RecordError) Error() string {
	first := slices.MinFunc(slices.Collect(maps.Keys(e.Files)), func(a, b FileKey) int { return cmp.Compare(a.Path, b.Path) })
	return fmt.Sprintf("the records of %d file(s) can't be written, such as that of %s (%s): %v",
		len(e.Files), first.ID, first.Path, e.Files[first])
}

// Codes of write errors that pass by themselves: MongoDB was short of cache, or somebody else wrote.
var passing = []int{
	112,    // WriteConflict
	365,    // TemporarilyUnavailable, of MongoDB 6.1 and later
	-31800, // WT_ROLLBACK of the storage engine, which MongoDB 6.0 hands on
}

// passes reports whether the error will pass by itself, and soon.
func passes(err error) bool {
	return isWriteError(err) && slices.ContainsFunc(passing, func(code int) bool { return hasCode(err, code) })
}

func isWriteError(err error) bool {
	var we mongo.WriteException
	return errors.As(err, &we) && len(we.WriteErrors) > 0
}

// record writes one update. A small one goes together with those of other representations.
func (s *Store) record(ctx context.Context, key Key, site string, outcomes []Outcome) error {
	for _, o := range outcomes {
		if o.Error == "" {
			s.recorded.add(key, o.At)
		}
	}
	update := mongo.NewUpdateOneModel().SetUpdate(outcomeUpdate(site, outcomes)).
		SetFilter(bson.D{{Key: "_id", Value: eq(key.ID)}, {Key: "files", Value: bson.D{{Key: "$type", Value: "array"}}}})
	alone := func() error {
		q := &question[mongo.WriteModel, struct{}]{asked: update}
		s.writeOutcomes(ctx, key.Project, []*question[mongo.WriteModel, struct{}]{q})
		return q.err
	}
	var err error
	if len(outcomes) == 1 {
		_, err = s.write.do(ctx, key.Project, update)
	} else {
		err = alone()
	}
	if err = patiently(ctx, err, alone); err != nil {
		return s.wrap(err, "record %d outcome(s) of representation %s", len(outcomes), key)
	}
	return nil
}

// patiently does a write again for as long as its error is one that passes by itself.
func patiently(ctx context.Context, err error, again func() error) error {
	for wait := firstRewrite; passes(err) && wait <= lastRewrite && ctx.Err() == nil; wait *= 2 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		err = again()
	}
	return err
}

// writeOutcomes writes updates of representations of a project.
func (s *Store) writeOutcomes(ctx context.Context, project string, updates []*question[mongo.WriteModel, struct{}]) {
	models := make([]mongo.WriteModel, len(updates))
	for i, u := range updates {
		models[i] = u.asked
	}
	err := s.fenced()
	if err == nil {
		_, err = s.db.Collection(project).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	}
	var several mongo.BulkWriteException
	switch {
	case errors.As(err, &several) && several.WriteConcernError == nil:
		for _, we := range several.WriteErrors {
			updates[we.Index].err = mongo.WriteException{WriteErrors: mongo.WriteErrors{we.WriteError}, Labels: several.Labels}
		}
	case len(updates) > 1 && errors.As(err, new(mongo.CommandError)):
		// It may be the fault of one of them.
		for i := range updates {
			s.writeOutcomes(ctx, project, updates[i:i+1])
		}
	default:
		for _, u := range updates {
			u.err = err
		}
	}
}

// outcomeUpdate is the update that writes outcomes. It is a pipeline, as MongoDB then logs, and tells change
// streams, just the fields that changed. Of an update by array filters that changes two elements it logs the
// array, which nobody could tell from an array that a person replaced.
func outcomeUpdate(site string, outcomes []Outcome) mongo.Pipeline {
	var cases, ids bson.A
	for _, o := range outcomes {
		found, _ := o.File.On(site)
		ids = append(ids, o.File.ID)
		same := sameFile(o.File)
		var sites bson.D
		if found.dict {
			rec := "$$f.sites." + site
			same = append(same, call("$eq", call("$type", "$$f.sites"), "object"), call("$eq", call("$type", rec), "object"),
				applies(rec, found, o))
			sites = call("$mergeObjects", "$$f.sites", bson.D{{Key: site, Value: written(rec, found, o)}})
		} else {
			same = append(same, call("$isArray", "$$f.sites"))
			ours := call("$and", is("$$s.name", site), applies("$$s", found, o))
			sites = mapped("$$f.sites", "s", call("$cond", ours, written("$$s", found, o), "$$s"))
		}
		cases = append(cases, bson.D{
			{Key: "case", Value: bson.D{{Key: "$and", Value: same}}},
			{Key: "then", Value: call("$mergeObjects", "$$f", bson.D{{Key: "sites", Value: sites}})},
		})
	}
	file := call("$switch", bson.D{{Key: "branches", Value: cases}, {Key: "default", Value: "$$f"}})
	if len(outcomes) > 1 {
		// Each file would be compared with each outcome, in a long sequence for longer than all else takes. MongoDB finds a
		// value in a constant list by its hash, so the other files take one look.
		file = call("$cond", call("$gte", call("$indexOfArray", literal(ids), call("$ifNull", "$$f._id", nil)), 0), file, "$$f")
	}
	return mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "files", Value: mapped("$files", "f", file)}}}}}
}

// sameFile is what must still be true of an entry, $$f, that was read and planned with.
func sameFile(f File) bson.A {
	return bson.A{
		is("$$f._id", f.ID),
		is("$$f.path", f.Path),
		is("$$f.size", asFound(f.rawSize)),
		is("$$f.hash", asFound(f.rawHash)),
	}
}

// applies is what must still be true of the site's record. A person who deleted tries while the upload ran
// has asked for a fresh start, which a failure of the old one must not spoil.
func applies(rec string, found Site, o Outcome) bson.D {
	open := is(rec+".created_dt", nil)
	if o.Error == "" {
		return open
	}
	return call("$and", open, is(rec+".tries", asFound(found.rawTries)))
}

// written is the site's record with the outcome in it.
func written(rec string, found Site, o Outcome) bson.D {
	if o.Error != "" {
		return call("$mergeObjects", without(rec, "progress"), bson.D{
			{Key: "error", Value: literal(o.Error)},
			{Key: "tries", Value: literal(int32(found.Tries + 1))},
			{Key: "last_failed_dt", Value: o.At.UTC()},
		})
	}
	return call("$mergeObjects", cleared(rec), bson.D{
		{Key: "created_dt", Value: o.At.UTC()},
		{Key: "id", Value: literal(o.RemoteID)},
	})
}

// encoded is what cleared has returned, by record: there is one for lists and one for each site of dicts.
var encoded sync.Map

// cleared is a record without what success takes away. It is encoded once, as each success has it.
func cleared(rec string) bson.Raw {
	if doc, ok := encoded.Load(rec); ok {
		return doc.(bson.Raw)
	}
	doc, _ := bson.Marshal(without(rec, "error", "tries", "last_failed_dt", "progress")) // texts only
	encoded.Store(rec, bson.Raw(doc))
	return doc
}

// is compares a field with a value, whatever that is. Null equals a field that is missing.
func is(field string, v any) bson.D { return call("$eq", call("$ifNull", field, nil), literal(v)) }

// literal is a value that is not to be read as an expression.
func literal(v any) bson.D { return bson.D{{Key: "$literal", Value: v}} }

// eq compares by value, whatever the value is: a pattern or a document would mean something else.
func eq(v any) bson.D { return bson.D{{Key: "$eq", Value: v}} }

// asFound is a value for comparing with what was read; null also matches a missing field.
func asFound(v bson.RawValue) any {
	if missing(v) {
		return nil
	}
	return v
}
