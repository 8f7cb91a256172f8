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
	"sitesync/site/pacer"
)

// Options say what a site is opened for.
type Options struct {
	Connections int // files that are transferred at once, for keeping connections open

	// Journal and Fence belong to the holder of the lease of a route to, or from, the site. Without them the site must
	// not be changed.
	Journal site.Journal
	Fence   func() error

	Pacer *pacer.Pacer // that other openings of the site share; nil: its own

	// How patient a site is whose storage may hang.
	Timeout      time.Duration // after which a call is given up; 0: the usual
	AvoidStalled bool          // whether a storage that hangs is waited for once, and then not asked any more
}

// Open opens a site. It reads the credentials, if there are any, but does not use them yet. The error names the site.
func Open(ctx context.Context, s config.Site, o Options) (site.Storage, error) {
	var storage site.Storage
	var err error
	switch s.Provider {
	case config.GoogleDrive:
		storage, err = openGoogleDrive(ctx, s, o)
	case config.LocalDrive:
		storage = Local(s, o)
	default:
		err = fmt.Errorf("sitesync has no provider %q", s.Provider)
	}
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", s.Name, err)
	}
	return storage, nil
}

// Local opens a site whose provider is [config.LocalDrive].
func Local(s config.Site, o Options) site.Storage {
	return local.New(local.Options{Roots: roots(s), Links: s.Links, Fence: o.Fence, Timeout: o.Timeout,
		AvoidStalled: o.AvoidStalled})
}

func openGoogleDrive(ctx context.Context, s config.Site, o Options) (site.Storage, error) {
	return gdrive.New(ctx, gdrive.Config{Credentials: s.Credentials, Subject: s.Subject, Endpoint: s.Endpoint,
		Roots: roots(s), Connections: o.Connections, Journal: o.Journal, Fence: o.Fence, Pacer: o.Pacer})
}

func roots(s config.Site) (paths []string) {
	for _, path := range s.Root.All() {
		paths = append(paths, path)
	}
	return paths
}
