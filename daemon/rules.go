package daemon

import (
	"context"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/site/registry"
	"sitesync/state"
	"sitesync/uploader"
)

// TallyRules are the rules by which files of the remote site are counted.
func TallyRules(cfg *config.Config) avalon.TallyRules {
	return avalon.TallyRules{ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite, RetryCount: cfg.RetryCount,
		Backoff: uploader.Backoff{First: cfg.RetryDelay, Max: cfg.MaxRetryDelay}.After}
}

// PendingRules are the rules by which what may be pending is found.
func PendingRules(cfg *config.Config) avalon.PendingRules {
	return avalon.PendingRules{ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite, RetryCount: cfg.RetryCount}
}

// NewExplainer returns an explainer of these settings; by itself it reads no source to compare it.
func NewExplainer(cfg *config.Config, store *avalon.Store, db *state.Database) *explain.Explainer {
	return &explain.Explainer{Config: cfg, Store: store, State: db, Open: func(ctx context.Context) (site.Backend, error) {
		remote, _ := cfg.Remote()
		return registry.Open(ctx, remote, registry.Options{})
	}}
}
