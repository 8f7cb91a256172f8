package state

import (
	"cmp"
	"context"
	"os"
	"os/user"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// pausePollInterval is how long a change of the pauses may take to be noticed. Reading them costs the database next to
// nothing, and works without change streams too.
const pausePollInterval = 500 * time.Millisecond

// Pause is an order not to begin transfers.
type Pause struct {
	Project string    `json:"project,omitempty"` // "" for all of the site
	By      string    `json:"by"`                // who gave it, for people
	Since   time.Time `json:"since"`
	Why     string    `json:"why,omitempty"`
}

// Pauses are those of a route. They outlast restarts. What an older version has paused, for all routes to a site, is
// paused on each of them, and resumed on all of them.
type Pauses struct {
	database   *Database
	collection *mongo.Collection
	name       RouteName
}

// Pauses returns the pauses of a route.
func (d *Database) Pauses(name RouteName) *Pauses { return &Pauses{d, d.db.Collection("pauses"), name} }

// Person names who runs this process, for Pause.By.
func Person() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// pauseKey is the _id of a document of the collection pauses.
type pauseKey struct {
	Route   string `bson:"site"` // or the name that older versions have for it
	Project string `bson:"project"`
}

// pauseDoc is a document of the collection pauses.
type pauseDoc struct {
	Key   pauseKey  `bson:"_id"`
	By    string    `bson:"by"`
	Since time.Time `bson:"since"`
	Why   string    `bson:"why"`
}

// List returns the pauses: that of the site first, then those of projects by name.
func (p *Pauses) List(ctx context.Context) ([]Pause, error) {
	var docs []pauseDoc
	cur, err := p.collection.Find(ctx, bson.M{"_id.site": bson.M{"$in": bson.A{p.name.route, p.name.older}}})
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	if err != nil {
		return nil, p.database.wrap(err, "read the pauses")
	}
	// Of what is paused under both names, the route's own counts.
	slices.SortFunc(docs, func(a, b pauseDoc) int {
		return cmp.Or(cmp.Compare(a.Key.Project, b.Key.Project), cmp.Compare(p.rank(a), p.rank(b)))
	})
	docs = slices.CompactFunc(docs, func(a, b pauseDoc) bool { return a.Key.Project == b.Key.Project })
	var list []Pause
	for _, d := range docs {
		list = append(list, Pause{d.Key.Project, d.By, d.Since.UTC(), d.Why})
	}
	return list, nil
}

// rank orders what is paused under the route's own name before what is under the older one.
func (p *Pauses) rank(d pauseDoc) int {
	if d.Key.Route == p.name.route {
		return 0
	}
	return 1
}

// Set begins a pause. One that exists gets the new reason, and keeps its age.
func (p *Pauses) Set(ctx context.Context, pause Pause) error {
	list, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.Project == pause.Project {
			pause.Since = old.Since // also of one that an older version has begun
		}
	}
	_, err = p.collection.UpdateOne(ctx, bson.M{"_id": pauseKey{p.name.route, pause.Project}},
		bson.M{"$set": bson.M{"by": pause.By, "why": pause.Why}, "$setOnInsert": bson.M{"since": pause.Since}},
		options.UpdateOne().SetUpsert(true))
	return p.database.wrap(err, "save a pause")
}

// Clear ends the pause of a project, or that of the site for "". It reports whether there was one.
func (p *Pauses) Clear(ctx context.Context, project string) (bool, error) {
	res, err := p.collection.DeleteMany(ctx, bson.M{"_id": bson.M{"$in": bson.A{
		pauseKey{p.name.route, project}, pauseKey{p.name.older, project}}}})
	if err != nil {
		return false, p.database.wrap(err, "end a pause")
	}
	return res.DeletedCount > 0, nil
}

// Watch calls changed with the pauses whenever they differ from the last ones, until ctx ends. While the database
// cannot be read, what was paused stays so.
func (p *Pauses) Watch(ctx context.Context, last []Pause, changed func([]Pause)) {
	tick := time.NewTicker(pausePollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := p.List(ctx)
		if err == nil && !slices.Equal(now, last) { // a database that is away is logged for the lease
			last = now
			changed(now)
		}
	}
}
