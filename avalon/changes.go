package avalon

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ErrNoChangeStreams means that the server is not a member of a replica set.
var ErrNoChangeStreams = errors.New("change streams need a replica set")

// errInvalidated is our own: the driver reports no error then.
var errInvalidated = errors.New("the change stream was invalidated: the database was dropped")

// awaitTime is how long the server may hold an idle change stream's request, and so how long it takes to stop.
const awaitTime = time.Second

// Change is a reason to look at a representation.
type Change struct {
	Key    Key
	Update bool // of a representation that was there before; else it has just been published
	Rescan bool // a collection was renamed or dropped: there is no key, look at every project
}

// Changes is an open change stream over the whole database, so also over projects created later.
type Changes struct {
	cs        *mongo.ChangeStream
	ownWrites *ownWrites
}

// Changes opens a change stream that reports everything that can make a file pending on the route. It reports nothing
// that was written before it returns.
func (s *Store) Changes(ctx context.Context, r Route) (*Changes, error) {
	return s.watch(ctx, changesPipeline(r))
}

func (s *Store) watch(ctx context.Context, pipeline mongo.Pipeline) (*Changes, error) {
	cs, err := s.db.Watch(ctx, pipeline, options.ChangeStream().SetMaxAwaitTime(awaitTime))
	switch {
	case err != nil && ReasonOf(err) == NoReplicaSet:
		return nil, ErrNoChangeStreams
	case err != nil:
		return nil, s.wrap(err, "open the change stream of database %s", s.db.Name())
	}
	return &Changes{cs: cs, ownWrites: &s.ownWrites}, nil
}

// TryNext waits up to a second for a change; ok is false if there was none. The first call returns what came with the
// opening and does not wait. The error is that of ctx when that ends; after any other one a new stream must be opened.
// (The driver itself has resumed once by then.)
func (c *Changes) TryNext(ctx context.Context) (next Change, ok bool, err error) {
	// Not cs.Next with a deadline, which would kill the stream.
	for c.cs.TryNext(ctx) {
		if next := change(c.cs.Current); !c.ownWrites.contains(next.Key, date(c.cs.Current.Lookup("created"))) {
			return next, true, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case c.cs.Err() != nil:
		err = fmt.Errorf("read the change stream: %w", c.cs.Err())
	case c.cs.ID() == 0:
		err = errInvalidated
	}
	return Change{}, false, err
}

// Close ends the stream.
func (c *Changes) Close(ctx context.Context) error { return c.cs.Close(ctx) }

func change(event bson.Raw) Change {
	id, ok := documentIDOf(event.Lookup("documentKey", "_id"))
	if !ok {
		return Change{Rescan: true}
	}
	key := Key{Project: text(event.Lookup("ns", "coll")), ID: id}
	return Change{Key: key, Update: text(event.Lookup("operationType")) == "update"}
}

// Keys of updateDescription, which are paths with dots in them.
const (
	filePath   = `^files\.\d+`
	recordPath = `^files\.\d+\.sites\.[^.]+`
)

// updated are the fields that an update has set, as documents with their path, k, and their value, v.
func updated() bson.D {
	return call("$objectToArray", call("$ifNull", "$updateDescription.updatedFields", bson.D{}))
}

// wasSet is true of an update that has set a field, $$e, whose path matches, if all else holds for that.
func wasSet(regex string, more ...any) bson.D {
	return some(updated(), call("$and", append(bson.A{matches("$$e.k", regex)}, more...)...))
}

// wasUnset is true of an update that has removed a field whose path matches.
func wasUnset(regex string) bson.D {
	return some(call("$ifNull", "$updateDescription.removedFields", bson.A{}), matches("$$e", regex))
}

// changesPipeline lets through, as keys only, what can make a file pending on the route.
//
// Inserts and replaces carry their document and are matched on it. The server is not asked to look up the document of
// an update, as it would read a sequence of 1,000 frames again for each one; updates are matched on what they changed.
// MongoDB may report a small record as a whole rather than its fields, and a change in several files as one of all
// files.
//
// What a [Recorder] writes wakes nobody. A failure is recognized by last_failed_dt, which a person does not set with
// tries. A success sets created_dt, as does whatever has brought the file to the site From, and an update of a record
// in a list does not say which site it is of. So these come through with the first of the dates, created, by which
// [Changes] recognizes what was recorded here, for this route or for the one back.
func changesPipeline(r Route) mongo.Pipeline {
	const files = "fullDocument.files"
	inserted := bson.E{Key: "$or", Value: bson.A{openInList(files, r.To, unpaused("paused")),
		openInDict(files, r.To, unpaused("sites."+r.To+".paused"))}}

	const value = "$$e.v"
	set, unset := wasSet, wasUnset
	// named is true of a record that was set as a whole and is of the site, in a list or in a dict.
	named := func(site string) bson.D {
		return call("$or", call("$eq", value+".name", literal(site)),
			matches("$$e.k", `\.sites\.`+regexp.QuoteMeta(site)+`$`))
	}
	isSet := func(field string) bson.D { return call("$not", is(field, nil)) }
	// isDue is true of sites in which the record of To is not created and not paused.
	isDue := func(sites string) bson.D {
		return let("r", recordFor(sites, r.To), call("$and", isOpen("$$r"), isUnpaused("$$r")))
	}
	ourFailure := call("$and", isSet(value+".last_failed_dt"), isSet(value+".tries"))
	woken := call("$or",
		set(filePath+`\.path$`),
		set(`^files$`, call("$isArray", value), some(elements(value), isDue("$$e.sites"))),
		set(filePath+`$`, isDue(value+".sites")),
		set(filePath+`\.sites$`, isDue(value)),
		set(recordPath+`$`, call("$not", call("$isArray", value)), named(r.To), is(value+".created_dt", nil),
			isUnpaused(value), call("$not", ourFailure)),
		set(recordPath+`\.name$`, call("$in", value, bson.A{literal(r.From), literal(r.To)})),
		set(recordPath+`\.created_dt$`, is(value, nil)),
		unset(recordPath+`\.created_dt$`),
		call("$and", unset(recordPath+`\.tries$`), call("$not", set(recordPath+`\.created_dt$`))),
		call("$and", set(recordPath+`\.tries$`), call("$not", set(recordPath+`\.last_failed_dt$`))),
		set(recordPath+`\.paused$`, call("$in", value, unpausedValues)),
		unset(recordPath+`\.paused$`),
	)
	dates := mapped(updated(), "e", call("$switch", bson.D{
		{Key: "branches", Value: bson.A{
			then(call("$and", matches("$$e.k", recordPath+`$`), named(r.From)), value+".created_dt"),
			then(matches("$$e.k", `^files\.\d+\.sites\.(\d+|`+regexp.QuoteMeta(r.From)+`)\.created_dt$`), value),
		}},
		{Key: "default", Value: nil},
	}))
	return reporting(inserted, woken, first(filtered(dates, "d", isSet("$$d"))))
}

// reporting is a pipeline that lets through, as keys only, representations that are inserted or replaced and meet a
// condition, and updates for which an expression is true. So do other updates that have set a created_dt, with that.
func reporting(inserted bson.E, updated, created any) mongo.Pipeline {
	ofType := func(types ...string) bson.D {
		return bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: types}}}}
	}
	insert := append(ofType("insert", "replace"), bson.E{Key: "fullDocument.type", Value: "representation"}, inserted)
	// Null lets nothing through, a date what may have been recorded here.
	updateDate := call("$cond", updated, true, created)
	return mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{insert, ofType("update", "rename", "drop",
			"dropDatabase")}}}}},
		{{Key: "$project", Value: bson.D{
			{Key: "operationType", Value: 1}, {Key: "ns", Value: 1}, {Key: "documentKey", Value: 1},
			{Key: "created", Value: call("$cond", call("$eq", "$operationType", "update"), updateDate, true)},
		}}},
		{{Key: "$match", Value: bson.D{{Key: "created", Value: bson.D{{Key: "$ne", Value: nil}}}}}},
	}
}

// Reason is why a change stream was lost, in a word for logs and metrics.
type Reason string

// The reasons.
const (
	HistoryLost   Reason = "history_lost"   // the oplog no longer goes back to where the stream was
	Invalidated   Reason = "invalidated"    // the database was dropped
	PrimaryChange Reason = "primary_change" // the member is no longer primary, or shuts down
	Network       Reason = "network"        // a connection broke, or there is no primary to connect to
	Oversized     Reason = "oversized"      // an event exceeds the 16 MB of a document
	Unauthorized  Reason = "unauthorized"   // the user, its password or its rights are not accepted
	NoReplicaSet  Reason = "no_replica_set" // the server is no member of a replica set
	Other         Reason = "other"
)

// Reasons are all of them.
var Reasons = []Reason{HistoryLost, Invalidated, PrimaryChange, Network, Oversized, Unauthorized, NoReplicaSet, Other}

// reasonCodes are MongoDB's error codes, as in its error_codes.yml.
var reasonCodes = map[Reason][]int{
	// InvalidResumeToken, ChangeStreamFatalError (the resume token is not found), ChangeStreamHistoryLost,
	// CappedPositionLost (the oplog rolled over while it was read)
	HistoryLost: {260, 280, 286, 136},
	// NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, InterruptedDueToReplStateChange,
	// PrimarySteppedDown, ShutdownInProgress, InterruptedAtShutdown
	PrimaryChange: {10107, 13435, 13436, 11602, 189, 91, 11600},
	// HostUnreachable, HostNotFound, NetworkTimeout, FailedToSatisfyReadPreference, SocketException
	Network:      {6, 7, 89, 133, 9001},
	Oversized:    {10334},                // BSONObjectTooLarge
	Unauthorized: {codeUnauthorized, 18}, // AuthenticationFailed
	NoReplicaSet: {40573, 148},           // the latter on a standalone server with another storage engine
}

// ReasonOf says why a change stream, or the attempt to open one, ended with the error.
func ReasonOf(err error) Reason {
	switch {
	case errors.Is(err, errInvalidated):
		return Invalidated
	case errors.Is(err, ErrNoChangeStreams):
		return NoReplicaSet
	}
	var server mongo.ServerError
	if !errors.As(err, &server) || !slices.ContainsFunc(server.ErrorCodes(), func(code int) bool { return code != 0 }) {
		return Network // no server has said anything: there was none to ask, or it was lost
	}
	for _, reason := range Reasons {
		if slices.ContainsFunc(reasonCodes[reason], server.HasErrorCode) {
			return reason
		}
	}
	return Other
}
