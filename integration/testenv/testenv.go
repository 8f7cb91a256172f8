// Package testenv starts a complete environment on this machine, for the demo, chaos and the benchmarks: a MongoDB
// replica set, an emulated Google Drive with the shared drive SHOW, a studio with its storage, and sitesync as a
// process. Tests use the packages mongod, drive, studio and process directly, and share one MongoDB.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// RemoteSite is the site's name in the presets and the records.
const RemoteSite = "gdrive"

// logSize is how many requests Drive's log holds: all of a long run.
const logSize = 100_000

// Options are the settings of an Env. The zero value is a studio with one root, on a Drive without latency.
type Options struct {
	Roots   map[string]string // folder on SHOW by the name of the studio's root; none: one root, "projects"
	Drive   drive.Settings
	Discard bool            // Drive keeps only size and MD5 of uploads
	Presets process.Presets // its sites are filled in
	Down    bool            // files are downloaded to the studio's storage too
	Args    []string        // of sitesync run
	Members int             // of the replica set; default 1
	Dir     string          // for all files; default is a temporary folder that Close removes
	Seed    uint64          // of Drive's random generator
	Log     io.Writer       // receives a copy of sitesync's log; may be nil
	// Step calls do, and may print what it does, with a hint why it may take long. May be nil.
	Step func(what, hint string, do func() error) error
}

// Env is a running environment.
type Env struct {
	Dir     string // parent of all files
	Binary  string // of sitesync
	Mongo   *mongod.ReplicaSet
	Drive   *drive.Server
	Account *drive.Account     // sitesync's
	Show    *drive.SharedDrive // where it uploads to
	Machine                    // the studio's

	others    []*Machine
	temporary bool // Close removes Dir
}

// Start starts all and waits until sitesync watches.
func Start(ctx context.Context, o Options) (_ *Env, err error) {
	s := &Env{Dir: o.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "sitesync-"); err != nil {
			return nil, err
		}
		s.temporary = true
	}
	var mongodPath string
	for _, step := range []struct {
		what, hint string
		do         func() error
	}{
		{"building sitesync", "the first time, its dependencies are compiled too", func() (err error) {
			s.Binary, err = process.Build(ctx, s.Dir)
			return err
		}},
		{"looking for MongoDB", "the first time, it is downloaded into your cache folder", func() (err error) {
			mongodPath, err = mongod.Find(ctx)
			return err
		}},
		{"starting a MongoDB replica set", "", func() (err error) {
			s.Mongo, err = mongod.Start(ctx, mongod.Options{Path: mongodPath, Dir: s.Dir, Members: o.Members})
			return err
		}},
		{"starting Google Drive (emulated) and the studio", "", func() error { return s.open(&o) }},
		{"starting sitesync", "", func() error { return s.start(ctx, o) }},
	} {
		do := step.do
		if o.Step != nil {
			do = func() error { return o.Step(step.what, step.hint, step.do) }
		}
		if err := do(); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
	}
	return s, nil
}

// open starts Drive, creates the studio, and fills in the site.
func (s *Env) open(o *Options) (err error) {
	content := filepath.Join(s.Dir, "drive")
	storage := func(name string) string { return filepath.Join(s.Dir, "storage", name) }
	var local studio.Options
	remote, folders := any("/SHOW/projects"), []string{"projects"}
	if len(o.Roots) == 0 {
		local.Root = storage("projects")
	} else {
		local.Roots, folders = map[string]string{}, nil
		named := map[string]string{}
		for name, folder := range o.Roots {
			local.Roots[name] = storage(name)
			named[name] = "/SHOW/" + folder
			folders = append(folders, folder)
		}
		remote = named
	}
	dirs := []string{content}
	for _, dir := range local.Roots {
		dirs = append(dirs, dir)
	}
	if local.Root != "" {
		dirs = append(dirs, local.Root)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if s.Drive, err = drive.Start(drive.Options{Dir: content, Settings: o.Drive, Seed: o.Seed, LogSize: logSize,
		Discard: o.Discard}); err != nil {
		return err
	}
	s.Account = s.Drive.AddServiceAccount("sync@studio.iam.example")
	s.Show = s.Drive.AddSharedDrive("SHOW")
	s.Show.AddMember(s.Account, drive.ContentManager)
	for _, folder := range folders {
		s.Drive.Mkdir(s.Show, folder)
	}
	local.RemoteSite = RemoteSite
	if o.Down {
		o.Presets.LocalRoot = any(local.Roots)
		if local.Root != "" {
			o.Presets.LocalRoot = local.Root
		}
		for _, dir := range dirs[1:] { // a storage that is empty is taken for one that is not mounted
			if err := os.MkdirAll(filepath.Join(dir, "projects"), 0o700); err != nil {
				return err
			}
		}
	}
	s.Site, s.Root = "studio", local.Root
	s.Studio = studio.New(s.Mongo.Client().Database("avalon"), local)
	o.Presets.Sites = map[string]process.Site{
		RemoteSite: {Credentials: s.Account.Credentials(), Root: remote, Endpoint: s.Drive.URL},
	}
	return nil
}

// start starts sitesync and waits until it watches.
func (s *Env) start(ctx context.Context, o Options) error {
	presets := filepath.Join(s.Dir, "presets")
	if err := os.Mkdir(presets, 0o700); err != nil {
		return err
	}
	if err := o.Presets.Write(presets); err != nil {
		return err
	}
	s.sitesync = process.Options{Binary: s.Binary, Presets: presets, Mongo: s.Mongo.URI(), Database: "avalon",
		Args: o.Args, Log: o.Log}
	if err := s.Restart(); err != nil {
		return err
	}
	_, err := s.Daemon.Wait(ctx, process.Message("change stream open"))
	return err
}

// Command runs another command of sitesync with the same settings. It returns the output, also with an error, which is
// not nil if the exit status is not 0.
func (s *Env) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Env = append(os.Environ(), "SITESYNC_PRESETS="+s.sitesync.Presets, "SITESYNC_MONGO="+s.sitesync.Mongo,
		"SITESYNC_DB="+s.sitesync.Database)
	out, err := cmd.Output()
	var status *exec.ExitError
	if errors.As(err, &status) {
		err = fmt.Errorf("sitesync %s: %w\n%s", strings.Join(args, " "), err, status.Stderr)
	}
	return string(out), err
}

// Page is the URL of sitesync's page, "" if it serves none.
func (s *Env) Page() string {
	for _, l := range s.Daemon.Lines(process.Message("the page, health and metrics are served")) {
		return "http://" + l.Text("address")
	}
	return ""
}

// Close stops all servers and removes their files, except a Dir that was given.
func (s *Env) Close() error {
	var errs []error
	for _, m := range append(s.others, &s.Machine) {
		if m.Daemon != nil {
			errs = append(errs, m.Daemon.Stop())
		}
	}
	if s.Drive != nil {
		errs = append(errs, s.Drive.Close())
	}
	if s.Mongo != nil {
		errs = append(errs, s.Mongo.Stop())
	}
	if s.temporary {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}
