package studio

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Project is one project: a collection of the avalon database. Its methods may be
// used from several goroutines. It remembers what is published, so that publishing
// searches nothing in a large collection; it does not notice what another Project
// of the same name publishes after this one was opened.
type Project struct {
	studio     *Studio
	collection *mongo.Collection
	name       string
	code       string
	id         bson.ObjectID

	mu  sync.Mutex
	ids map[place]bson.ObjectID
}

// place identifies a document below its parent.
type place struct {
	parent     bson.ObjectID
	kind, name string // kind is type in the document
}

// Project opens a project and creates it if there is none of this name.
func (s *Studio) Project(ctx context.Context, name string) (*Project, error) {
	p := &Project{
		studio:     s,
		collection: s.db.Collection(name),
		name:       name,
		code:       strings.ToLower(name),
		ids:        make(map[place]bson.ObjectID),
	}
	roots, err := p.rootsConfig()
	if err != nil {
		return nil, err
	}
	if err := p.load(ctx); err != nil {
		return nil, fmt.Errorf("open project %s: %w", name, err)
	}
	p.id, _, err = p.ensure(ctx, place{kind: "project", name: name}, bson.D{
		{Key: "schema", Value: "avalon-core:project-2.1"},
		{Key: "type", Value: "project"},
		{Key: "name", Value: name},
		{Key: "data", Value: bson.D{
			{Key: "code", Value: p.code},
			{Key: "library_project", Value: false},
			{Key: "active", Value: true},
			{Key: "fps", Value: 25.0},
		}},
		{Key: "config", Value: bson.D{
			{Key: "schema", Value: "avalon-core:config-1.0"},
			{Key: "roots", Value: roots},
			{Key: "tasks", Value: bson.A{}},
			{Key: "apps", Value: bson.A{}},
		}},
		{Key: "parent", Value: nil},
	})
	return p, err
}

// Name returns the project's name, which is its collection's.
func (p *Project) Name() string { return p.name }

// Collection returns the project's collection.
func (p *Project) Collection() *mongo.Collection { return p.collection }

// rootsConfig is the roots as the project's configuration keeps them.
func (p *Project) rootsConfig() (bson.D, error) {
	_, _, roots, err := p.studio.root("")
	if err != nil {
		return nil, err
	}
	if several, ok := roots.(bson.D); ok {
		return several, nil
	}
	return bson.D{{Key: "work", Value: roots}}, nil
}

// version returns the id of the version document that a publish belongs to. It
// creates version, subset and asset when they are missing.
func (p *Project) version(ctx context.Context, pub Publish) (bson.ObjectID, error) {
	asset, _, err := p.ensure(ctx, place{p.id, "asset", pub.Asset}, bson.D{
		{Key: "schema", Value: "avalon-core:asset-3.0"},
		{Key: "type", Value: "asset"},
		{Key: "name", Value: pub.Asset},
		{Key: "parent", Value: p.id},
		{Key: "data", Value: bson.D{
			{Key: "visualParent", Value: nil},
			{Key: "parents", Value: bson.A{hierarchy}},
			{Key: "tasks", Value: bson.D{}},
			{Key: "fps", Value: 25.0},
		}},
	})
	if err != nil {
		return asset, err
	}
	subset, _, err := p.ensure(ctx, place{asset, "subset", pub.Subset}, bson.D{
		{Key: "schema", Value: "pype:subset-3.0"},
		{Key: "type", Value: "subset"},
		{Key: "name", Value: pub.Subset},
		{Key: "parent", Value: asset},
		{Key: "data", Value: bson.D{{Key: "families", Value: bson.A{pub.Family}}}},
	})
	if err != nil {
		return subset, err
	}
	version, _, err := p.ensure(ctx, place{subset, "version", strconv.Itoa(pub.Version)}, bson.D{
		{Key: "schema", Value: "pype:version-3.0"},
		{Key: "type", Value: "version"},
		{Key: "name", Value: int32(pub.Version)},
		{Key: "parent", Value: subset},
		{Key: "data", Value: bson.D{
			{Key: "families", Value: bson.A{pub.Family}},
			{Key: "time", Value: time.Now().In(p.studio.options.Location).Format("20060102T150405Z")},
			{Key: "author", Value: author},
			{Key: "source", Value: "{root}/" + p.name + "/work/scene.ma"},
			{Key: "comment", Value: ""},
			{Key: "machine", Value: "workstation"},
			{Key: "fps", Value: 25.0},
		}},
	})
	return version, err
}

// load learns what the project has already.
func (p *Project) load(ctx context.Context) error {
	kinds := bson.A{"project", "asset", "subset", "version", "representation"}
	cursor, err := p.collection.Find(ctx, bson.D{{Key: "type", Value: bson.D{{Key: "$in", Value: kinds}}}},
		options.Find().SetProjection(bson.D{{Key: "type", Value: 1}, {Key: "parent", Value: 1},
			{Key: "name", Value: 1}}))
	if err != nil {
		return err
	}
	defer cursor.Close(ctx)
	for cursor.Next(ctx) {
		// Not decoded into a struct: tests put all kinds of things in here.
		doc := cursor.Current
		id, ok := doc.Lookup("_id").ObjectIDOK()
		if !ok {
			continue
		}
		var at place
		at.kind, _ = doc.Lookup("type").StringValueOK()
		at.parent, _ = doc.Lookup("parent").ObjectIDOK()
		at.name, ok = doc.Lookup("name").StringValueOK()
		if number, isNumber := doc.Lookup("name").AsInt64OK(); isNumber {
			at.name, ok = strconv.FormatInt(number, 10), true
		}
		if ok {
			p.ids[at] = id
		}
	}
	return cursor.Err()
}

// ensure returns the id of the document at this place; it inserts doc when there
// is none.
func (p *Project) ensure(ctx context.Context, at place, doc bson.D) (id bson.ObjectID, existed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.ids[at]; ok {
		return id, true, nil
	}
	id = bson.NewObjectID()
	if _, err := p.collection.InsertOne(ctx, append(bson.D{{Key: "_id", Value: id}}, doc...)); err != nil {
		return id, false, fmt.Errorf("insert %s %s into %s: %w", at.kind, at.name, p.name, err)
	}
	p.ids[at] = id
	return id, false, nil
}
