package state

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/site"
)

// Journal is the journal of the holder of a lease. What it reports as written was written while the lease was held, so
// the next holder reads it.
type Journal struct {
	*Database
	Lease *Lease

	writes atomic.Int64
}

var _ site.Journal = (*Journal)(nil)

// reserved is a document of the collection ids.
type reserved struct {
	Folder  string    `bson:"folder"`
	Names   []string  `bson:"names"`
	IDs     []string  `bson:"ids"`     // of the names
	Account string    `bson:"account"` // that the ids are for
	Token   int64     `bson:"term"`    // fencing token of the lease
	Write   int64     `bson:"n"`       // counts the writes under a token
	At      time.Time `bson:"at"`
}

// Reserved reads the ids that are reserved for names in a folder.
func (j *Journal) Reserved(ctx context.Context, folder string) (map[string]site.Reservation, error) {
	// What a process writes after it has lost the lease sorts before what its successor has written.
	cur, err := j.db.Collection("ids").Find(ctx, bson.M{"folder": folder},
		options.Find().SetSort(bson.D{{Key: "term", Value: 1}, {Key: "n", Value: 1}}))
	var docs []reserved
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	if err != nil {
		return nil, j.wrap(err, "read reserved ids")
	}
	out := map[string]site.Reservation{}
	for _, doc := range docs {
		for i, name := range doc.Names[:min(len(doc.Names), len(doc.IDs))] {
			out[name] = site.Reservation{ID: doc.IDs[i], At: doc.At, Account: doc.Account}
		}
	}
	return out, nil
}

// Reserve saves ids of an account for names in folders, in one write.
func (j *Journal) Reserve(ctx context.Context, account string, ids map[string]map[string]string) error {
	token, err := j.Lease.FencingToken()
	if err != nil {
		return err
	}
	var docs []reserved
	for folder, names := range ids {
		doc := reserved{Folder: folder, Account: account, Token: token, Write: j.writes.Add(1), At: time.Now()}
		for name, id := range names {
			doc.Names, doc.IDs = append(doc.Names, name), append(doc.IDs, id)
		}
		docs = append(docs, doc)
	}
	if _, err := j.db.Collection("ids").InsertMany(ctx, docs); err != nil {
		return j.wrap(err, "reserve ids")
	}
	return j.Lease.Confirm(ctx, token)
}

// session is a document of the collection sessions. Its URI is a secret.
type session struct {
	Key     string    `bson:"_id"`
	Size    int64     `bson:"size"`
	ModTime int64     `bson:"mod_time"` // nanoseconds since 1970, as a BSON date has milliseconds only
	URI     string    `bson:"uri"`
	At      time.Time `bson:"at"`
}

// Session reads the upload session of a file.
func (j *Journal) Session(ctx context.Context, key string, size int64, modTime time.Time) (string, error) {
	var doc session
	err := j.db.Collection("sessions").FindOne(ctx, bson.M{"_id": key}).Decode(&doc)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return "", j.wrap(err, "read an upload session")
	}
	if doc.Size != size || doc.ModTime != modTime.UnixNano() {
		return "", nil
	}
	return doc.URI, nil // "" if there is none
}

// SaveSession saves the upload session of a file.
func (j *Journal) SaveSession(ctx context.Context, key string, size int64, modTime time.Time, uri string) error {
	_, err := j.db.Collection("sessions").ReplaceOne(ctx, bson.M{"_id": key},
		session{key, size, modTime.UnixNano(), uri, time.Now()}, options.Replace().SetUpsert(true))
	if err != nil {
		return j.wrap(err, "save an upload session")
	}
	return j.Lease.Check()
}

// DropSession deletes the upload session of a file.
func (j *Journal) DropSession(ctx context.Context, key string) error {
	_, err := j.db.Collection("sessions").DeleteOne(ctx, bson.M{"_id": key})
	return j.wrap(err, "delete an upload session")
}
