package state

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"sitesync/site"
)

// Journal is the journal of the holder of a lease. Several processes write to it at the same time, each with the lease
// of a route of its own, and they may use the same accounts or different ones.
//
// A name in a folder has one claim: a document that is made, confirmed and replaced by conditional updates, so all
// agree on one id for a name. That is enough as long as their accounts are the same, as of two creates with one id
// Drive refuses the second. An id can't be used by another account, so that one waits until the claim may be replaced:
// Drive has nothing under the id, and nobody creates it any more. That is so
//
//   - when only earlier processes of one's own route have owned the claim, which a lease has ended, or
//   - when it has expired, by the database's clock. Who creates something under a claim confirms it again long before,
//     and stops if it can't. What is left is for requests that are on their way. A claim that another account waits
//     for is not confirmed any more, unless a large file is on its way, so nobody is kept waiting by one that fails
//     for long. A process that follows another one on its route has its claims expire soon (Inherit).
//
// A process that has lost its lease, or its claim, does no harm by a late write here: its update finds that the claim
// is another one. What it still sends to Drive is refused for an id that is in use.
type Journal struct {
	*Database
	Lease *Lease

	noneReserved atomic.Bool // older versions have left nothing
}

var _ site.Journal = (*Journal)(nil)

// claimKey is the _id of a document of the collection claims.
type claimKey struct {
	Folder string `bson:"folder"`
	Name   string `bson:"name"`
}

// claims is the collection. What is read has been acknowledged by a majority, as what is written.
func (j *Journal) claims() *mongo.Collection {
	return j.db.Collection("claims", options.Collection().SetReadConcern(readconcern.Majority()))
}

// claimTries bounds how often claims are written again that another process wrote at the same moment.
const claimTries = 5

// errClaimRace says that another process of the same account made a claim at the same moment.
var errClaimRace = errors.New("others claim the same names at the same time")

// Claim is part of [site.Journal]. It takes one write, and a read if something was claimed before.
func (j *Journal) Claim(ctx context.Context, account string, hold time.Duration,
	requests []site.ClaimRequest) ([]site.Claim, error) {
	token, err := j.Lease.FencingToken()
	if err != nil || len(requests) == 0 {
		return nil, err
	}
	claims, err := j.claim(ctx, account, hold, requests)
	for tries := 1; errors.Is(err, errClaimRace) && tries < claimTries; tries++ {
		claims, err = j.claim(ctx, account, hold, requests)
	}
	if err != nil {
		return nil, j.wrap(err, "claim names")
	}
	return claims, j.Lease.Confirm(ctx, token)
}

func (j *Journal) claim(ctx context.Context, account string, hold time.Duration,
	requests []site.ClaimRequest) ([]site.Claim, error) {
	folders := map[string]bool{} // that names are claimed in
	for _, r := range requests {
		folders[r.Folder] = true
	}
	var writes []mongo.WriteModel
	last := -1 // of the folders with a new id, which others are claimed in: these are nothing without it
	for i, r := range requests {
		filter := bson.M{"_id": claimKey{r.Folder, r.Name}}
		var update any
		if r.Spent == "" && r.Stale.ID == "" && r.Account == account {
			// The server takes half of the time for this. One of another account is a duplicate key.
			filter["account"] = account
			if !r.InUse {
				filter["wanted"] = bson.M{"$exists": false} // so is one that may not be confirmed
			}
			if folders[r.ID] {
				filter["id"] = r.ID // so is one with another id
				last = i
			}
			update = bson.M{"$setOnInsert": bson.M{"id": r.ID}, "$addToSet": bson.M{"owners": j.Lease.name.route},
				"$max": bson.M{"hold": hold.Milliseconds()}, "$currentDate": bson.M{"at": true}}
		} else {
			update = j.replacement(account, hold, r)
		}
		writes = append(writes, mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(update).SetUpsert(true))
	}
	res, err := j.claims().BulkWrite(ctx, writes, options.BulkWrite().SetOrdered(last >= 0))
	refused := map[int]bool{} // as duplicates
	if failed, ok := errors.AsType[mongo.BulkWriteException](err); ok && failed.WriteConcernError == nil {
		err = nil
		for _, one := range failed.WriteErrors {
			refused[one.Index] = true
			if !mongo.IsDuplicateKeyError(one) {
				err = one
			}
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([]site.Claim, len(requests))
	if last >= 0 && len(refused) > 0 {
		// The first folder that has an id already is as far as it came.
		i := slices.Min(slices.Collect(maps.Keys(refused)))
		known, err := j.claim(ctx, account, hold, requests[i:i+1])
		if err == nil && i > 0 {
			var above []site.Claim
			above, err = j.claim(ctx, account, hold, requests[:i])
			copy(out, above)
		}
		copy(out[i:], known)
		return out, err
	}
	places := map[claimKey]int{} // in out, of what is to be read
	var known bson.A
	for i, r := range requests {
		out[i] = site.Claim{ID: r.ID, Account: r.Account}
		if _, isNew := res.UpsertedIDs[int64(i)]; !isNew || r.Account != account {
			known = append(known, claimKey{r.Folder, r.Name})
			places[claimKey{r.Folder, r.Name}] = i
		}
	}
	if len(known) == 0 {
		return out, nil
	}
	var docs []struct {
		Key         claimKey  `bson:"_id"`
		ID          string    `bson:"id"`
		Account     string    `bson:"account"`
		At          time.Time `bson:"at"`
		Wanted      time.Time `bson:"wanted"`
		Replaceable bool      `bson:"replaceable"`
	}
	cur, err := j.claims().Find(ctx, bson.M{"_id": bson.M{"$in": known}}, options.Find().SetProjection(
		bson.M{"id": 1, "account": 1, "at": 1, "wanted": 1, "replaceable": j.replaceable(account)}))
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	if err != nil {
		return nil, err
	}
	for _, doc := range docs {
		i := places[doc.Key]
		ours, wanted := doc.Account == account, !doc.Wanted.IsZero()
		if refused[i] && ours && !wanted {
			return nil, errClaimRace
		}
		out[i] = site.Claim{ID: doc.ID, Account: doc.Account, At: doc.At, Replaceable: doc.Replaceable,
			Wanted: ours && wanted && !requests[i].InUse}
	}
	if len(docs) < len(known) {
		return nil, errClaimRace // with their end
	}
	return out, nil
}

// replaceable is true in the database for a claim under which nobody creates anything any more.
func (j *Journal) replaceable(account string) bson.M {
	return bson.M{"$or": bson.A{
		bson.M{"$lte": bson.A{bson.M{"$add": bson.A{"$at", "$hold"}}, "$$NOW"}},
		bson.M{"$and": bson.A{
			bson.M{"$ne": bson.A{"$account", bson.M{"$literal": account}}},
			j.sole(),
		}},
	}}
}

// sole is true in the database for a claim that no process of another route has.
func (j *Journal) sole() bson.M {
	return bson.M{"$setIsSubset": bson.A{"$owners", bson.A{bson.M{"$literal": j.Lease.name.route}}}}
}

// replacement is the update that makes a claim, confirms one of the account, or replaces one as the request allows.
func (j *Journal) replacement(account string, hold time.Duration, r site.ClaimRequest) mongo.Pipeline {
	literal := func(v any) bson.M { return bson.M{"$literal": v} }
	equal := func(a, b any) bson.M { return bson.M{"$eq": bson.A{a, b}} }
	missing := func(field string) bson.M { return equal(bson.M{"$type": field}, "missing") }
	when := func(condition, then, otherwise any) bson.M {
		return bson.M{"$cond": bson.A{condition, then, otherwise}}
	}
	ours := equal("$account", literal(account))
	fresh := bson.A{missing("$id")}
	switch spent := equal("$id", literal(r.Spent)); {
	case r.Spent == "":
	case r.IfSole:
		fresh = append(fresh, bson.M{"$and": bson.A{spent, j.sole()}})
	default:
		fresh = append(fresh, spent)
	}
	if r.Stale.Replaceable { // Drive was asked after that
		fresh = append(fresh, bson.M{"$and": bson.A{equal("$id", literal(r.Stale.ID)), equal("$at", r.Stale.At),
			j.replaceable(account)}})
	}
	confirmed, wanted := ours, any("$wanted")
	if !r.InUse {
		confirmed = bson.M{"$and": bson.A{ours, missing("$wanted")}}
	}
	if r.Stale.ID != "" {
		wanted = when(ours, "$wanted", "$$NOW")
	}
	return mongo.Pipeline{
		{{Key: "$set", Value: bson.M{"fresh": bson.M{"$or": fresh}}}},
		{{Key: "$set", Value: bson.M{
			"id":      when("$fresh", literal(r.ID), "$id"),
			"account": when("$fresh", literal(r.Account), "$account"),
			"owners":  when("$fresh", bson.A{}, "$owners"),
			"at":      when("$fresh", "$$NOW", "$at"),
			"hold":    when("$fresh", 0, "$hold"), // of another account's: what an older version has left behind
			"wanted":  when("$fresh", "$$REMOVE", "$wanted"),
		}}},
		{{Key: "$set", Value: bson.M{"confirmed": confirmed, "wanted": wanted}}},
		{{Key: "$set", Value: bson.M{
			"owners": when("$confirmed", bson.M{"$setUnion": bson.A{"$owners", bson.A{literal(j.Lease.name.route)}}},
				"$owners"),
			"at":   when("$confirmed", "$$NOW", "$at"),
			"hold": when("$confirmed", bson.M{"$max": bson.A{"$hold", hold.Milliseconds()}}, "$hold"),
		}}},
		{{Key: "$unset", Value: bson.A{"fresh", "confirmed"}}},
	}
}

const (
	// inheritedHold is how long others still wait for what an earlier process of the route has claimed: it may have
	// been killed while a request was on its way.
	inheritedHold = 30 * time.Second

	// longHold is the hold from which on a claim is of a large file, which Drive may take long to finish.
	longHold = 5 * time.Minute
)

// Inherit shortens how long processes with other accounts wait for names that only earlier processes of the route have
// claimed, as a lease has ended those. It is for when the lease was just acquired, and nothing is claimed under it yet.
func (j *Journal) Inherit(ctx context.Context) error {
	recent := bson.M{"at": bson.M{"$gte": time.Now().Add(-2 * longHold)}, // others have expired
		"owners": bson.A{j.Lease.name.route}, "hold": bson.M{"$lt": longHold.Milliseconds()}}
	left := bson.M{"$add": bson.A{bson.M{"$subtract": bson.A{"$$NOW", "$at"}}, inheritedHold.Milliseconds()}}
	_, err := j.claims().UpdateMany(ctx, recent,
		mongo.Pipeline{{{Key: "$set", Value: bson.M{"hold": bson.M{"$min": bson.A{"$hold", left}}}}}})
	return j.wrap(err, "take over claims")
}

// reserved is a document of the collection ids, in which older versions reserve ids. Nothing is written to it any more.
type reserved struct {
	Folder  string    `bson:"folder"`
	Names   []string  `bson:"names"`
	IDs     []string  `bson:"ids"`     // of the names
	Account string    `bson:"account"` // that the ids are for
	Token   int64     `bson:"term"`    // fencing token of the lease
	Write   int64     `bson:"n"`       // counts the writes under a token
	At      time.Time `bson:"at"`
}

// Reserved reads the ids that older versions have reserved for names in a folder. They are forgotten two days after the
// upgrade, and not asked for again when there are none.
func (j *Journal) Reserved(ctx context.Context, folder string) (map[string]site.Reservation, error) {
	if j.noneReserved.Load() {
		return nil, nil
	}
	// What a process writes after it has lost the lease sorts before what its successor has written.
	cur, err := j.db.Collection("ids").Find(ctx, bson.M{"folder": folder},
		options.Find().SetSort(bson.D{{Key: "term", Value: 1}, {Key: "n", Value: 1}}))
	var docs []reserved
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	if err == nil && len(docs) == 0 {
		if err = j.db.Collection("ids").FindOne(ctx, bson.M{}).Err(); errors.Is(err, mongo.ErrNoDocuments) {
			j.noneReserved.Store(true)
			err = nil
		}
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

// session is a document of the collection sessions. Its URI is a secret.
type session struct {
	Key     string    `bson:"_id"`
	Size    int64     `bson:"size"`
	ModTime int64     `bson:"mod_time"` // nanoseconds since 1970, as a BSON date has milliseconds only
	URI     string    `bson:"uri"`
	At      time.Time `bson:"at"`
}

// sessionKey is the _id of an upload session: no two processes use one at once, also if they have the same account, so
// each route has its own.
func (j *Journal) sessionKey(key string) string { return j.Lease.name.route + " " + key }

// Session reads the upload session of a file. One that an older version has saved becomes the route's own; only one
// process gets it.
func (j *Journal) Session(ctx context.Context, key string, size int64, modTime time.Time) (string, error) {
	var docs []session
	own := j.sessionKey(key)
	cur, err := j.db.Collection("sessions").Find(ctx, bson.M{"_id": bson.M{"$in": bson.A{own, key}}})
	if err == nil {
		err = cur.All(ctx, &docs)
	}
	uri := ""
	older := false
	for _, doc := range docs {
		switch same := doc.Size == size && doc.ModTime == modTime.UnixNano(); {
		case doc.Key == own && same:
			uri = doc.URI
		case doc.Key == key && same:
			older = true
		}
	}
	if err != nil || uri != "" || !older {
		return uri, j.wrap(err, "read an upload session")
	}
	var doc session
	err = j.db.Collection("sessions").FindOneAndDelete(ctx, bson.M{"_id": key}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return "", nil // another process was faster
	}
	if err != nil {
		return "", j.wrap(err, "take over an upload session")
	}
	if doc.Size != size || doc.ModTime != modTime.UnixNano() {
		return "", nil
	}
	return doc.URI, j.SaveSession(ctx, key, size, modTime, doc.URI)
}

// SaveSession saves the upload session of a file.
func (j *Journal) SaveSession(ctx context.Context, key string, size int64, modTime time.Time, uri string) error {
	key = j.sessionKey(key)
	_, err := j.db.Collection("sessions").ReplaceOne(ctx, bson.M{"_id": key},
		session{key, size, modTime.UnixNano(), uri, time.Now()}, options.Replace().SetUpsert(true))
	if err != nil {
		return j.wrap(err, "save an upload session")
	}
	return j.Lease.Check()
}

// DropSession deletes the upload session of a file.
func (j *Journal) DropSession(ctx context.Context, key string) error {
	_, err := j.db.Collection("sessions").DeleteOne(ctx, bson.M{"_id": j.sessionKey(key)})
	return j.wrap(err, "delete an upload session")
}
