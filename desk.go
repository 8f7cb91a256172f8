package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/state"
)

// desk is where commands work from: the settings and both databases.
type desk struct {
	cfg    *config.Config
	client *mongo.Client
	seen   servers
	store  *avalon.Store
}

// openDesk connects. close must follow.
func openDesk(flags *config.Flags) (*desk, error) {
	cfg, _, err := config.Load(*flags, os.LookupEnv) // check tells what is odd
	if err != nil {
		return nil, err
	}
	return newDesk(cfg)
}

// newDesk is openDesk with settings that were read already.
func newDesk(cfg *config.Config) (d *desk, err error) {
	d = &desk{cfg: cfg}
	if d.client, err = connect(cfg, &d.seen); err != nil {
		return nil, err
	}
	d.store = avalon.NewStore(d.client, cfg.Mongo.Database)
	return d, nil
}

func (d *desk) close() { _ = d.client.Disconnect(context.Background()) } // we are leaving anyway

func (d *desk) state() *state.Database { return state.Open(d.client, d.cfg.Mongo.State) }

// remote is the name of the remote site.
func (d *desk) remote() (string, error) {
	site, ok := d.cfg.Remote()
	if !ok {
		return "", errors.New("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
	}
	return site.Name, nil
}

// pauses are those of the remote site.
func (d *desk) pauses() (*state.Pauses, error) {
	site, err := d.remote()
	if err != nil {
		return nil, err
	}
	return d.state().Pauses(state.LeaseName(d.cfg.Mongo.Database, site)), nil
}

// projects are the names of all projects or, if one is named, of that one, which has to be there.
func (d *desk) projects(ctx context.Context, name string) ([]string, error) {
	listed, err := d.store.Projects(ctx)
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", d.cfg.Mongo.URI, d.seen.explain(err))
	}
	var names []string
	for _, p := range listed {
		names = append(names, p.Name)
	}
	if name == "" {
		return names, nil
	}
	if !slices.Contains(names, name) {
		return nil, config.UnknownProject(name, d.cfg.Mongo.Database, names)
	}
	return []string{name}, nil
}

// argument is a text that others wrote as it is typed in a shell.
func argument(text string) string { return explain.Quoted(printable(text)) }

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
