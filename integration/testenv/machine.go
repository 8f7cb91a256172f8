package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// Machine is a machine with a storage and a sitesync of its own.
type Machine struct {
	Site   string         // name of its storage in the records
	Root   string         // folder of its storage; empty if there are several
	Studio *studio.Studio // publishes there
	Daemon *process.Process

	sitesync process.Options
}

// Restart starts sitesync, also again after it was stopped or killed. It does not wait until it watches.
func (m *Machine) Restart() error {
	d, err := process.Start(m.sitesync)
	if err == nil {
		m.Daemon = d
	}
	return err
}

// AddMachine starts a machine beside the studio's, such as that of an artist at home: with another storage, a site of
// that name, and another account of Google. Its sitesync has the same flags, and syncs both ways. Of several roots it
// has none.
func (s *Env) AddMachine(ctx context.Context, site string, p process.Presets) (*Machine, error) {
	m := &Machine{Site: site, Root: filepath.Join(s.Dir, "storage of "+site)}
	// A storage that is empty is taken for one that is not mounted.
	if err := os.MkdirAll(filepath.Join(m.Root, "projects"), 0o700); err != nil {
		return nil, err
	}
	m.Studio = studio.New(s.Mongo.Client().Database("avalon"),
		studio.Options{Root: m.Root, ActiveSite: site, RemoteSite: RemoteSite})
	account := s.Drive.AddServiceAccount(site + "@studio.iam.example")
	s.Show.AddMember(account, drive.ContentManager)
	p.ActiveSite, p.LocalRoot = site, m.Root
	p.Sites = map[string]process.Site{
		RemoteSite: {Credentials: account.Credentials(), Root: "/SHOW/projects", Endpoint: s.Drive.URL},
	}
	presets := filepath.Join(s.Dir, "presets of "+site)
	if err := os.Mkdir(presets, 0o700); err != nil {
		return nil, err
	}
	if err := p.Write(presets); err != nil {
		return nil, err
	}
	m.sitesync = s.sitesync
	m.sitesync.Presets = presets
	if err := m.Restart(); err != nil {
		return nil, err
	}
	s.others = append(s.others, m)
	if _, err := m.Daemon.Wait(ctx, process.Message("change stream open")); err != nil {
		return nil, fmt.Errorf("sitesync of %s: %w", site, err)
	}
	return m, nil
}
