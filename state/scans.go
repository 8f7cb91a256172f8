package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/avalon"
)

// AccessibleName names the lease of the process that keeps the files of an avalon database accessible on sites, and its
// scans. Processes with other sites work at the same time.
func AccessibleName(database string, sites []string) RouteName {
	var quoted []string
	for _, site := range slices.Sorted(slices.Values(sites)) {
		quoted = append(quoted, fmt.Sprintf("%q", site))
	}
	return RouteName{route: database + " always_accessible_on " + strings.Join(quoted, ", ")}
}

// Scan is how far the documents of a project have been looked through. It outlasts restarts, so that no document is
// read again and again.
type Scan struct {
	Newest    time.Time `bson:"newest"`    // all documents that were made before are done, down to Position
	Position  avalon.ID `bson:"position"`  // all older documents are still to be looked at; zero: none is
	Completed time.Time `bson:"completed"` // when none was left last; zero: never yet
}

// Scans are those of one purpose, by project.
type Scans struct {
	database   *Database
	collection *mongo.Collection
	purpose    string
}

// Scans returns the scans for which a lease is held.
func (d *Database) Scans(lease RouteName) *Scans {
	return &Scans{d, d.db.Collection("scans"), lease.route}
}

// scanKey is the _id of a document of the collection scans.
type scanKey struct {
	Purpose string `bson:"purpose"`
	Project string `bson:"project"`
}

// Read returns the scan of a project; it is zero if there was none.
func (s *Scans) Read(ctx context.Context, project avalon.Project) (Scan, error) {
	var scan Scan
	err := s.collection.FindOne(ctx, bson.M{"_id": scanKey{s.purpose, project.Identity()}}).Decode(&scan)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return Scan{}, s.database.wrap(err, "read how far project "+project.Name+" was scanned")
	}
	return scan, nil
}

// Save saves the scan of a project.
func (s *Scans) Save(ctx context.Context, project avalon.Project, scan Scan) error {
	_, err := s.collection.UpdateOne(ctx, bson.M{"_id": scanKey{s.purpose, project.Identity()}},
		bson.M{"$set": scan}, options.UpdateOne().SetUpsert(true))
	return s.database.wrap(err, "save how far project "+project.Name+" was scanned")
}
