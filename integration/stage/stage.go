// Package stage puts sitesync on a stage of its own on this machine, for the demo and the benchmarks: a
// MongoDB replica set, an emulated Google Drive with the shared drive SHOW, a studio with its storage, and
// sitesync as a process. Tests have the same from packages mongod, drive, studio and daemon, but share one
// MongoDB.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sitesync/integration/daemon"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// RemoteSite is the site's name in the presets and the records.
const RemoteSite = "gdrive"

// requests is how many of the last requests Drive remembers: all of a long run.
const requests = 100_000

// Options say what is set up. The zero value is a studio with one root, on a Drive without latency.
type Options struct {
	Roots   map[string]string // names of the studio's roots, each with its folder on SHOW; none: one root, "projects"
	Drive   drive.Settings
	Discard bool           // Drive keeps only size and MD5 of what is uploaded
	Presets daemon.Presets // its sites are filled in
	Args    []string       // of sitesync run
	Members int            // of the replica set; default 1
	Dir     string         // where everything on disk is; default is a temporary folder that Close removes
	Seed    uint64         // of Drive's dice
	Log     io.Writer      // gets a copy of sitesync's log; may be nil
	Build   []string       // further flags of go build, such as -race
	// Step does a step, and may tell of it: what is being done, and a hint in case that it takes long.
	Step func(what, hint string, do func() error) error
}

// Stage is everything that runs.
type Stage struct {
	Dir     string // everything on disk is below it
	Binary  string // of sitesync
	Mongo   *mongod.ReplicaSet
	Drive   *drive.Server
	Account *drive.Account     // sitesync's
	Show    *drive.SharedDrive // where it uploads to
	Studio  *studio.Studio
	Daemon  *daemon.Daemon

	sitesync  daemon.Options
	temporary bool // Dir is removed in the end
}

// Start starts it all and waits until sitesync watches.
func Start(ctx context.Context, o Options) (_ *Stage, err error) {
	s := &Stage{Dir: o.Dir}
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
			s.Binary, err = daemon.Build(ctx, s.Dir, o.Build...)
			return err
		}},
		{"looking for MongoDB", "the first time, it is downloaded and kept in your cache folder", func() (err error) {
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

// open starts Drive, founds the studio, and fills in the site.
func (s *Stage) open(o *Options) (err error) {
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
	if s.Drive, err = drive.Start(drive.Options{Dir: content, Settings: o.Drive, Seed: o.Seed, LogSize: requests, Discard: o.Discard}); err != nil {
		return err
	}
	s.Account = s.Drive.AddServiceAccount("sync@studio.iam.example")
	s.Show = s.Drive.AddSharedDrive("SHOW")
	s.Show.AddMember(s.Account, drive.ContentManager)
	for _, folder := range folders {
		s.Drive.Mkdir(s.Show, folder)
	}
	local.RemoteSite = RemoteSite
	s.Studio = studio.New(s.Mongo.Client().Database("avalon"), local)
	o.Presets.Sites = map[string]daemon.Site{
		RemoteSite: {Credentials: s.Account.Credentials(), Root: remote, Endpoint: s.Drive.URL},
	}
	return nil
}

// start starts sitesync and waits until it watches.
func (s *Stage) start(ctx context.Context, o Options) error {
	presets := filepath.Join(s.Dir, "presets")
	if err := os.Mkdir(presets, 0o700); err != nil {
		return err
	}
	if err := o.Presets.Write(presets); err != nil {
		return err
	}
	s.sitesync = daemon.Options{Binary: s.Binary, Presets: presets, Mongo: s.Mongo.URI(), Database: "avalon", Args: o.Args, Log: o.Log}
	if err := s.Restart(); err != nil {
		return err
	}
	_, err := s.Daemon.Wait(ctx, daemon.Message("change stream open"))
	return err
}

// Restart starts a sitesync in place of one that was stopped or killed. It does not wait for it.
func (s *Stage) Restart() error {
	d, err := daemon.Start(s.sitesync)
	if err == nil {
		s.Daemon = d
	}
	return err
}

// Command runs another command of sitesync, with the settings of the one that runs. It returns what it prints, also when
// its exit status tells of trouble.
func (s *Stage) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Env = append(os.Environ(), "SITESYNC_PRESETS="+s.sitesync.Presets, "SITESYNC_MONGO="+s.sitesync.Mongo, "SITESYNC_DB="+s.sitesync.Database)
	out, err := cmd.Output()
	var status *exec.ExitError
	if errors.As(err, &status) {
		err = fmt.Errorf("sitesync %s: %w\n%s", strings.Join(args, " "), err, status.Stderr)
	}
	return string(out), err
}

// Page is the address of the page that sitesync serves, "" if it serves none.
func (s *Stage) Page() string {
	for _, l := range s.Daemon.Lines(daemon.Message("the page, health and metrics are served")) {
		return "http://" + l.Text("address")
	}
	return ""
}

// Close ends what was started and removes what is on disk, but for a Dir that was given.
func (s *Stage) Close() error {
	var errs []error
	if s.Daemon != nil {
		errs = append(errs, s.Daemon.Stop())
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
