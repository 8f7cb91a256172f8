package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/option"

	"sitesync/integration/studio"
)

// reaction publishes single files one after the other, each in its own folder as Pype does, and measures the time from
// the acknowledged insert until created_dt can be read. In turn, it measures the minimum: one upload and one update by
// Google's client and MongoDB's driver, with all ids known and all connections open. Neither uses TLS.
func (b *bench) reaction(ctx context.Context) ([]row, error) {
	s, each := b.env, b.Publishes/b.Rounds
	p, err := s.Studio.Project(ctx, "Bench")
	if err != nil {
		return nil, err
	}
	floor, err := b.newFloor(ctx)
	if err != nil {
		return nil, err
	}
	rows := []row{{What: "median"}, {What: "p99"}, {What: "max"}}
	for round := range b.Rounds {
		progress("reaction, round %d of %d ...", round+1, b.Rounds)
		var ours, theirs studio.Reactions
		for i := range each {
			n := round*each + i
			rep, err := p.Publish(ctx, studio.Publish{Asset: "Cylinder", Subset: "modelMain", Version: n + 1,
				Name: "ma", Size: size})
			if err != nil {
				return nil, err
			}
			at, err := s.Studio.WaitSynced(ctx, rep)
			if err != nil {
				return nil, err
			}
			ours = append(ours, at.Sub(rep.Acknowledged))
			took, err := floor(n)
			if err != nil {
				return nil, err
			}
			theirs = append(theirs, took)
		}
		for i, q := range []float64{0.50, 0.99, 1} {
			rows[i].Ours = append(rows[i].Ours, milliseconds(ours.Quantile(q)))
			rows[i].Theirs = append(rows[i].Theirs, milliseconds(theirs.Quantile(q)))
		}
	}
	for i := range rows {
		rows[i].What = fmt.Sprintf("reaction, %s of %d publishes a round", rows[i].What, each)
		rows[i].Unit, rows[i].Peer = "ms", "one upload and one update by hand"
	}
	return rows, nil
}

// stopShared stops the sitesync that reaction uses; the other rows start their own.
func (b *bench) stopShared(context.Context) ([]row, error) { return nil, b.env.Daemon.Stop() }

// newFloor returns a function that makes one upload and one update, and returns how long they took.
func (b *bench) newFloor(ctx context.Context) (func(n int) (time.Duration, error), error) {
	s := b.env
	client, err := newClient(ctx, s.Account.Credentials(), s.Drive.URL)
	if err != nil {
		return nil, err
	}
	scratch := s.Mongo.Client().Database("bench").Collection("floor")
	content := strings.Repeat("x", size)
	folder := s.Drive.Mkdir(s.Show, "floor")
	return func(n int) (time.Duration, error) {
		inserted, err := scratch.InsertOne(ctx, bson.D{{Key: "n", Value: n}})
		if err != nil {
			return 0, err
		}
		start := time.Now()
		_, err = client.Files.Create(&api.File{Name: fmt.Sprint("floor", n), Parents: []string{folder}}).
			SupportsAllDrives(true).Media(strings.NewReader(content)).Context(ctx).Do()
		if err != nil {
			return 0, err
		}
		_, err = scratch.UpdateByID(ctx, inserted.InsertedID,
			bson.D{{Key: "$set", Value: bson.D{{Key: "created_dt", Value: start}}}})
		return time.Since(start), err
	}, nil
}

// newClient returns Google's own client for a Drive.
func newClient(ctx context.Context, key []byte, url string) (*api.Service, error) {
	credentials, err := google.CredentialsFromJSONWithType(ctx, key, google.ServiceAccount, api.DriveScope)
	if err != nil {
		return nil, err
	}
	return api.NewService(ctx, option.WithEndpoint(url+"/drive/v3/"),
		option.WithHTTPClient(oauth2.NewClient(ctx, credentials.TokenSource)))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
