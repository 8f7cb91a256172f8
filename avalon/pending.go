package avalon

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Candidate is a representation that may have a file to upload.
type Candidate struct {
	Key Key
	// SourceOpen is true if the site From is known to lack a file of it, mostly the one that the site To lacks.
	SourceOpen bool
}

// index is one index that the pending query needs.
type index struct {
	Keys    bson.D `bson:"key"`
	Name    string `bson:"name"`
	Partial bson.D `bson:"partialFilterExpression,omitempty"`
}

// Names of the fields that the poll reads from the index instead of the document.
const (
	listName    = "files.sites.name"
	listCreated = "files.sites.created_dt"
	listTries   = "files.sites.tries"
	listPaused  = "files.sites.paused"
)

// pendingIndexes serve the two halves of [Store.Pending]. The first one has all that it asks of sites that are a list,
// and serves all routes. The second one holds only documents in the older dict form, for one route, and is created only
// where there may be many of them: with many routes, as of artists' machines, a collection would soon have as many
// indexes as MongoDB allows, which is 64. Without it they are found by the first one too, as files without names of
// sites, and are read.
//
// MongoDB refuses a document with arrays in two keys of an index ("parallel arrays"), so nothing
// outside of files may be a key; type is in the filter, which takes arrays too.
func pendingIndexes(r Route) []index {
	dict, from := "files.sites."+r.To, "files.sites."+r.From
	return []index{
		newIndex(bson.E{Key: "type", Value: "representation"}, listName, listCreated, listPaused, listTries, "_id"),
		newIndex(exists(dict), dict+".created_dt", dict+".tries", dict+".paused", from+".created_dt"),
	}
}

func newIndex(partial bson.E, fields ...string) index {
	x := index{Name: strings.Join(fields, "_1_") + "_1", Partial: bson.D{partial}} // as MongoDB names an index
	for _, field := range fields {
		x.Keys = append(x.Keys, bson.E{Key: field, Value: 1})
	}
	return x
}

// Pending yields the representations of a project with a file that may be pending or backing off; one may come twice.
// What is to be done about a file is decided from the document, by [Rules.Evaluate]. An error is yielded last.
//
// No document is read that cannot be due. Where sites are a list, not even a due one is, if its record is as Pype
// writes it: the index has all of it but the source, which is in another record. Which representations lack their
// source is read from the index too, if anything is a candidate at all; the opposite, which ones have it, would be all
// that was ever published. Where these are many and the candidates are few, as on the machine of an artist while all of
// the studio waits to be uploaded, only the candidates are asked about.
func (s *Store) Pending(ctx context.Context, project string, r Rules) iter.Seq2[Candidate, error] {
	return func(yield func(Candidate, error) bool) {
		var first []ID              // the first candidates, until it is known which of them lack their source
		var sources map[ID]struct{} // with a file that the site From lacks
		going := true
		var failed error
		report := func(id ID) bool {
			_, sourceOpen := sources[id]
			going = yield(Candidate{Key{project, id}, sourceOpen}, nil)
			return going
		}
		reportFirst := func(all bool) bool {
			if sources, failed = s.openSources(ctx, project, r.From, first, all); failed != nil {
				return false
			}
			ids := first
			first = nil
			return !slices.ContainsFunc(ids, func(id ID) bool { return !report(id) })
		}
		byKey := func(id ID) bool {
			if sources != nil {
				return report(id)
			}
			first = append(first, id)
			return len(first) <= fewCandidates || reportFirst(true)
		}
		plain := func(doc bson.Raw) bool {
			if id, ok := documentIDOf(doc.Lookup("_id")); ok {
				going = yield(Candidate{Key: Key{project, id}}, nil)
			}
			return going
		}
		rest := bson.D{{Key: "$or", Value: append(oddInList(r), pendingInDict(r))}}
		err := s.openKeys(ctx, project, untriedOn(r), 0, byKey)
		if noIndex(err) {
			rest, err, first = bson.D{{Key: "$or", Value: bson.A{pendingInList(r), pendingInDict(r)}}}, nil, nil
		}
		if err = cmp.Or(failed, err); err == nil && len(first) > 0 {
			reportFirst(false)
			err = failed
		}
		if err == nil && going {
			rest = append(bson.D{{Key: "type", Value: "representation"}}, rest...)
			err = s.scan(ctx, project, rest, options.Find(), plain)
		}
		if err != nil && going {
			yield(Candidate{}, s.wrap(err, "find pending representations of project %s", project))
		}
	}
}

const (
	// fewCandidates is how many representations are asked about by themselves, rather than for all that a site lacks,
	// if these are more than manyOpen. The server reads those of them that lack their source.
	fewCandidates = 100
	manyOpen      = 1000

	// maxOpen limits the ids that are remembered of the site From while a project is polled, about 50 MB. Beyond it,
	// documents are read that need not be.
	maxOpen = 500_000
)

// openSources returns the representations with a file that the site From lacks: all of them, or those among the
// candidates at least.
func (s *Store) openSources(ctx context.Context, project, from string, candidates []ID, all bool) (
	map[ID]struct{}, error) {
	sources := map[ID]struct{}{}
	add := func(id ID) bool {
		sources[id] = struct{}{}
		return true
	}
	limit := maxOpen
	if !all {
		limit = manyOpen
	}
	keys := 0
	err := s.openKeys(ctx, project, openOn(from), limit, func(id ID) bool {
		keys++
		return add(id)
	})
	if err != nil || all || keys < manyOpen {
		return sources, err
	}
	filter := append(bson.D{{Key: "type", Value: "representation"}, idIn(candidates)}, openInList("files", from)...)
	o := options.Find().SetHint(pendingIndexes(Route{})[0].Keys)
	err = s.scan(ctx, project, filter, o, func(doc bson.Raw) bool {
		id, ok := documentIDOf(doc.Lookup("_id"))
		return !ok || add(id)
	})
	return sources, err
}

// keyRange is a range of keys of the first index.
type keyRange struct{ from, to bson.D }

func openBound(site string, paused, tries any) bson.D {
	return bson.D{{Key: listName, Value: site}, {Key: listCreated, Value: nil}, {Key: listPaused, Value: paused},
		{Key: listTries, Value: tries}, {Key: "_id", Value: bson.MinKey{}}}
}

// untriedOn is what waits for the remote site, as Pype writes it: no created_dt, no paused, and tries that are missing
// or a number that is small enough. Of each document the server returns the first key of the range, so all that is in
// it must count.
func untriedOn(r Rules) keyRange {
	return keyRange{openBound(r.To, nil, bson.MinKey{}), openBound(r.To, nil, r.RetryCount)}
}

// openOn is what has a record of the site that is not created.
func openOn(site string) keyRange {
	return keyRange{openBound(site, bson.MinKey{}, bson.MinKey{}), openBound(site, bson.MaxKey{}, bson.MaxKey{})}
}

// openKeys yields, from the index alone, the ids of representations with a key in the range, so many at most; all if
// limit is 0.
func (s *Store) openKeys(ctx context.Context, project string, r keyRange, limit int, each func(ID) bool) error {
	// No filter, for which the server would read the documents.
	o := options.Find().SetReturnKey(true).SetHint(pendingIndexes(Route{})[0].Keys).SetMin(r.from).SetMax(r.to).
		SetLimit(int64(limit))
	return s.scan(ctx, project, bson.D{}, o, func(key bson.Raw) bool {
		id, ok := documentIDOf(key.Lookup("_id"))
		return !ok || each(id)
	})
}

// noIndex reports whether a query by the index was refused, as there is none yet or the server does not support it.
func noIndex(err error) bool {
	var refused mongo.CommandError
	return errors.As(err, &refused) && !refused.HasErrorCode(codeUnauthorized) &&
		!refused.HasErrorCode(codeCursorNotFound) && ReasonOf(err) == Other
}

// scan yields what a query finds. MongoDB forgets a cursor that was not read from for 10 minutes, as when the consumer
// waits for uploads: then the scan starts again.
func (s *Store) scan(ctx context.Context, project string, filter bson.D, o *options.FindOptionsBuilder,
	each func(bson.Raw) bool) error {
	if len(filter) > 0 {
		o.SetProjection(bson.D{{Key: "_id", Value: 1}})
	}
	for {
		cur, err := s.db.Collection(project).Find(ctx, filter, o.SetBatchSize(5000))
		if err == nil {
			for more := true; more && cur.Next(ctx); {
				more = each(cur.Current)
			}
			err = cur.Err()
			closeCursor(ctx, cur)
		}
		if !hasCode(err, codeCursorNotFound) {
			return err
		}
	}
}

// pendingInList finds, without the index, what is pending where sites are a list.
func pendingInList(r Rules) bson.D {
	return openInList("files", r.To, unpaused("paused"), bson.E{Key: "tries", Value: triesLeft(r.RetryCount)})
}

// oddInList finds what is pending and not as Pype writes it: with a paused that does not pause, or tries that are
// neither missing nor a number. Each condition has its own bounds in the index.
func oddInList(r Rules) bson.A {
	ofType := func(field string, types ...string) bson.E {
		return bson.E{Key: field, Value: bson.D{{Key: "$type", Value: types}}}
	}
	left := bson.E{Key: "tries", Value: triesLeft(r.RetryCount)}
	odd := ofType("tries", "string", "object", "binData", "objectId", "bool", "date", "regex", "timestamp",
		"javascript", "symbol", "maxKey")
	odd.Value = append(odd.Value.(bson.D), triesLeft(r.RetryCount)...)
	return bson.A{
		openInList("files", r.To, bson.E{Key: "paused", Value: bson.D{{Key: "$in", Value: unpausedValues[1:]}}}, left),
		openInList("files", r.To, ofType("paused", "undefined"), left),
		openInList("files", r.To, bson.E{Key: "paused", Value: nil}, odd),
		openInList("files", r.To, ofType("created_dt", "undefined"), unpaused("paused"), left),
	}
}

// pendingInDict finds what is pending where sites are a dict. There both records are in one entry, so that one
// condition asks for both.
func pendingInDict(r Rules) bson.D {
	rec := "sites." + r.To
	left := bson.E{Key: rec + ".tries", Value: triesLeft(r.RetryCount)}
	return append(unnamed(), openInDict("files", r.To, left, unpaused(rec+".paused"),
		bson.E{Key: "sites." + r.From + ".created_dt", Value: bson.D{{Key: "$ne", Value: nil}}})...)
}

// unnamed is true of a representation with a file whose sites are a dict, or that has none: the first index has these
// together.
func unnamed() bson.D { return bson.D{{Key: listName, Value: nil}} }

// maxUnnamed is how many documents that are unnamed may be read by each poll.
const maxUnnamed = 100

// needsDictIndex reports whether so much of a project is unnamed that an index should have it. It is fast with the
// first index.
func (s *Store) needsDictIndex(ctx context.Context, project string) (bool, error) {
	filter := append(unnamed(), bson.E{Key: "type", Value: "representation"})
	n, err := s.db.Collection(project).CountDocuments(ctx, filter, options.Count().SetLimit(maxUnnamed+1))
	if err != nil {
		return false, s.wrap(err, "count the files without names of sites in project %s", project)
	}
	return n > maxUnnamed, nil
}

// triedFilters find, from the index, representations with a file that is not on the site and may have failed.
func triedFilters(site string) bson.A {
	return bson.A{openInList("files", site, bson.E{Key: "tries", Value: bson.D{{Key: "$ne", Value: nil}}}),
		append(unnamed(), openInDict("files", site)...)}
}
