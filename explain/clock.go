package explain

import (
	"context"

	"sitesync/site"
	"sitesync/state"
)

// ClockTrouble says which clock is minutes off, and what to do; it is empty if all are right, or cannot be compared.
// The site, whose clock is right, must have been asked something; not every site has one. Both may be nil.
func ClockTrouble(ctx context.Context, db *state.Database, s site.Backend) string {
	ofSite := false
	if clock, ok := s.(site.Clock); ok {
		ahead, known := clock.ClockAhead()
		if trouble := site.ClockTrouble(ahead, "google's"); known && trouble != "" {
			return trouble
		}
		ofSite = known
	}
	if db == nil {
		return ""
	}
	ahead, err := db.ClockAhead(ctx)
	switch {
	case err != nil || !site.ClocksDiffer(ahead):
		return ""
	case ofSite:
		return site.ClockOf("MongoDB's server", -ahead, "google's")
	}
	return site.ClockTrouble(ahead, "that of MongoDB's server") // one of them
}
