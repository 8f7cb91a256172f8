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
	"sitesync/explain"
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

// newEnv is openEnv with settings that were read already.
func newEnv(cfg *config.Config) (*env, error) {
	client, err := mongodb.Connect(cfg.Mongo, nil)
	if err != nil {
		return nil, err
	}
	return &env{cfg, client, avalon.NewStore(client.Client, cfg.Mongo.Database), state.Open(client.Client, cfg.Mongo.State)}, nil
}

func (e *env) close() { _ = e.client.Disconnect(context.Background()) } // the process ends anyway

// remote is the name of the remote site.
func (e *env) remote() (string, error) {
	site, ok := e.cfg.Remote()
	if !ok {
		return "", errors.New("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
	}
	return site.Name, nil
}

// pauses are those of the remote site.
func (e *env) pauses() (*state.Pauses, error) {
	site, err := e.remote()
	if err != nil {
		return nil, err
	}
	return e.state.Pauses(state.LeaseName(e.cfg.Mongo.Database, site)), nil
}

// projects are the names of all projects or, if one is named, of that one, which has to be there.
func (e *env) projects(ctx context.Context, name string) ([]string, error) {
	listed, err := e.store.Projects(ctx)
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", e.cfg.Mongo.URI, e.client.Explain(err))
	}
	var names []string
	for _, p := range listed {
		names = append(names, p.Name)
	}
	if name == "" {
		return names, nil
	}
	if !slices.Contains(names, name) {
		return nil, config.UnknownProject(name, e.cfg.Mongo.Database, names)
	}
	return []string{name}, nil
}

// argument is a text that others wrote as it is typed in a shell.
func argument(text string) string { return explain.ShellQuote(printable(text)) }

// show prints what a command has found or done, as JSON for scripts or as text for people. Its error is errFailed if not
// all is fine.
func show(output string, v any, text string, fine bool) error {
	var err error
	if output == "json" {
		err = writeJSON(os.Stdout, v)
	} else {
		_, err = io.WriteString(os.Stdout, text)
	}
	if err == nil && !fine {
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
