package avalon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// maxGrouped bounds the outcomes written by one update: each needs array filters of its own.
const maxGrouped = 250

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
	var failed error
	for len(outcomes) > 0 {
		n := min(len(outcomes), maxGrouped)
		group := outcomes[:n]
		outcomes = outcomes[n:]
		err := s.record(ctx, key, site, group)
		if isWriteError(err) && n > 1 {
			// One poisoned entry must not lose the others' outcomes.
			for i := range group {
				if err := s.record(ctx, key, site, group[i:i+1]); isWriteError(err) {
					failed = errors.Join(failed, &RecordError{File: group[i].File.Key(), Err: err})
				} else if err != nil {
					return err
				}
			}
		} else if isWriteError(err) {
			failed = errors.Join(failed, &RecordError{File: group[0].File.Key(), Err: err})
		} else if err != nil {
			return err
		}
	}
	return failed
}

// RecordError says that the database will not take the outcome of one file, whatever is tried.
type RecordError struct {
	File FileKey
	Err  error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("file %s (%s): the record can't be written: %v", e.File.ID, e.File.Path, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

func isWriteError(err error) bool {
	var we mongo.WriteException
	return errors.As(err, &we) && len(we.WriteErrors) > 0
}

func (s *Store) record(ctx context.Context, key Key, site string, outcomes []Outcome) error {
	set, unset := bson.D{}, bson.D{}
	var filters []any
	for i, o := range outcomes {
		file, rec := "f"+strconv.Itoa(i), "s"+strconv.Itoa(i)
		found, _ := o.File.On(site)
		match := bson.D{
			{Key: file + "._id", Value: eq(o.File.ID)},
			{Key: file + ".path", Value: eq(o.File.Path)},
			{Key: file + ".size", Value: eq(asFound(o.File.rawSize))},
			{Key: file + ".hash", Value: eq(asFound(o.File.rawHash))},
		}
		var at string
		if found.dict {
			at = "files.$[" + file + "].sites." + site
			match = append(match, recordGuard(file+".sites."+site, found, o)...)
			// On a list this path would match nothing and the update would fail.
			match = append(match, bson.E{Key: file + ".sites." + site, Value: bson.D{{Key: "$type", Value: "object"}}})
		} else {
			at = "files.$[" + file + "].sites.$[" + rec + "]"
			match = append(match, bson.E{Key: file + ".sites", Value: bson.D{{Key: "$type", Value: "array"}}})
			filters = append(filters, append(bson.D{{Key: rec + ".name", Value: site}}, recordGuard(rec, found, o)...))
		}
		filters = append(filters, match)

		if o.Error != "" {
			set = append(set,
				bson.E{Key: at + ".error", Value: o.Error},
				bson.E{Key: at + ".tries", Value: int32(found.Tries + 1)},
				bson.E{Key: at + ".last_failed_dt", Value: o.At.UTC()})
			continue
		}
		set = append(set,
			bson.E{Key: at + ".created_dt", Value: o.At.UTC()},
			bson.E{Key: at + ".id", Value: o.RemoteID})
		for _, field := range []string{".error", ".tries", ".last_failed_dt"} {
			unset = append(unset, bson.E{Key: at + field, Value: ""})
		}
	}
	update := bson.D{{Key: "$set", Value: set}}
	if len(unset) > 0 {
		update = append(update, bson.E{Key: "$unset", Value: unset})
	}
	_, err := s.db.Collection(key.Project).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: eq(key.ID)}}, update, options.UpdateOne().SetArrayFilters(filters))
	if err != nil {
		return fmt.Errorf("record %d outcome(s) of representation %s: %w", len(outcomes), key, err)
	}
	return nil
}

// recordGuard is what must still be true of the site's record. A person who deleted tries while the upload
// ran has asked for a fresh start, which a failure of the old one must not spoil.
func recordGuard(at string, found Site, o Outcome) bson.D {
	guard := bson.D{{Key: at + ".created_dt", Value: nil}}
	if o.Error != "" {
		guard = append(guard, bson.E{Key: at + ".tries", Value: eq(asFound(found.rawTries))})
	}
	return guard
}

// eq compares by value, whatever the value is: a pattern or a document would mean something else.
func eq(v any) bson.D { return bson.D{{Key: "$eq", Value: v}} }

// asFound is a value for comparing with what was read; null also matches a missing field.
func asFound(v bson.RawValue) any {
	if missing(v) {
		return nil
	}
	return v
}
