// Package command is the command line: one file for each subcommand, and what they share.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/mongodb"
	"sitesync/state"
)

const description = `Syncs what a studio publishes with Pype, up to its Google Drive and down from it.

Settings of the studio come from Pype's own presets, config.json and gdrive.json; see --presets.`

type cli struct {
	config.Flags
	Run        runCmd        `cmd:"" help:"Sync what is published, until it is stopped."`
	Check      checkCmd      `cmd:"" help:"Check settings, database, credentials and roots, and say what to fix."`
	Status     statusCmd     `cmd:"" help:"Show which process syncs, what is held, and how far each project is."`
	Explain    explainCmd    `cmd:"" help:"Show why a file is synced or not, and what to do."`
	Retry      retryCmd      `cmd:"" help:"Make failed files pending again, once the cause is fixed."`
	AddSite    addSiteCmd    `cmd:"" help:"Sync what was published before the site was configured."`
	Fetch      fetchCmd      `cmd:"" help:"Have files brought to this site, and wait until they are there."`
	Pause      pauseCmd      `cmd:"" help:"Begin no more transfers, of all or of one project, until it is resumed."`
	Resume     resumeCmd     `cmd:"" help:"End a pause."`
	Health     healthCmd     `cmd:"" help:"Ask the sitesync that runs on this machine for its health."`
	Version    versionCmd    `cmd:"" help:"Show which sitesync this is, as sitesync --version does."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands in a shell."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"Print what a word can become, for the completion scripts."`
}

// errFailed ends the program with status 1, when the command has printed why.
var errFailed = errors.New("failed")

// Main runs the command that args name, until ctx ends, and returns the exit status: 0 for success, 1 for failure. A
// wrong command line ends the process with status 80, after a message.
func Main(ctx context.Context, args []string) int {
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		panic(err) // the grammar is wrong
	}
	if slices.Equal(args, []string{"--version"}) { // no flag of all commands, as fetch has one of that name
		args = []string{"version"}
	}
	k, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	k.BindTo(ctx, (*context.Context)(nil))
	var opened *env
	err = k.BindToProvider(func() (e *env, err error) { // for commands whose Run takes it
		opened, err = openEnv(&c.Flags)
		return opened, err
	})
	if err != nil {
		panic(err)
	}
	defer func() { opened.close() }()
	switch err := k.Run(&c.Flags); {
	case err == nil:
		return 0
	case !errors.Is(err, errFailed):
		fmt.Fprintln(os.Stderr, "sitesync:", err)
	}
	return 1
}

func newParser(c *cli) (*kong.Kong, error) {
	return kong.New(c, kong.Name("sitesync"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars(config.FlagHelp))
}

// env is what commands work with: the settings and both databases.
type env struct {
	cfg    *config.Config
	client *mongodb.Client
	store  *avalon.Store
	state  *state.Database
}

// openEnv reads the settings and connects. close must follow.
func openEnv(flags *config.Flags) (*env, error) {
	cfg, _, err := config.Load(*flags, os.LookupEnv) // check prints the warnings
	if err != nil {
		return nil, err
	}
	return newEnv(cfg)
}

// newEnv connects. close must follow.
func newEnv(cfg *config.Config) (*env, error) {
	client, err := mongodb.Connect(cfg.Mongo, nil)
	if err != nil {
		return nil, err
	}
	return &env{cfg, client, avalon.NewStore(client.Client, cfg.Mongo.Database),
		state.Open(client.Client, cfg.Mongo.State)}, nil
}

// close disconnects; it does nothing without a connection.
func (e *env) close() {
	if e != nil {
		_ = e.client.Disconnect(context.Background()) // the process ends anyway
	}
}

// remote is the name of the remote site.
func (e *env) remote() (string, error) {
	site, ok := e.cfg.Remote()
	if !ok {
		return "", errors.New(nothingSynced)
	}
	return site.Name, nil
}

// directions are those that the settings name, up first. Also a machine that has no local_root, and so downloads
// nothing itself, can speak for others that do.
func (e *env) directions() ([]config.Direction, error) {
	_, err := e.remote()
	if e.cfg.Direction == config.Both {
		return []config.Direction{config.Up, config.Down}, err
	}
	return []config.Direction{e.cfg.Direction}, err
}

// nothingSynced is what commands say without a remote site.
const nothingSynced = "remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start"

// leaseName is the name of the lease of a route.
func (e *env) leaseName(d config.Direction) state.RouteName {
	return state.LeaseName(e.cfg.Mongo.Database, daemon.Rules(e.cfg, d).Route)
}

// projects are the names of all projects or, if one is named, of that one, which has to exist.
func (e *env) projects(ctx context.Context, name string) ([]string, error) {
	names, err := e.store.ProjectNames(ctx)
	if err != nil {
		return nil, e.explain(err)
	}
	if name == "" {
		return names, nil
	}
	if !slices.Contains(names, name) {
		return nil, config.UnknownProject(name, e.cfg.Mongo.Database, names)
	}
	return []string{name}, nil
}

// explain adds to an error of the database where it is, and why it does not answer if that is known.
func (e *env) explain(err error) error {
	return fmt.Errorf("mongo %s: %w", e.cfg.Mongo.URI, e.client.Explain(err))
}

// writeResult prints the result of a command, as JSON for scripts or as text for people. Its error is errFailed if the
// result is not a success.
func writeResult(output string, v any, text string, success bool) error {
	var err error
	if output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(v)
	} else {
		_, err = io.WriteString(os.Stdout, text)
	}
	if err == nil && !success {
		err = errFailed
	}
	return err
}
