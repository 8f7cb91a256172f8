package avalon

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Selection says which representations of a project are meant: those that meet all that is set. In names, * stands for
// any characters and ? for one.
type Selection struct {
	Representations []ID   // nil: all
	Asset           string // name of the asset or shot
	Subset          string // name of the subset
	Family          string // one of those of the subset, or of the version
	Name            string // of the representation, "exr"
	Version         Version
}

// Version says which versions of a subset are meant: all, if nothing is set.
type Version struct {
	Latest bool   // the one with the highest number
	Hero   bool   // master and hero versions: copies of a version, in a place that stays
	Number *int64 // the one with this number
}

// Representations returns the ids of the representations of a project that are selected.
func (s *Store) Representations(ctx context.Context, project string, sel Selection) ([]ID, error) {
	filters, err := s.selected(ctx, project, sel)
	var all []ID
	for _, filter := range filters {
		var ids []ID
		if ids, err = s.ids(ctx, project, "representation", filter...); err != nil {
			break
		}
		all = append(all, ids...)
	}
	if err != nil {
		return nil, s.wrap(err, "find the representations in project %s", project)
	}
	return all, nil
}

// maxParents bounds the documents that are asked for at once: a query must be smaller than 16 MB, and each one may read
// all documents, as avalon has no index of parent.
const maxParents = 50_000

// selected are filters for the representations that are selected; no representation fits two of them.
func (s *Store) selected(ctx context.Context, project string, sel Selection) ([]bson.D, error) {
	var own bson.D
	if sel.Name != "" {
		own = append(own, named(sel.Name))
	}
	var filters []bson.D
	if sel.Representations != nil {
		for some := range slices.Chunk(sel.Representations, maxParents) {
			filters = append(filters, append(bson.D{idIn(some)}, own...))
		}
		return filters, nil
	}
	if sel.Asset == "" && sel.Subset == "" && sel.Family == "" && sel.Version == (Version{}) {
		return []bson.D{own}, nil
	}
	versions, err := s.versions(ctx, project, sel)
	for some := range slices.Chunk(versions, maxParents) {
		filters = append(filters, append(bson.D{parentIn(some)}, own...))
	}
	return filters, err
}

// versions are the ids of the versions that are selected.
func (s *Store) versions(ctx context.Context, project string, sel Selection) ([]ID, error) {
	var ofSubset bson.D // conditions of subsets
	if sel.Asset != "" {
		assets, err := s.ids(ctx, project, "asset", named(sel.Asset))
		if err != nil {
			return nil, err
		}
		ofSubset = append(ofSubset, parentIn(assets))
	}
	if sel.Subset != "" {
		ofSubset = append(ofSubset, named(sel.Subset))
	}
	// A master version stands beside the numbered ones.
	types, hero := bson.A{"version", "master_version", "hero_version"}, 1
	switch {
	case sel.Version.Hero:
		types = types[hero:]
	case sel.Version.Latest || sel.Version.Number != nil:
		types = types[:hero]
	}
	wanted := bson.D{{Key: "type", Value: bson.D{{Key: "$in", Value: types}}}}
	if sel.Version.Number != nil {
		wanted = append(wanted, bson.E{Key: "name", Value: *sel.Version.Number})
	}
	if ofSubset != nil {
		subsets, err := s.ids(ctx, project, "subset", ofSubset...)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, parentIn(subsets))
	}
	if sel.Family != "" { // of the subset; before schema 3.0 each version had its own
		family := bson.A{bson.D{{Key: "data.families", Value: sel.Family}},
			bson.D{{Key: "data.family", Value: sel.Family}}}
		subsets, err := s.ids(ctx, project, "subset", append(ofSubset, bson.E{Key: "$or", Value: family})...)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, bson.E{Key: "$or", Value: append(family, bson.D{parentIn(subsets)})})
	}
	cur, err := s.db.Collection(project).Find(ctx, wanted,
		options.Find().SetProjection(bson.D{{Key: "parent", Value: 1}, {Key: "name", Value: 1}}))
	docs, err := readAll[bson.Raw](ctx, cur, err)
	if sel.Version.Latest {
		docs = latest(docs)
	}
	var ids []ID
	for _, doc := range docs {
		if id, ok := documentIDOf(doc.Lookup("_id")); ok {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// latest are those of the versions that have the highest number of their subset. What is no number is the lowest.
func latest(versions []bson.Raw) []bson.Raw {
	number := func(doc bson.Raw) int64 {
		n, _ := integer(doc.Lookup("name"))
		return n
	}
	newest := map[ID]bson.Raw{}
	for _, doc := range versions {
		subset, _ := documentIDOf(doc.Lookup("parent"))
		if old, found := newest[subset]; !found || number(doc) > number(old) {
			newest[subset] = doc
		}
	}
	return slices.DeleteFunc(versions, func(doc bson.Raw) bool {
		subset, _ := documentIDOf(doc.Lookup("parent"))
		return number(doc) < number(newest[subset])
	})
}

func idIn(ids []ID) bson.E     { return bson.E{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}} }
func parentIn(ids []ID) bson.E { return bson.E{Key: "parent", Value: bson.D{{Key: "$in", Value: ids}}} }

// named is met by a name that fits a pattern with * and ?.
func named(pattern string) bson.E {
	regex := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return bson.E{Key: "name", Value: bson.Regex{Pattern: "^" + regex + "$"}}
}

// ids are those of the documents of a type that meet the conditions.
func (s *Store) ids(ctx context.Context, project, ofType string, conditions ...bson.E) ([]ID, error) {
	ids := []ID{} // also $in of none wants a list
	filter := append(bson.D{{Key: "type", Value: ofType}}, conditions...)
	err := s.scan(ctx, project, filter, options.Find(), func(doc bson.Raw) bool {
		id, ok := documentIDOf(doc.Lookup("_id"))
		if ok {
			ids = append(ids, id)
		}
		return true
	})
	return ids, err
}
