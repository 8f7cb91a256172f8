package gdrive

import (
	"context"
	"time"

	"sitesync/site"
)

// noopJournal is the journal of a site that only looks.
type noopJournal struct{}

var _ site.Journal = noopJournal{}

func (noopJournal) Reserved(context.Context, string) (map[string]site.Reservation, error) {
	return nil, nil
}
func (noopJournal) Reserve(context.Context, string, map[string]map[string]string) error {
	return nil
}
func (noopJournal) Session(context.Context, string, int64, time.Time) (string, error) {
	return "", nil
}
func (noopJournal) SaveSession(context.Context, string, int64, time.Time, string) error { return nil }
func (noopJournal) DropSession(context.Context, string) error                           { return nil }
