package avalon

import (
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Route is from where to where files are synced.
type Route struct {
	From string // the site that has the files
	To   string // the site that waits for them
}

// Rules decide which files are due on a route.
type Rules struct {
	Route
	RetryCount int // failed tries after which a file is left alone, at least 1
	// Backoff is the wait after so many failed tries. It must not decrease with the number of tries.
	Backoff func(tries int) time.Duration
}

// ExponentialBackoff returns a [Rules.Backoff]: first after one failed try, twice as long after each further one, and
// never longer than limit.
func ExponentialBackoff(first, limit time.Duration) func(tries int) time.Duration {
	return func(tries int) (wait time.Duration) {
		policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMaxInterval(limit),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
		for n := 0; n < tries && wait < limit; n++ {
			wait = policy.NextBackOff()
		}
		return min(wait, limit)
	}
}

// Status is the state of a file on a route.
type Status int

// The states of a file.
const (
	Untracked     Status = iota // it has no record of the site To
	Synced                      // it is on the site To
	Pending                     // it is transferred now or next
	BackingOff                  // it waits for its next try
	Failed                      // it has no tries left
	SourceMissing               // the site From does not have it
	Paused                      // its record is paused
	Invalid                     // its entry or its record is malformed
)

// Decision is the status of a file, and why.
type Decision struct {
	Status  Status
	Problem string        // of an invalid one
	Wait    time.Duration // until the next try of one that is backing off
}

// Evaluate decides on one file. Below it the same rule is written once more, as fragments of MongoDB's queries and
// expressions, each with the line of Evaluate that it mirrors. All queries of this package are made of them.
func (r Rules) Evaluate(f *File, now time.Time) Decision {
	to, tracked := f.RecordFor(r.To)
	from, _ := f.RecordFor(r.From)
	switch {
	case f.Problem != "" && (tracked && !to.Created || len(f.Sites) == 0):
		return Decision{Status: Invalid, Problem: f.Problem}
	case !tracked:
		return Decision{Status: Untracked}
	case to.Created:
		return Decision{Status: Synced}
	case to.Paused:
		return Decision{Status: Paused}
	case to.Tries >= r.RetryCount:
		return Decision{Status: Failed}
	case to.Problem != "":
		return Decision{Status: Invalid, Problem: to.Problem}
	case !from.Created:
		return Decision{Status: SourceMissing}
	}
	if to.Tries > 0 && !to.LastFailed.IsZero() {
		// A clock that is behind the one that wrote the date must not make the wait longer than it is.
		full := r.Backoff(to.Tries)
		if wait := min(to.LastFailed.Add(full).Sub(now), full); wait > 0 {
			return Decision{Status: BackingOff, Wait: wait}
		}
	}
	return Decision{Status: Pending}
}

// As an expression, the record of a site is $$r, its file $$f. As a query, a condition applies to documents; there are
// two of each, as sites are a list or a dict.

// recordFor is [File.RecordFor]: the record of the site among sites, which is missing if there is none.
func recordFor(sites, site string) bson.D {
	named := filtered(sites, "s", call("$eq", "$$s.name", literal(site)))
	open := filtered("$$named", "s", is("$$s.created_dt", nil))
	inList := let("named", named, call("$ifNull", first(open), first("$$named")))
	return byForm(sites, inList, sites+"."+site, "$$REMOVE")
}

// isValid mirrors "f.Problem" and "to.Problem" of a file that has a record; see newFile and newSites.
func isValid(f, rec string) bson.D {
	return call("$and", isOf(rec, "object"), isOf(f+".path", "string"), call("$gt", f+".path", ""),
		isOf(f+"._id", "objectId", "string", "int", "long", "double", "binData", "object", "date", "bool", "timestamp",
			"decimal", "symbol"))
}

// isCreated mirrors "to.Created" and "from.Created".
func isCreated(rec string) bson.D {
	return call("$and", isOf(rec, "object"), call("$not", is(rec+".created_dt", nil)))
}

// isOnAny is true of the sites of a file that is on one of them.
func isOnAny(sites string) bson.D {
	return byForm(sites, some(sites, isCreated("$$e")), some(call("$objectToArray", sites), isCreated("$$e.v")), false)
}

// isOpen is the opposite, of a record that is a document.
func isOpen(rec string) bson.D { return call("$and", isOf(rec, "object"), is(rec+".created_dt", nil)) }

// isUnpaused is the opposite of "to.Paused", of a record that is a document.
func isUnpaused(rec string) bson.D {
	return call("$in", call("$ifNull", rec+".paused", nil), unpausedValues)
}

// triesOf mirrors "to.Tries"; see tries.
func triesOf(rec string) bson.D {
	found := rec + ".tries"
	text := call("$trim", bson.D{{Key: "input", Value: found}})
	number := bson.D{{Key: "input", Value: text}, {Key: "to", Value: "long"}, {Key: "onError", Value: 0}}
	return call("$cond", isOf(found, "int", "long", "double", "decimal"), found,
		call("$cond", isOf(found, "string"), call("$convert", number), 0))
}

// openInList finds documents with a list of sites in which a record of the site is not created and meets the
// conditions. The prefix is "files", or where that stands.
func openInList(files, site string, conditions ...bson.E) bson.D {
	rec := append(bson.D{{Key: "name", Value: site}, {Key: "created_dt", Value: nil}}, conditions...)
	return bson.D{{Key: files + ".sites", Value: bson.D{{Key: "$elemMatch", Value: rec}}}}
}

// openInDict finds documents with a dict of sites in which the record of the site is not created and meets the
// conditions, which begin with a field of the file.
//
// Measured on MongoDB 6.0: {created_dt: null} is answered by the same bounds of the index as $exists: false, and also
// finds the nulls that other writers leave.
func openInDict(files, site string, conditions ...bson.E) bson.D {
	rec := "sites." + site
	file := append(bson.D{exists(rec), {Key: rec + ".created_dt", Value: nil}}, conditions...)
	// Without the first condition the partial index is not used.
	return bson.D{exists(files + "." + rec), {Key: files, Value: bson.D{{Key: "$elemMatch", Value: file}}}}
}

func exists(field string) bson.E {
	return bson.E{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}
}

// unpaused is isUnpaused as a condition of a query. It is also met by some arrays, which do pause.
func unpaused(field string) bson.E {
	return bson.E{Key: field, Value: bson.D{{Key: "$in", Value: unpausedValues}}}
}

// triesLeft is the opposite of "to.Tries >= r.RetryCount" as a condition of a query. Of texts those are left out that
// people and programs write; of odd ones, such as " 3 ", the document decides. An array is looked into.
func triesLeft(retryCount int) bson.D {
	used := bson.A{}
	for n := retryCount; n < 100; n++ {
		used = append(used, strconv.Itoa(n))
	}
	return bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: retryCount}}}, {Key: "$nin", Value: used}}
}
