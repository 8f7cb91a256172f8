package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// sitesyncArgs are the flags of sitesync; all else is default.
func sitesyncArgs(transfers int) []string { return []string{"--transfers", strconv.Itoa(transfers)} }

// runSitesync publishes a batch into a new database, then starts sitesync on it and waits until all is marked as
// synced.
func (b *bench) runSitesync(ctx context.Context, j job) (out outcome, err error) {
	b.runs++
	name := fmt.Sprintf("bench_%d", b.runs)
	client := b.env.Mongo.Client()
	defer client.Database(name).Drop(context.WithoutCancel(ctx))
	defer client.Database(name + "_state").Drop(context.WithoutCancel(ctx))
	p, err := studio.New(client.Database(name), studio.Options{Root: b.storage, RemoteSite: testenv.RemoteSite}).
		Project(ctx, "Bench")
	if err != nil {
		return out, err
	}
	publishes := slices.Clone(j.batch.publishes)
	for i := range publishes {
		publishes[i].RecordOnly = true // the files exist
	}
	if len(publishes) > 0 {
		if _, err := p.PublishAll(ctx, publishes...); err != nil {
			return out, err
		}
	}
	presets := filepath.Join(b.dir, name)
	if err := os.Mkdir(presets, 0o700); err != nil {
		return out, err
	}
	if err := (process.Presets{Sites: map[string]process.Site{
		testenv.RemoteSite: {Credentials: b.env.Account.GoogleCredentials(), Root: "/" + b.env.Show.Name + "/" +
			j.root},
	}}).Write(presets); err != nil {
		return out, err
	}
	b.env.Drive.ResetCalls()
	d, err := process.Start(process.Options{Binary: b.env.Binary, Presets: presets, Mongo: b.env.Mongo.URI(),
		Database: name, State: name + "_state", Args: sitesyncArgs(j.transfers),
		Env: []string{"HTTPS_PROXY=" + b.proxy.URL, "NO_PROXY=", "SSL_CERT_FILE=" +
			filepath.Join(b.dir, "ca.pem")}})
	if err != nil {
		return out, err
	}
	defer d.Kill()
	// It logs a file when the database has acknowledged the mark.
	marked := 0
	done := process.Message("change stream open")
	if len(j.batch.files) > 0 {
		done = func(l process.Line) bool {
			if l.Message == "synced" {
				marked++
			}
			return marked == len(j.batch.files)
		}
	}
	if _, err := d.Wait(ctx, done); err != nil {
		return out, err
	}
	end := time.Now()
	if err := d.Stop(); err != nil {
		return out, err
	}
	pending, err := p.Collection().CountDocuments(ctx,
		bson.D{{Key: "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
			{Key: "name", Value: testenv.RemoteSite}, {Key: "created_dt", Value: nil}}}}}})
	if err != nil || pending != int64(j.batch.failing) {
		return out, fmt.Errorf("%d representations are not marked: %w", pending, err)
	}
	first, _, calls := b.seen()
	out = outcome{files: len(j.batch.files), calls: calls, seconds: end.Sub(first).Seconds(), cpu: d.CPU()}
	out.bytes, err = b.check(j)
	return out, err
}
