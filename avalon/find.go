package avalon

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// PathMatch is a representation that names a path.
type PathMatch struct {
	Key  Key
	Path string // as its file's entry has it
}

// FindPath returns the representations of a project with a file whose path fits a regular expression (of MongoDB's
// kind, PCRE), the newest first, but not more than so many. No index serves it: the server reads the project.
func (s *Store) FindPath(ctx context.Context, project, pattern string, ignoreCase bool, limit int) (
	[]PathMatch, error) {
	regex := bson.Regex{Pattern: pattern}
	if ignoreCase {
		regex.Options = "i"
	}
	cur, err := s.db.Collection(project).Find(ctx,
		bson.D{{Key: "type", Value: "representation"}, {Key: "files.path", Value: regex}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(int64(limit)).
			SetProjection(bson.D{{Key: "files.$", Value: 1}})) // only the file that fits
	var docs []bson.Raw
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	if err != nil {
		return nil, s.wrap(err, "find a path in project %s", project)
	}
	var list []PathMatch
	for _, doc := range docs {
		if id, ok := documentIDOf(doc.Lookup("_id")); ok {
			list = append(list, PathMatch{Key{project, id}, text(doc.Lookup("files", "0", "path"))})
		}
	}
	return list, nil
}

// Time is when an ObjectId was made, which for a document is when it was published. It is zero for other ids.
func (id ID) Time() time.Time {
	if id.kind != bson.TypeObjectID {
		return time.Time{}
	}
	var oid bson.ObjectID
	copy(oid[:], id.raw)
	return oid.Timestamp().UTC()
}
