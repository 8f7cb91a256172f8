package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/mongodb"
	"sitesync/state"
)

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

func (e *env) close() { _ = e.client.Disconnect(context.Background()) } // the process ends anyway

// remote is the name of the remote site.
func (e *env) remote() (string, error) {
	site, ok := e.cfg.Remote()
	if !ok {
		return "", errors.New(nothingSynced)
	}
	return site.Name, nil
}

// nothingSynced is what commands say without a remote site.
const nothingSynced = "remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start"

// leaseName is the name of the lease of the route to the remote site.
func (e *env) leaseName() string {
	return state.LeaseName(e.cfg.Mongo.Database, daemon.Rules(e.cfg).Route)
}

// pauses are those of the remote site.
func (e *env) pauses() (*state.Pauses, error) {
	_, err := e.remote()
	return e.state.Pauses(e.leaseName()), err
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
		err = writeJSON(os.Stdout, v)
	} else {
		_, err = io.WriteString(os.Stdout, text)
	}
	if err == nil && !success {
		err = errFailed
	}
	return err
}

// writeJSON writes what scripts read.
func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
