package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/option"

	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

// size of the published files, bytes: a Maya scene of the smallest kind.
const size = 4822

// reaction publishes single files one after the other, each with its own folder as Pype has it, and measures the
// time from the acknowledged insert to when anybody can read created_dt. In turn with that it measures the
// floor, what no sitesync can do without: one upload and one update, by Google's client and MongoDB's driver
// with everything known beforehand and all connections open.
func reaction(ctx context.Context, s *stage.Stage, n int) ([]row, error) {
	p, err := s.Studio.Project(ctx, "Bench")
	if err != nil {
		return nil, err
	}
	credentials, err := google.CredentialsFromJSONWithType(ctx, s.Account.Credentials(), google.ServiceAccount, api.DriveScope)
	if err != nil {
		return nil, err
	}
	client, err := api.NewService(ctx, option.WithEndpoint(s.Drive.URL+"/drive/v3/"),
		option.WithHTTPClient(oauth2.NewClient(ctx, credentials.TokenSource)))
	if err != nil {
		return nil, err
	}
	scratch := s.Mongo.Client().Database("bench").Collection("floor")
	content := strings.Repeat("x", size)

	folder := s.Drive.Mkdir(s.Show, "floor")
	var ours, floor studio.Reactions
	for i := range n {
		rep, err := p.Publish(ctx, studio.Publish{Asset: "Cylinder", Subset: "modelMain", Version: i + 1, Name: "ma", Size: size})
		if err != nil {
			return nil, err
		}
		at, err := s.Studio.WaitSynced(ctx, rep)
		if err != nil {
			return nil, err
		}
		ours = append(ours, at.Sub(rep.Acknowledged))

		inserted, err := scratch.InsertOne(ctx, bson.D{{Key: "n", Value: i}})
		if err != nil {
			return nil, err
		}
		start := time.Now()
		_, err = client.Files.Create(&api.File{Name: fmt.Sprint("floor", i), Parents: []string{folder}}).
			SupportsAllDrives(true).Media(strings.NewReader(content)).Context(ctx).Do()
		if err != nil {
			return nil, err
		}
		if _, err := scratch.UpdateByID(ctx, inserted.InsertedID, bson.D{{Key: "$set", Value: bson.D{{Key: "created_dt", Value: start}}}}); err != nil {
			return nil, err
		}
		floor = append(floor, time.Since(start))
		if (i+1)%100 == 0 {
			fmt.Fprintf(os.Stderr, "reaction: %d of %d publishes\n", i+1, n)
		}
	}
	var rows []row
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.50}, {"p99", 0.99}, {"max", 1}} {
		a, b := ours.Quantile(q.at), floor.Quantile(q.at)
		rows = append(rows, row{what: fmt.Sprintf("reaction %s, %d publishes", q.name, n),
			ours: milliseconds(a), other: milliseconds(b), ratio: float64(a) / float64(b)})
	}
	rows[0].comments = "floor: one upload and one update by hand"
	return rows, nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
