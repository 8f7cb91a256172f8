package avalon

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// RootUse is how pending files name the root that they are in: one for each beginning of their paths and each
// context.root of their representations.
type RootUse struct {
	Path  string // of one of the files
	Roots Roots  // of its representation
	Files int64
}

// RootUses returns by which roots the files of a project that are not on the site To yet are named.
func (s *Store) RootUses(ctx context.Context, project string, r Route) ([]RootUse, error) {
	// By bytes: patterns and characters fail at a path that is not UTF-8.
	field := call("$cond", call("$eq", call("$indexOfBytes", "$f.path", "{root"), 0),
		call("$substrBytes", "$f.path", 0, call("$add", call("$indexOfBytes", "$f.path", "}"), 1)), "")
	filters := bson.A{openInList("files", r.To), openInDict("files", r.To)}
	due := call("$and", isOpen("$r"), isValid("$f", "$r"),
		let("from", recordFor("$f.sites", r.From), isCreated("$$from")))
	pipeline := append(records(r, filters, "context.root"),
		bson.D{{Key: "$match", Value: bson.D{{Key: "$expr", Value: due}}}},
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: bson.D{{Key: "root", Value: "$context.root"}, {Key: "field", Value: field}}},
			{Key: "path", Value: bson.D{{Key: "$first", Value: "$f.path"}}},
			{Key: "files", Value: bson.D{{Key: "$sum", Value: 1}}},
		}}})
	cur, err := s.db.Collection(project).Aggregate(ctx, pipeline)
	var groups []bson.Raw
	if err == nil {
		err = cur.All(ctx, &groups)
	}
	if err != nil {
		return nil, s.wrap(err, "read the roots of files of project %s", project)
	}
	var uses []RootUse
	for _, g := range groups {
		u := RootUse{Path: text(g.Lookup("path")), Roots: roots(g.Lookup("_id", "root"))}
		u.Files, _ = integer(g.Lookup("files"))
		uses = append(uses, u)
	}
	return uses, nil
}
