package studio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Project is one project: a collection of the avalon database. Its methods may be
// used from several goroutines.
type Project struct {
	studio     *Studio
	collection *mongo.Collection
	name       string
	code       string
	id         bson.ObjectID

	mu  sync.Mutex               // held while documents are looked up or created
	ids map[string]bson.ObjectID // of assets, subsets and versions, by path
}

// Project opens a project and creates it if there is none of this name.
func (s *Studio) Project(ctx context.Context, name string) (*Project, error) {
	p := &Project{
		studio:     s,
		collection: s.db.Collection(name),
		name:       name,
		code:       strings.ToLower(name),
		ids:        make(map[string]bson.ObjectID),
	}
	roots, err := p.rootsConfig()
	if err != nil {
		return nil, err
	}
	p.id, _, err = p.ensure(ctx, "", bson.D{
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
// creates version, subset and asset when they are missing, and reports whether
// the version was there before.
func (p *Project) version(ctx context.Context, pub Publish) (id bson.ObjectID, existed bool, err error) {
	asset, _, err := p.ensure(ctx, pub.Asset, bson.D{
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
		return id, false, err
	}
	subset, _, err := p.ensure(ctx, pub.Asset+"\x00"+pub.Subset, bson.D{
		{Key: "schema", Value: "pype:subset-3.0"},
		{Key: "type", Value: "subset"},
		{Key: "name", Value: pub.Subset},
		{Key: "parent", Value: asset},
		{Key: "data", Value: bson.D{{Key: "families", Value: bson.A{pub.Family}}}},
	})
	if err != nil {
		return id, false, err
	}
	return p.ensure(ctx, fmt.Sprintf("%s\x00%s\x00%d", pub.Asset, pub.Subset, pub.Version), bson.D{
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
}

// ensure finds the document of the same type, name and parent, or inserts it.
func (p *Project) ensure(ctx context.Context, path string, doc bson.D) (id bson.ObjectID, existed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.ids[path]; ok {
		return id, true, nil
	}
	var key bson.D
	for _, e := range doc {
		if e.Key == "type" || e.Key == "name" || e.Key == "parent" {
			key = append(key, e)
		}
	}
	var found struct {
		ID bson.ObjectID `bson:"_id"`
	}
	switch err := p.collection.FindOne(ctx, key).Decode(&found); {
	case err == nil:
		p.ids[path] = found.ID
		return found.ID, true, nil
	case !errors.Is(err, mongo.ErrNoDocuments):
		return id, false, fmt.Errorf("look for %v in %s: %w", key, p.name, err)
	}
	id = bson.NewObjectID()
	if _, err := p.collection.InsertOne(ctx, append(bson.D{{Key: "_id", Value: id}}, doc...)); err != nil {
		return id, false, fmt.Errorf("insert %v into %s: %w", key, p.name, err)
	}
	p.ids[path] = id
	return id, false, nil
}
