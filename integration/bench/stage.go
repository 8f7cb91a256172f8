package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sitesync/integration/daemon"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// stage is everything that sitesync needs around it.
type stage struct {
	dir     string
	mongo   *mongod.ReplicaSet
	drive   *drive.Server
	account *drive.Account
	folder  string // id of the root on Drive
	studio  *studio.Studio
	daemon  *daemon.Daemon
}

// setUp starts it all and waits until sitesync watches.
func setUp(ctx context.Context) (s *stage, err error) {
	s = &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "sitesync-bench-"); err != nil {
		return s, err
	}
	fmt.Fprintln(os.Stderr, "building sitesync, starting MongoDB and Drive ...")
	binary, err := daemon.Build(ctx, s.dir)
	if err != nil {
		return s, err
	}
	if s.mongo, err = mongod.Start(ctx, mongod.Options{}); err != nil {
		return s, err
	}
	if s.drive, err = drive.Start(drive.Options{}); err != nil {
		return s, err
	}
	s.account = s.drive.AddServiceAccount("sync@studio.iam.example")
	show := s.drive.AddSharedDrive("SHOW")
	show.AddMember(s.account, drive.ContentManager)
	s.folder = s.drive.Mkdir(show, "projects")

	presets, storage := filepath.Join(s.dir, "presets"), filepath.Join(s.dir, "storage")
	if err := errors.Join(os.Mkdir(presets, 0o700), os.Mkdir(storage, 0o700)); err != nil {
		return s, err
	}
	db := s.mongo.Client().Database("avalon")
	s.studio = studio.New(db, studio.Options{Root: storage})
	err = daemon.Presets{Sites: map[string]daemon.Site{
		"gdrive": {Credentials: s.account.Credentials(), Root: "/SHOW/projects", Endpoint: s.drive.URL},
	}}.Write(presets)
	if err != nil {
		return s, err
	}
	s.daemon, err = daemon.Start(daemon.Options{Binary: binary, Presets: presets, Mongo: s.mongo.URI(), Database: db.Name()})
	if err != nil {
		return s, err
	}
	_, err = s.daemon.Wait(ctx, daemon.Message("change stream open"))
	return s, err
}

// close ends what was started.
func (s *stage) close() error {
	var errs []error
	if s.daemon != nil {
		errs = append(errs, s.daemon.Stop())
	}
	if s.drive != nil {
		errs = append(errs, s.drive.Close())
	}
	if s.mongo != nil {
		errs = append(errs, s.mongo.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
