package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"sitesync/integration/daemon"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

const (
	// remoteSite is the site's name in the presets and the records.
	remoteSite = "gdrive"
	// retryCount is after how many tries a file is given up.
	retryCount = 3
)

// stage is everything that runs.
type stage struct {
	dir    string // everything on disk is below it
	mongo  *mongod.ReplicaSet
	drive  *drive.Server
	studio *studio.Studio
	daemon *daemon.Daemon
}

// setUp starts it all and waits until sitesync watches. The stage is to be closed also if there is an error.
func setUp(ctx context.Context, s settings, steps *steps) (*stage, error) {
	st := &stage{}
	var err error
	if st.dir, err = os.MkdirTemp("", "sitesync-demo-"); err != nil {
		return st, err
	}
	var binary, mongodPath string
	for _, step := range []struct {
		what, hint string
		do         func() error
	}{
		{"building sitesync", "the first time, its dependencies are compiled too", func() (err error) {
			binary, err = daemon.Build(ctx, st.dir)
			return err
		}},
		{"looking for MongoDB", "the first time, it is downloaded and kept in your cache folder", func() (err error) {
			mongodPath, err = mongod.Find(ctx)
			return err
		}},
		{"starting a MongoDB replica set", "", func() (err error) {
			st.mongo, err = mongod.Start(ctx, mongod.Options{Path: mongodPath, Dir: st.dir})
			return err
		}},
		{"starting Google Drive (emulated) and the studio", "", func() error { return st.open(s) }},
		{"starting sitesync", "", func() error { return st.sitesync(ctx, s, binary) }},
	} {
		if err := steps.do(step.what, step.hint, step.do); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return st, err
		}
	}
	return st, nil
}

// open starts Drive and founds the studio, with two roots.
func (st *stage) open(s settings) (err error) {
	roots := map[string]string{}
	for name := range driveFolders {
		roots[name] = filepath.Join(st.dir, "storage", name)
	}
	content := filepath.Join(st.dir, "drive")
	for _, dir := range []string{roots[workRoot], roots[renderRoot], content} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	st.drive, err = drive.Start(drive.Options{Dir: content, Settings: drive.Settings{Latency: s.Latency}})
	st.studio = studio.New(st.mongo.Client().Database("avalon"), studio.Options{Roots: roots, RemoteSite: remoteSite})
	return err
}

// sitesync starts sitesync and waits until it watches.
func (st *stage) sitesync(ctx context.Context, s settings, binary string) error {
	account := st.drive.AddServiceAccount("sync@studio.iam.example")
	show := st.drive.AddSharedDrive("SHOW")
	show.AddMember(account, drive.ContentManager)
	roots := map[string]string{}
	for name, folder := range driveFolders {
		st.drive.Mkdir(show, folder)
		roots[name] = "/SHOW/" + folder
	}
	presets := filepath.Join(st.dir, "presets")
	if err := os.Mkdir(presets, 0o700); err != nil {
		return err
	}
	err := daemon.Presets{RetryCnt: retryCount, Sites: map[string]daemon.Site{
		remoteSite: {Credentials: account.Credentials(), Root: roots, Endpoint: st.drive.URL},
	}}.Write(presets)
	if err != nil {
		return err
	}
	st.daemon, err = daemon.Start(daemon.Options{Binary: binary, Presets: presets, Mongo: st.mongo.URI(), Database: "avalon",
		Args: []string{"--retry-delay", pace(s).String()}})
	if err != nil {
		return err
	}
	_, err = st.daemon.Wait(ctx, daemon.Message("change stream open"))
	return err
}

// pace is how long something lasts that a person is to read: a second, less if the whole demo is short.
func pace(s settings) time.Duration {
	if s.Forever {
		return time.Second
	}
	return min(s.Duration/20, time.Second)
}

// close ends what was started and removes what is on disk.
func (st *stage) close() error {
	var errs []error
	if st.daemon != nil {
		errs = append(errs, st.daemon.Stop())
	}
	if st.drive != nil {
		errs = append(errs, st.drive.Close())
	}
	if st.mongo != nil {
		errs = append(errs, st.mongo.Stop())
	}
	if st.dir != "" {
		errs = append(errs, os.RemoveAll(st.dir))
	}
	return errors.Join(errs...)
}
