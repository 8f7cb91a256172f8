// Package state is sitesync's own database: what must outlive the process and what several processes must agree on.
// The avalon database belongs to the pipeline, so none of it is kept there.
//
// It has these collections:
//
//	leases    one document for each avalon database and route: which process works on it
//	claims    the Drive id that a name in a folder is created with, one document a name; forgotten after two days
//	pauses    what is paused, one document for a route or a project of it; those of older versions are for all routes
//	          to a site
//	scans     how far projects were looked through for files that lack the record of a site of always_accessible_on
//	sessions  upload sessions of large files, of each route; forgotten after a week, as they end then
//	ids       what older versions have instead of claims; it is only read
//
// An upload session's URI is a secret, as it is enough to upload. It is written here and nowhere else.
package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// codeUnauthorized is MongoDB's error code for missing rights.
const codeUnauthorized = 13

// How long documents are kept. Drive's listings lag by an hour at most, and a claim is written again whenever it is
// used. Drive's upload sessions end after a week.
const (
	claimsTTL   = 2 * 24 * time.Hour
	sessionsTTL = 7 * 24 * time.Hour
)

// Actions are what the database's user must be allowed to do; the role readWrite allows it.
var Actions = []string{"find", "insert", "update", "remove", "createIndex"}

// Database is sitesync's own database.
type Database struct {
	db *mongo.Database
}

// Open returns the database of that name. Writes are acknowledged by a majority of the replica set, so that no
// election takes them back, and reads go to the primary.
func Open(client *mongo.Client, name string) *Database {
	return &Database{client.Database(name, options.Database().
		SetWriteConcern(writeconcern.Majority()).SetReadPreference(readpref.Primary()))}
}

// EnsureIndexes creates the indexes that are missing. It may take long, as MongoDB waits for each member of the set,
// also for one that is down; everything works without them.
func (d *Database) EnsureIndexes(ctx context.Context) error {
	expire := func(after time.Duration) mongo.IndexModel {
		return mongo.IndexModel{Keys: bson.M{"at": 1},
			Options: options.Index().SetExpireAfterSeconds(int32(after / time.Second))}
	}
	for name, indexes := range map[string][]mongo.IndexModel{
		"claims":   {expire(claimsTTL)},
		"sessions": {expire(sessionsTTL)},
	} {
		if _, err := d.db.Collection(name).Indexes().CreateMany(ctx, indexes); err != nil {
			return d.wrap(err, "create the indexes of collection "+name)
		}
	}
	return nil
}

// ClockAhead is how far this machine's clock is ahead of that of MongoDB's primary; negative if it is behind.
func (d *Database) ClockAhead(ctx context.Context) (time.Duration, error) {
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	if err := d.db.RunCommand(ctx, bson.M{"hello": 1}).Decode(&hello); err != nil {
		return 0, d.wrap(err, "read the clock of the server")
	}
	return time.Since(hello.LocalTime), nil
}

// wrap adds what was being done to an error, and the remedy for missing rights.
func (d *Database) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	var se mongo.ServerError
	if errors.As(err, &se) && se.HasErrorCode(codeUnauthorized) {
		return fmt.Errorf("%s in database %s: %w; grant the user the role readWrite on database %[2]s", doing,
			d.db.Name(), err)
	}
	return fmt.Errorf("%s in database %s: %w", doing, d.db.Name(), err)
}
