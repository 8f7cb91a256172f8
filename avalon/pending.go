package avalon

import "go.mongodb.org/mongo-driver/v2/bson"

// pendingFilter finds representations with a file that is not on the site yet, has tries left, and is not paused.
//
// Measured on MongoDB 6.0: {created_dt: null} is answered by the same bounds of the index as $exists:
// false, and also finds the nulls that other writers leave. The nested form files.$elemMatch.sites.$elemMatch
// would scan the collection. That the active site has the file is not asked for here: the two conditions
// can be met by two files of one document, and a second $elemMatch would tempt the planner into reading
// everything that was ever published.
func pendingFilter(site string, retryCount int) bson.D {
	untried := bson.E{Key: "tries", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: retryCount}}}}}
	return bson.D{
		{Key: "type", Value: "representation"},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
				{Key: "name", Value: site}, {Key: "created_dt", Value: nil}, untried, {Key: "paused", Value: unpaused()},
			}}}}},
			bson.D{
				{Key: "files.sites." + site, Value: bson.D{{Key: "$exists", Value: true}}},
				{Key: "files.sites." + site + ".created_dt", Value: nil},
				{Key: "files.sites." + site + ".paused", Value: unpaused()},
			},
		}},
	}
}

// openFilters find, from the index, representations with a file that is not on the site and may have failed.
func openFilters(site string) bson.A {
	dict := "files.sites." + site
	return bson.A{
		bson.D{{Key: "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
			{Key: "name", Value: site}, {Key: "created_dt", Value: nil}, {Key: "tries", Value: bson.D{{Key: "$ne", Value: nil}}},
		}}}}},
		bson.D{{Key: dict, Value: bson.D{{Key: "$exists", Value: true}}}, {Key: dict + ".created_dt", Value: nil}},
	}
}

// index is one index that the pending query needs.
type index struct {
	Keys    bson.D `bson:"key"`
	Name    string `bson:"name"`
	Partial bson.D `bson:"partialFilterExpression,omitempty"`
}

// pendingIndexes serve the two halves of pendingFilter. The second one holds only documents in the older
// dict form, so it costs nothing where there are none.
func pendingIndexes(site string) []index {
	dict := "files.sites." + site
	return []index{
		{
			Keys: bson.D{{Key: "files.sites.name", Value: 1}, {Key: "files.sites.created_dt", Value: 1}},
			Name: "files.sites.name_1_files.sites.created_dt_1",
		},
		{
			Keys:    bson.D{{Key: dict + ".created_dt", Value: 1}},
			Name:    dict + ".created_dt_1",
			Partial: bson.D{{Key: dict, Value: bson.D{{Key: "$exists", Value: true}}}},
		},
	}
}
