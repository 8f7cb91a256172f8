package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/uploader/state"
)

// desk is where commands that change something work from: the settings and both databases.
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
	d := &desk{cfg: cfg}
	if d.client, err = connect(cfg, &d.seen); err != nil {
		return nil, err
	}
	d.store = avalon.NewStore(d.client, cfg.Mongo.Database)
	return d, nil
}

func (d *desk) close() { _ = d.client.Disconnect(context.Background()) } // we are leaving anyway

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
	return state.Open(d.client, d.cfg.Mongo.State).Pauses(state.LeaseName(d.cfg.Mongo.Database, site)), nil
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
		return nil, unknownProject(name, d.cfg.Mongo.Database, names)
	}
	return []string{name}, nil
}

// argument is a text that others wrote as it is typed in a shell.
func argument(text string) string {
	text = printable(text)
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r)
	}
	if text == "" || strings.ContainsFunc(text, odd) {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

// writeJSON writes what scripts read.
func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
