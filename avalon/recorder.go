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

	"github.com/cenkalti/backoff/v4"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// maxGroup bounds the outcomes written by one update: the server compares each with each of their files.
const maxGroup = 250

// A write is retried whose error passes by itself: a document of 16 MB is too much for a small MongoDB while it is
// busy.
const (
	writeRetryDelay = 100 * time.Millisecond // before the first retry; doubled for each further one
	maxWriteRetries = 5                      // 3 s in all
)

// Outcome is what became of one file on one site.
type Outcome struct {
	File     File      // as it was read when the work was planned
	RemoteID string    // the site's id of the file, if it is there now
	Error    string    // why the try failed; "" means that the file is on the site
	At       time.Time // when that was so
}

// Lost says, by file, why an outcome was not written: the file or its record has changed since.
type Lost map[FileKey]string

// Recorder writes what becomes of files into their records of one site.
type Recorder struct {
	store *Store
	site  string
	fence func() error
}

// Recorder returns a recorder for the site that a route leads to. The fence is called right before each write: its
// error, which is returned, means that another process may be writing by now.
func (s *Store) Recorder(route Route, fence func() error) *Recorder {
	return &Recorder{s, route.To, fence}
}

// Record writes outcomes of files of one representation, grouped into few updates because each rewrites the whole
// document on the server.
//
// An outcome is written only where it still applies: the entry has the _id, path, size and hash that it was planned
// with, its record of the site has no created_dt, and for a failure its tries are what they were. Others are returned
// as lost, also those of a representation that is gone: whatever has changed the document has woken us. An error that
// is a [*RecordError] concerns only the files that it names; after any other one everything should be tried again.
func (r *Recorder) Record(ctx context.Context, key Key, outcomes []Outcome) (Lost, error) {
	lost, refused := Lost{}, map[FileKey]error{}
	groups := slices.Collect(slices.Chunk(outcomes, maxGroup))
	for i := 0; i < len(groups); i++ {
		err := r.record(ctx, key, groups[i], lost)
		switch {
		case isWriteError(err) && len(groups[i]) > 1: // one poisoned entry must not lose the others' outcomes
			groups = slices.AppendSeq(groups, slices.Chunk(groups[i], 1))
		case isWriteError(err):
			refused[groups[i][0].File.Key()] = err
		case err != nil:
			return nil, err
		}
	}
	if len(refused) > 0 {
		return lost, &RecordError{Files: refused}
	}
	return lost, nil
}

// RecordError says that the database will not take the outcomes of some files, whatever is tried.
type RecordError struct {
	Files map[FileKey]error // why, by file
}

func (e *RecordError) Error() string {
	byPath := func(a, b FileKey) int { return cmp.Compare(a.Path, b.Path) }
	first := slices.MinFunc(slices.Collect(maps.Keys(e.Files)), byPath)
	return fmt.Sprintf("the records of files can't be written (%d), such as that of %s (%s): %v",
		len(e.Files), first.ID, first.Path, e.Files[first])
}

// transientCodes are those of write errors that pass by themselves: MongoDB was short of cache, or another client
// wrote.
var transientCodes = []int{
	112,    // WriteConflict
	365,    // TemporarilyUnavailable, of MongoDB 6.1 and later
	-31800, // WT_ROLLBACK of the storage engine, which MongoDB 6.0 hands on
}

// isTransient reports whether a write error will soon pass by itself.
func isTransient(err error) bool {
	return isWriteError(err) && slices.ContainsFunc(transientCodes, func(code int) bool { return hasCode(err, code) })
}

func isWriteError(err error) bool {
	var we mongo.WriteException
	return errors.As(err, &we) && len(we.WriteErrors) > 0
}

// maxRecordRounds is how often what still applies is written again, where others of the same group did not.
const maxRecordRounds = 3

// record writes outcomes by one update: all of them or, if one does not apply any more, none. Then it looks which ones
// do, and writes them.
func (r *Recorder) record(ctx context.Context, key Key, outcomes []Outcome, lost Lost) error {
	for _, o := range outcomes {
		if o.Error == "" {
			r.store.ownWrites.add(key, o.At)
		}
	}
	for range maxRecordRounds {
		written, err := r.writeAll(ctx, key, outcomes)
		if err != nil {
			return r.store.wrap(err, "record outcomes of representation %s", key)
		}
		if written {
			return nil
		}
		rep, err := r.store.Representation(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.As(err, new(*MalformedError)) {
			return err
		}
		var left []Outcome
		for _, o := range outcomes {
			applies, why := checkOutcome(rep, err, r.site, o)
			if why != "" {
				lost[o.File.Key()] = why
			} else if applies {
				left = append(left, o)
			}
		}
		if outcomes = left; len(outcomes) == 0 {
			return nil
		}
	}
	for _, o := range outcomes {
		lost[o.File.Key()] = "the record has changed again and again"
	}
	return nil
}

// checkOutcome says whether an outcome still applies to what was read, if it could be, or why it does not. If neither,
// it has been written already.
func checkOutcome(rep *Representation, err error, site string, o Outcome) (applies bool, why string) {
	switch {
	case errors.Is(err, ErrNotFound):
		return false, err.Error()
	case err != nil:
		return false, "the representation can't be read any more"
	}
	named := func(f File) bool { return f.Key() == o.File.Key() }
	i := slices.IndexFunc(rep.Files, func(f File) bool {
		return named(f) && f.rawSize.Equal(o.File.rawSize) && f.rawHash.Equal(o.File.rawHash)
	})
	if i < 0 && slices.ContainsFunc(rep.Files, named) {
		return false, "the file was replaced by another one in the representation"
	} else if i < 0 {
		return false, "the file is no longer in the representation"
	}
	rec, ok := rep.Files[i].RecordFor(site)
	before, _ := o.File.RecordFor(site)
	switch {
	case !ok:
		return false, "its record of the site is gone"
	case rec.Created && o.Error == "" && rec.RemoteID == o.RemoteID && rec.CreatedAt.UnixMilli() == o.At.UnixMilli(),
		!rec.Created && o.Error != "" && rec.Error == o.Error && rec.LastFailed.UnixMilli() == o.At.UnixMilli():
		return false, "" // its answer did not come through
	case rec.Created:
		return false, "another process has recorded it"
	case rec.dict != before.dict || rec.Problem != "":
		return false, "its record of the site was replaced"
	case o.Error != "" && !rec.rawTries.Equal(before.rawTries):
		return false, "its tries were changed"
	}
	return true, ""
}

// writeAll writes outcomes by one update, and reports whether they were.
func (r *Recorder) writeAll(ctx context.Context, key Key, outcomes []Outcome) (written bool, err error) {
	cases, ids := outcomeCases(r.site, outcomes)
	filter := bson.D{{Key: "_id", Value: eq(key.ID)}, filesAreArray}
	if len(outcomes) > 1 {
		filter = append(filter, bson.E{Key: "$expr", Value: allApplyExpr(cases, ids)})
	}
	update := outcomeUpdate(cases, ids)
	err = retryTransient(ctx, func() error {
		if err := r.fence(); err != nil {
			return err
		}
		result, err := r.store.db.Collection(key.Project).UpdateOne(ctx, filter, update)
		written = err == nil && result.ModifiedCount == 1
		return err
	})
	return written, err
}

// retryTransient repeats a write for as long as its error is transient.
func retryTransient(ctx context.Context, write func() error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(writeRetryDelay), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0))
	return backoff.Retry(func() error {
		err := write()
		if err != nil && !isTransient(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(backoff.WithMaxRetries(policy, maxWriteRetries), ctx))
}

// outcomeCase is one outcome as expressions of a file, $$f: whether it still applies, and what the sites become.
type outcomeCase struct{ applies, sites bson.D }

// outcomeCases are outcomes as expressions, and the _ids of their files.
func outcomeCases(site string, outcomes []Outcome) (cases []outcomeCase, ids bson.A) {
	for _, o := range outcomes {
		found, _ := o.File.RecordFor(site)
		ids = append(ids, o.File.ID)
		same := sameFile(o.File)
		var sites bson.D
		if found.dict {
			rec := "$$f.sites." + site
			same = append(same, isOf("$$f.sites", "object"), isOf(rec, "object"),
				guardRecord(rec, found, o.Error == ""))
			sites = call("$mergeObjects", "$$f.sites", bson.D{{Key: site, Value: recordExpr(rec, found, o)}})
		} else {
			ours := call("$and", is("$$s.name", site), guardRecord("$$s", found, o.Error == ""))
			same = append(same, call("$isArray", "$$f.sites"))
			if len(outcomes) > 1 { // the update reports whether one alone was written
				same = append(same, call("$anyElementTrue", bson.A{mapped(elements("$$f.sites"), "s", ours)}))
			}
			sites = mapped("$$f.sites", "s", call("$cond", ours, recordExpr("$$s", found, o), "$$s"))
		}
		cases = append(cases, outcomeCase{applies: call("$and", same...), sites: sites})
	}
	return cases, ids
}

// perFile is an expression that picks one for a file, $$f: that of the outcome that applies to it, or the other.
func perFile(cases []outcomeCase, ids bson.A, value func(i int) any, other any) bson.D {
	var branches bson.A
	for i, c := range cases {
		branches = append(branches, then(c.applies, value(i)))
	}
	picked := call("$switch", bson.D{{Key: "branches", Value: branches}, {Key: "default", Value: other}})
	if len(cases) > 1 {
		// Each file would be compared with each outcome, in a long sequence for longer than all else takes. MongoDB
		// finds a value in a constant list by its hash, so the other files take one look.
		known := call("$gte", call("$indexOfArray", literal(ids), call("$ifNull", "$$f._id", nil)), 0)
		picked = call("$cond", known, picked, other)
	}
	return picked
}

// allApplyExpr is true of a document that all outcomes apply to.
func allApplyExpr(cases []outcomeCase, ids bson.A) bson.D {
	var numbers bson.A
	for i := range cases {
		numbers = append(numbers, i)
	}
	number := perFile(cases, ids, func(i int) any { return literal(i) }, literal(-1))
	return call("$setIsSubset", numbers, mapped(elements("$files"), "f", number))
}

// outcomeUpdate is the update that writes outcomes. It is a pipeline, as MongoDB then logs, and reports to change
// streams, just the fields that changed. Of an update by array filters that changes two elements it logs the
// array, which nobody could tell from an array that a person replaced.
func outcomeUpdate(cases []outcomeCase, ids bson.A) mongo.Pipeline {
	file := perFile(cases, ids, func(i int) any {
		return call("$mergeObjects", "$$f", bson.D{{Key: "sites", Value: cases[i].sites}})
	}, "$$f")
	return mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "files", Value: mapped("$files", "f", file)}}}}}
}

// sameFile is what must still be true of an entry, $$f, that was read and planned with.
func sameFile(f File) bson.A {
	return bson.A{is("$$f._id", f.ID), is("$$f.path", f.Path), is("$$f.size", guardExpr(f.rawSize)),
		is("$$f.hash", guardExpr(f.rawHash))}
}

// guardRecord is what must still be true of the site's record. A person who deleted tries while the upload ran
// has asked for a fresh start, which a failure or the progress of the old one must not spoil.
func guardRecord(rec string, found SiteRecord, succeeded bool) bson.D {
	open := is(rec+".created_dt", nil)
	if succeeded {
		return open
	}
	return call("$and", open, is(rec+".tries", guardExpr(found.rawTries)))
}

// recordExpr is the site's record with the outcome in it.
func recordExpr(rec string, found SiteRecord, o Outcome) bson.D {
	if o.Error != "" {
		return call("$mergeObjects", without(rec, "progress"), bson.D{
			{Key: "error", Value: literal(o.Error)},
			{Key: "tries", Value: literal(int32(found.Tries + 1))},
			{Key: "last_failed_dt", Value: o.At.UTC()},
		})
	}
	return call("$mergeObjects", without(rec, "error", "tries", "last_failed_dt", "progress"), bson.D{
		{Key: "created_dt", Value: o.At.UTC()},
		{Key: "id", Value: literal(o.RemoteID)},
	})
}

// guardExpr is a value for comparing with what was read; null also matches a missing field.
func guardExpr(v bson.RawValue) any {
	if missing(v) {
		return nil
	}
	return v
}

// SetProgress writes into the record how far the upload of a file is, from 0 to 1, as OpenPype does. The file is as it
// was read when the upload was planned; if its record has changed since, nothing is written. The write is acknowledged
// by the primary alone: progress that an election rolls back is no loss.
func (r *Recorder) SetProgress(ctx context.Context, key Key, f File, done float64) error {
	return r.updateProgress(ctx, key, f, "$set", done)
}

// ClearProgress removes what SetProgress has written. Recording an outcome does so too.
func (r *Recorder) ClearProgress(ctx context.Context, key Key, f File) error {
	return r.updateProgress(ctx, key, f, "$unset", "")
}

// updateProgress changes one field by its position in the document, so that MongoDB logs, and change streams report,
// only this field: a change made by an expression may be reported as the whole record, which would wake us.
func (r *Recorder) updateProgress(ctx context.Context, key Key, f File, op string, value any) error {
	found, ok := f.RecordFor(r.site)
	if !ok {
		return nil
	}
	place := fmt.Sprintf("files.%d.sites.%d.progress", f.index, found.index)

	there := call("$and", call("$isArray", "$$f.sites"), let("s", call("$arrayElemAt", "$$f.sites", found.index),
		call("$and", is("$$s.name", r.site), guardRecord("$$s", found, false))))
	if found.dict {
		place = fmt.Sprintf("files.%d.sites.%s.progress", f.index, r.site)
		rec := "$$f.sites." + r.site
		there = call("$and", isOf("$$f.sites", "object"), isOf(rec, "object"), guardRecord(rec, found, false))
	}
	// An expression, as {"files.3.size": null} would also be true of any file that has no field "3".
	same := call("$and", call("$isArray", "$files"), let("f", call("$arrayElemAt", "$files", f.index),
		call("$and", append(sameFile(f), there)...)))
	if err := r.fence(); err != nil {
		return err
	}
	_, err := r.store.db.Collection(key.Project, options.Collection().SetWriteConcern(writeconcern.W1())).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: eq(key.ID)}, {Key: "$expr", Value: same}},
		bson.D{{Key: op, Value: bson.D{{Key: place, Value: value}}}})
	if err != nil {
		return fmt.Errorf("write the progress of representation %s: %w", key, err)
	}
	return nil
}

// ownWrites remembers what this process has just recorded, to recognize it in the change stream. The zero value is
// ready to use.
type ownWrites struct {
	mu           sync.Mutex
	newer, older map[ownWrite]struct{}
}

// ownWrite is a created_dt that was written.
type ownWrite struct {
	key Key
	at  int64 // ms, as in BSON
}

// minOwnWrites is how many are remembered at least. The stream is milliseconds behind, or by many writes when it has
// just been resumed.
const minOwnWrites = 10_000

// add remembers what is about to be written.
func (w *ownWrites) add(key Key, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newer == nil || len(w.newer) >= minOwnWrites {
		w.older, w.newer = w.newer, map[ownWrite]struct{}{}
	}
	w.newer[ownWrite{key, at.UnixMilli()}] = struct{}{}
}

func (w *ownWrites) contains(key Key, at time.Time) bool {
	if at.IsZero() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, newer := w.newer[ownWrite{key, at.UnixMilli()}]
	_, older := w.older[ownWrite{key, at.UnixMilli()}]
	return newer || older
}
