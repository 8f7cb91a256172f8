package avalon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ErrNoChangeStreams means that the server is not a member of a replica set.
var ErrNoChangeStreams = errors.New("change streams need a replica set")

// errInvalidated is of our making: the driver tells of no error then.
var errInvalidated = errors.New("the change stream was invalidated: the database was dropped")

// Codes of MongoDB when it is no member of a replica set.
const (
	codeNotReplicaSet       = 40573
	codeMajorityUnsupported = 148 // read concern majority on a standalone with another engine
)

// awaitTime is how long the server may hold an idle change stream's request, so also how long it takes to
// notice that we were told to stop.
const awaitTime = time.Second

// Change is a reason to look.
type Change struct {
	Key    Key
	Update bool // of a representation that was there before, else it was published just now
	Rescan bool // a collection was renamed or dropped: look at every project, there is no key
}

// Changes is an open change stream over the whole database, so also over projects created later.
type Changes struct {
	cs *mongo.ChangeStream
}

// Changes opens a change stream that tells of everything that can make a file pending on the site. It has
// seen nothing that was written before it returns.
func (s *Store) Changes(ctx context.Context, site string) (*Changes, error) {
	cs, err := s.db.Watch(ctx, changesPipeline(site), options.ChangeStream().SetMaxAwaitTime(awaitTime))
	if hasCode(err, codeNotReplicaSet) || hasCode(err, codeMajorityUnsupported) {
		return nil, ErrNoChangeStreams
	}
	if err != nil {
		return nil, s.wrap(err, "open the change stream of database %s", s.db.Name())
	}
	return &Changes{cs: cs}, nil
}

// TryNext waits for a change, but a second at most; ok is false if there was none. The first call only looks
// at what came with the opening and does not wait. It returns the context's error when that ends; after any
// other error the stream is dead, and a new one must be opened. (The driver itself has resumed once by then.)
func (c *Changes) TryNext(ctx context.Context) (next Change, ok bool, err error) {
	// Not cs.Next with a deadline, which would kill the stream.
	if c.cs.TryNext(ctx) {
		return change(c.cs.Current), true, nil
	}
	if err := ctx.Err(); err != nil {
		return Change{}, false, err
	}
	if err := c.cs.Err(); err != nil {
		return Change{}, false, fmt.Errorf("read the change stream: %w", err)
	}
	if c.cs.ID() == 0 {
		return Change{}, false, errInvalidated
	}
	return Change{}, false, nil
}

// Close ends the stream.
func (c *Changes) Close(ctx context.Context) error { return c.cs.Close(ctx) }

func change(event bson.Raw) Change {
	id, ok := documentIDOf(event.Lookup("documentKey", "_id"))
	if !ok {
		return Change{Rescan: true}
	}
	return Change{Key: Key{Project: text(event.Lookup("ns", "coll")), ID: id}, Update: text(event.Lookup("operationType")) == "update"}
}

// Keys of updateDescription, which are paths with dots in them.
const (
	replacedPath = `^files(\.\d+(\.path|\.sites)?)?$`
	recordPath   = `^files\.\d+\.sites\.[^.]+`
)

// changesPipeline lets through, as keys only, what can make a file pending on the site, and nothing that
// [Store.Record] writes.
//
// Inserts and replaces carry their document and are matched on it. For updates the server is not asked to
// look the document up: a sequence of 1,000 frames would be read again for every update of it. They are
// matched on what they changed instead. A success sets created_dt as it removes tries, a failure sets
// last_failed_dt as it sets tries, and that is how our own writes are told from a person's. A small record is
// told of as a whole rather than by its fields. MongoDB before 5.0 tells of all files when several change: then
// our own writes wake us, which costs a look.
func changesPipeline(site string) mongo.Pipeline {
	doc := "fullDocument."
	inserted := bson.D{
		{Key: "operationType", Value: bson.D{{Key: "$in", Value: bson.A{"insert", "replace"}}}},
		{Key: doc + "type", Value: "representation"},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: doc + "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
				{Key: "name", Value: site}, {Key: "created_dt", Value: nil},
			}}}}},
			bson.D{
				{Key: doc + "files.sites." + site, Value: bson.D{{Key: "$exists", Value: true}}},
				{Key: doc + "files.sites." + site + ".created_dt", Value: nil},
			},
		}},
	}

	updated := call("$objectToArray", call("$ifNull", "$updateDescription.updatedFields", bson.D{}))
	removed := call("$ifNull", "$updateDescription.removedFields", bson.A{})
	set := func(regex string, more ...any) bson.D { // some field was set whose path matches
		return some(updated, call("$and", append(bson.A{matches("$$e.k", regex)}, more...)...))
	}
	unset := func(regex string) bson.D { return some(removed, matches("$$e", regex)) }
	changed := bson.D{
		{Key: "operationType", Value: "update"},
		{Key: "$expr", Value: call("$or",
			set(replacedPath),
			set(recordPath+`$`, is("$$e.v.created_dt", nil),
				call("$or", is("$$e.v.last_failed_dt", nil), is("$$e.v.tries", nil))),
			set(recordPath+`\.created_dt$`, is("$$e.v", nil)),
			unset(recordPath+`\.created_dt$`),
			call("$and", unset(recordPath+`\.tries$`), call("$not", set(recordPath+`\.created_dt$`))),
			call("$and", set(recordPath+`\.tries$`), call("$not", set(recordPath+`\.last_failed_dt$`))),
		)},
	}

	moved := bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: bson.A{"rename", "drop", "dropDatabase"}}}}}
	return mongo.Pipeline{
		bson.D{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{inserted, changed, moved}}}}},
		bson.D{{Key: "$project", Value: bson.D{
			{Key: "operationType", Value: 1}, {Key: "ns", Value: 1}, {Key: "documentKey", Value: 1},
		}}},
	}
}

// call builds an aggregation expression: one argument as it is, several as a list.
func call(op string, args ...any) bson.D {
	if len(args) == 1 {
		return bson.D{{Key: op, Value: args[0]}}
	}
	return bson.D{{Key: op, Value: bson.A(args)}}
}

// some is true if the condition holds for an element, $$e, of the list.
func some(list, cond any) bson.D {
	return call("$anyElementTrue", bson.A{mapped(list, "e", cond)})
}

// mapped is the list with each element, called as, replaced by what the expression says.
func mapped(list any, as string, expr any) bson.D {
	return call("$map", bson.D{{Key: "input", Value: list}, {Key: "as", Value: as}, {Key: "in", Value: expr}})
}

func matches(input, regex string) bson.D {
	return call("$regexMatch", bson.D{{Key: "input", Value: input}, {Key: "regex", Value: regex}})
}
