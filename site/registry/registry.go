// Package registry names the kinds of storage that a site can be, and opens a site of the settings. No other package
// needs to know one of them: a new provider is a package beside gdrive, and an entry here.
package registry

import (
	"context"
	"fmt"
	"time"

	"sitesync/config"
	"sitesync/site"
	"sitesync/site/gdrive"
	"sitesync/site/local"
)

// Source opens the studio's storage for reading, on this machine.
func Source(cfg *config.Config, o SourceOptions) site.Source {
	return local.New(local.Options{Links: cfg.LocalRootLinks, Timeout: o.Timeout, AvoidStalled: o.AvoidStalled})
}

// SourceOptions say how patient a source is with storages that hang.
type SourceOptions struct {
	Timeout      time.Duration // after which a call is given up; 0: the usual
	AvoidStalled bool          // whether a storage that hangs is waited for once, and then not asked any more
}

// Options say what a site is opened for.
type Options struct {
	Connections int // files that are transferred at once, for keeping connections open

	// Journal and Fence belong to the holder of the lease of the site. Without them the site must not be changed.
	Journal site.Journal
	Fence   func() error
}

// Open opens a site. It reads the credentials but does not use them yet. The error names the site.
func Open(ctx context.Context, s config.Site, o Options) (site.Backend, error) {
	open, ok := providers[s.Provider]
	if !ok {
		return nil, fmt.Errorf("site %s: sitesync has no provider %q", s.Name, s.Provider)
	}
	b, err := open(ctx, s, o)
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", s.Name, err)
	}
	return b, nil
}

// providers are the kinds of storage, by the name that the settings have for them.
var providers = map[string]func(context.Context, config.Site, Options) (site.Backend, error){
	config.GoogleDrive: openGoogleDrive,
}

func openGoogleDrive(ctx context.Context, s config.Site, o Options) (site.Backend, error) {
	var roots []string
	for _, root := range s.Root.All() {
		roots = append(roots, root)
	}
	return gdrive.New(ctx, gdrive.Config{Credentials: s.Credentials, Subject: s.Subject, Endpoint: s.Endpoint,
		Roots: roots, Connections: o.Connections, Journal: o.Journal, Fence: o.Fence})
}
