// Package avalon is the only package that knows what Pype's documents look like: it decodes
// representations, finds the pending ones, watches for changes that make one pending, and writes the
// outcome of an upload back. It is a guest: the avalon database belongs to the pipeline, every collection
// in it is a project, and nothing here ever creates a collection or touches more of a document than the
// record of one file on one site. What is done about a pending file is decided elsewhere.
package avalon

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// MongoDB's error codes that decide something here.
const (
	codeUnauthorized         = 13
	codeCursorNotFound       = 43
	codeIndexOptionsConflict = 85
	codeIndexKeySpecsExist   = 86
	codeUUIDMismatch         = 361
	codeUnknownField         = 40415
)

// ErrNotFound means that the representation or its project is no longer there: nothing is left to do.
var ErrNotFound = errors.New("the representation is gone")

// Store reads and writes the avalon database.
type Store struct {
	db        *mongo.Database
	ownWrites ownWrites
}

// NewStore returns a store on the database. Outcomes are acknowledged by a majority of the replica set, so
// that none is rolled back by an election. Reads go to the primary, whatever the connection string prefers: a
// secondary may not yet have what the change stream reports.
func NewStore(client *mongo.Client, database string) *Store {
	return &Store{db: client.Database(database, options.Database().
		SetWriteConcern(writeconcern.Majority()).SetReadPreference(readpref.Primary()))}
}

// closeCursor closes a cursor, also if ctx has ended.
func closeCursor(ctx context.Context, cur *mongo.Cursor) {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // the server may not answer
	defer cancel()
	_ = cur.Close(closing) // the server forgets it in the end
}

// readAll reads what a query has found, unless that failed.
func readAll[T any](ctx context.Context, cur *mongo.Cursor, err error) ([]T, error) {
	var list []T
	if err == nil {
		err = cur.All(ctx, &list)
	}
	return list, err
}

// Project is a collection of the avalon database. One that was dropped and created again is another one.
type Project struct {
	Name string
	uuid string // "" on servers that do not tell
}

// Identity tells the project apart from others, also those that had or will have its name, on servers that do so.
func (p Project) Identity() string {
	if p.uuid == "" {
		return p.Name
	}
	return hex.EncodeToString([]byte(p.uuid))
}

// ProjectNames lists the names of the projects.
func (s *Store) ProjectNames(ctx context.Context) ([]string, error) {
	projects, err := s.Projects(ctx)
	var names []string
	for _, p := range projects {
		names = append(names, p.Name)
	}
	return names, err
}

// Projects lists the projects by name. System collections and views are none.
func (s *Store) Projects(ctx context.Context) ([]Project, error) {
	specs, err := s.db.ListCollectionSpecifications(ctx, bson.D{{Key: "type", Value: "collection"}})
	if err != nil {
		return nil, s.wrap(err, "list the projects of database %s", s.db.Name())
	}
	var list []Project
	for _, c := range specs {
		if strings.HasPrefix(c.Name, "system.") {
			continue
		}
		p := Project{Name: c.Name}
		if c.UUID != nil {
			p.uuid = string(c.UUID.Data)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Project) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// EnsureIndex makes sure that the pending query of the sites is answered from an index of the project. It
// returns [ErrNotFound] if the project has gone.
func (s *Store) EnsureIndex(ctx context.Context, p Project, r Route) error {
	indexes := pendingIndexes(r)
	if err := s.createIndex(ctx, p, indexes[0]); err != nil {
		return err
	}
	if needed, err := s.needsDictIndex(ctx, p.Name); !needed || err != nil {
		return err
	}
	return s.createIndex(ctx, p, indexes[1])
}

// createIndex creates an index of a project, unless it is there.
//
// createIndexes creates the collection if there is none, which would leave a phantom project behind when
// one is dropped at the wrong moment. So the collection is named by its UUID too, which MongoDB 6.0 and
// later check.
func (s *Store) createIndex(ctx context.Context, p Project, x index) error {
	cmd := bson.D{{Key: "createIndexes", Value: p.Name}, {Key: "indexes", Value: []index{x}},
		{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte(p.uuid)}}}
	if p.uuid == "" {
		cmd = cmd[:2]
	}
	err := s.db.RunCommand(ctx, cmd).Err()
	if hasCode(err, codeUnknownField) {
		err = s.db.RunCommand(ctx, cmd[:2]).Err()
	}
	switch {
	case err == nil, hasCode(err, codeIndexOptionsConflict), hasCode(err, codeIndexKeySpecsExist):
		return nil // or it exists by another name or with other options
	case hasCode(err, codeUUIDMismatch):
		return ErrNotFound
	}
	return s.wrap(err, "create the index for pending files in project %s", p.Name)
}

// Indexed reports whether the project has the indexes of the pending query that EnsureIndex creates, by whatever name.
func (s *Store) Indexed(ctx context.Context, p Project, r Route) (bool, error) {
	specs, err := s.db.Collection(p.Name).Indexes().ListSpecifications(ctx)
	if err != nil {
		return false, s.wrap(err, "list the indexes of project %s", p.Name)
	}
	for i, want := range pendingIndexes(r) {
		keys, err := bson.Marshal(want.Keys)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(specs, func(spec mongo.IndexSpecification) bool {
			return bytes.Equal(spec.KeysDocument, keys)
		}) {
			continue
		}
		if i == 0 {
			return false, nil
		}
		needed, err := s.needsDictIndex(ctx, p.Name)
		return !needed, err
	}
	return true, nil
}

// Representation reads one representation as it stands now. The error is [ErrNotFound] if there is none, and
// one that names what is malformed if it cannot be read.
func (s *Store) Representation(ctx context.Context, key Key) (*Representation, error) {
	return s.representation(ctx, key)
}

// OpenRepresentation is [Store.Representation] of one that has a file which waits for a site. Of all others the error
// is [ErrNotFound], and the server keeps the document to itself: most changes that are reported concern other sites,
// and that of a sequence is large where the line to the database is slow.
func (s *Store) OpenRepresentation(ctx context.Context, key Key, site string) (*Representation, error) {
	undefined := bson.E{Key: "created_dt", Value: bson.D{{Key: "$type", Value: "undefined"}}}
	list := openInList("files", site)
	odd := bson.D{{Key: "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{{Key: "name", Value: site},
		undefined}}}}}
	return s.representation(ctx, key, bson.E{Key: "$or", Value: bson.A{list, odd, openInDict("files", site)}})
}

func (s *Store) representation(ctx context.Context, key Key, conditions ...bson.E) (*Representation, error) {
	filter := append(bson.D{{Key: "_id", Value: eq(key.ID)}}, conditions...)
	doc, err := s.db.Collection(key.Project).FindOne(ctx, filter,
		options.FindOne().SetProjection(bson.D{
			{Key: "type", Value: 1}, {Key: "name", Value: 1}, {Key: "context.root", Value: 1}, {Key: "files", Value: 1},
		})).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, s.wrap(err, "read representation %s", key)
	}
	return Decode(key, doc)
}

// wrap says what was being done when err came, and what to do about it where only a person can.
func (s *Store) wrap(err error, format string, args ...any) error {
	doing := fmt.Sprintf(format, args...)
	if hasCode(err, codeUnauthorized) {
		return fmt.Errorf("%s: %w; grant the user the role readWrite on database %s", doing, err, s.db.Name())
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func hasCode(err error, code int) bool {
	var se mongo.ServerError
	return errors.As(err, &se) && se.HasErrorCode(code)
}

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
	docs, err := readAll[bson.Raw](ctx, cur, err)
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

// MissingRights returns the actions that the user is not allowed on the database, which the role readWrite allows.
// With index those are included that creating the index takes.
func (s *Store) MissingRights(ctx context.Context, index bool) ([]string, error) {
	needed := []string{"find", "listCollections", "changeStream", "update"}
	if index {
		needed = append(needed, "createIndex")
	}
	return MissingActions(ctx, s.db, needed)
}

// MissingActions returns those of the actions that the user is not allowed on a database. Nothing is missing without
// authentication. What is allowed on some collections only is taken as allowed.
func MissingActions(ctx context.Context, db *mongo.Database, needed []string) ([]string, error) {
	var status struct {
		AuthInfo struct {
			Users      []bson.Raw `bson:"authenticatedUsers"`
			Privileges []struct {
				Resource struct {
					DB  *string `bson:"db"`
					Any bool    `bson:"anyResource"`
				} `bson:"resource"`
				Actions []string `bson:"actions"`
			} `bson:"authenticatedUserPrivileges"`
		} `bson:"authInfo"`
	}
	command := bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}
	if err := db.RunCommand(ctx, command).Decode(&status); err != nil {
		return nil, fmt.Errorf("ask for the rights on database %s: %w", db.Name(), err)
	}
	if len(status.AuthInfo.Users) == 0 {
		return nil, nil
	}
	var missing []string
	for _, action := range needed {
		allowed := false
		for _, p := range status.AuthInfo.Privileges {
			here := p.Resource.Any || p.Resource.DB != nil && (*p.Resource.DB == "" || *p.Resource.DB == db.Name())
			allowed = allowed || here && slices.Contains(p.Actions, action)
		}
		if !allowed {
			missing = append(missing, action)
		}
	}
	return missing, nil
}
