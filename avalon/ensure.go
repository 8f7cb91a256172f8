package avalon

import (
	"context"
	"encoding/binary"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// EnsureSites adds an empty record of each of the sites to files without, or with null in its place, if any site has
// them: from then on they are pending there. It looks at the representations of a project with these ids. Files that no
// site has are left alone, as nobody could bring them anywhere. No site has a "." in its name.
//
// The error is a [*RefusedError] if only documents are left that the database refuses to change.
func (s *Store) EnsureSites(ctx context.Context, project string, sites []string, ids []ID) (EditResult, error) {
	if len(ids) == 0 {
		return EditResult{}, nil
	}
	list, dict := bson.A{"$$f.sites"}, bson.A{"$$f.sites"}
	for _, site := range sites {
		lacks := is(recordFor("$$f.sites", site), nil)
		list = append(list, call("$cond", lacks, bson.A{bson.D{{Key: "name", Value: literal(site)}}}, bson.A{}))
		dict = append(dict, call("$cond", lacks, bson.D{{Key: site, Value: literal(bson.D{})}}, literal(bson.D{})))
	}
	return s.edit(ctx, project, edit{
		doing:   "add records of the sites " + strings.Join(sites, ", "),
		filters: []bson.D{{idIn(ids)}},
		applies: lacksOneOf("$$f.sites", sites),
		sites:   byForm("$$f.sites", call("$concatArrays", list...), call("$mergeObjects", dict...), "$$f.sites"),
	}, EditOptions{})
}

// lacksOneOf is true of the sites of a file that some site has, and that lack the record of one of those that are
// named.
func lacksOneOf(sites string, named []string) bson.D {
	var lacking bson.A
	for _, site := range named {
		lacking = append(lacking, is(recordFor(sites, site), nil))
	}
	return call("$and", isOnAny(sites), call("$or", lacking...))
}

// NewestIDs returns up to limit ids of the documents of a project, the newest first: those before the id before, from
// the id from on. A zero ID is no limit. They are read from the index of _id alone, and so are those of documents that
// are no representations. (MongoDB sorts ids by their type first. All those that Pype writes are ObjectIds.)
func (s *Store) NewestIDs(ctx context.Context, project string, from, before ID, limit int) ([]ID, error) {
	by := func(direction int) bson.D { return bson.D{{Key: "_id", Value: direction}} }
	o := options.Find().SetHint(by(1)).SetSort(by(-1)).SetProjection(by(1)).SetLimit(int64(limit)).
		SetBatchSize(int32(limit))
	if !from.IsZero() {
		o.SetMin(bson.D{{Key: "_id", Value: from}})
	}
	if !before.IsZero() {
		o.SetMax(bson.D{{Key: "_id", Value: before}})
	}
	cur, err := s.db.Collection(project).Find(ctx, bson.D{}, o)
	docs, err := readAll[bson.Raw](ctx, cur, err)
	if err != nil {
		return nil, s.wrap(err, "list the documents of project %s", project)
	}
	ids := make([]ID, 0, len(docs))
	for _, doc := range docs {
		if id, ok := documentIDOf(doc.Lookup("_id")); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// OldestID is before the ObjectIds that are made at that time, by the second, or later.
func OldestID(at time.Time) ID {
	var oid bson.ObjectID
	binary.BigEndian.PutUint32(oid[:], uint32(at.Unix()))
	return NewID(oid)
}

// LackingChanges opens a change stream that reports what can make a file lack the record of one of the sites, see
// [Store.EnsureSites]: it reports whatever may have such a file, and also some that have none, but not the records that
// EnsureSites adds.
func (s *Store) LackingChanges(ctx context.Context, sites []string) (*Changes, error) {
	return s.watch(ctx, lackingPipeline(sites))
}

// lackingPipeline matches updates on what they changed, as changesPipeline does, which says what MongoDB reports. Where
// that does not tell whether a record is lacking, the update is let through.
func lackingPipeline(sites []string) mongo.Pipeline {
	lacks := func(in string) bson.D { return lacksOneOf(in, sites) }
	inserted := bson.E{Key: "$expr", Value: some(elements("$fullDocument.files"), lacks("$$e.sites"))}

	var keys []string
	names := bson.A{}
	for _, site := range sites {
		keys, names = append(keys, regexp.QuoteMeta(site)), append(names, literal(site))
	}
	const value = "$$e.v"
	// A record that was set as a whole may replace another one, unless it is of one of these sites, in a list or in a
	// dict, or has failed, or was synced.
	ofSites := `\.sites\.(` + strings.Join(keys, "|") + `)$`
	isKnown := call("$and", isOf(value, "object"), call("$or", call("$in", value+".name", names),
		matches("$$e.k", ofSites), isCreated(value), call("$not", is(value+".last_failed_dt", nil))))
	lacking := call("$or",
		wasSet(`^files$`, some(elements(value), lacks("$$e.sites"))),
		wasSet(filePath+`$`, lacks(value+".sites")),
		wasSet(filePath+`\.sites$`, lacks(value)),
		wasSet(recordPath+`$`, call("$not", isKnown)),
		wasSet(recordPath+`\.name$`),
		wasUnset(recordPath+`\.name$`),
		wasUnset(filePath+ofSites),
		some(call("$ifNull", "$updateDescription.truncatedArrays", bson.A{}), // the end of a list was cut off
			matches("$$e.field", filePath+`\.sites$`)),
	)
	// What was synced is on a site now, and maybe on no other one.
	dates := mapped(updated(), "e", call("$cond", matches("$$e.k", recordPath+`$`), value+".created_dt",
		call("$cond", matches("$$e.k", recordPath+`\.created_dt$`), value, nil)))
	created := filtered(dates, "e", call("$not", is("$$e", nil)))
	return reporting(inserted, lacking, first(created))
}
