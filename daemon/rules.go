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

// Rules are the rules of the route that the settings name.
func Rules(cfg *config.Config) avalon.Rules {
	return avalon.Rules{Route: avalon.Route{From: cfg.ActiveSite, To: cfg.RemoteSite}, RetryCount: cfg.RetryCount,
		Backoff: avalon.ExponentialBackoff(cfg.RetryDelay, cfg.MaxRetryDelay)}
}

// NewExplainer returns an explainer of these settings; by itself it reads no source to compare it.
func NewExplainer(cfg *config.Config, store *avalon.Store, db *state.Database) *explain.Explainer {
	return &explain.Explainer{Config: cfg, Rules: Rules(cfg), Store: store, State: db,
		Open: func(ctx context.Context) (site.Backend, error) {
			remote, _ := cfg.Remote()
			return registry.Open(ctx, remote, registry.Options{})
		}, OpenSource: func() site.Source { return InspectionSource(cfg) }}
}

// InspectionSource opens the studio's storage for looking at it; it waits once for one that hangs.
func InspectionSource(cfg *config.Config) site.Source {
	return registry.Source(cfg, registry.SourceOptions{Timeout: uploader.InspectionTimeout, AvoidStalled: true})
}
