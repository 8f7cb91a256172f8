package studio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Options describe the studio. Either Root or Roots is needed, unless all
// publishes are RecordOnly.
type Options struct {
	// Root is the folder of a studio with one root: paths are {root}/...
	Root string
	// Roots are the folders of a studio with several roots, by name: paths are
	// {root[NAME]}/...
	Roots map[string]string
	// ActiveSite has the files once they are published; default "studio".
	ActiveSite string
	// RemoteSite is to get them; default "gdrive".
	RemoteSite string
	// Location is the time zone of the workstations; default is this machine's.
	// Publishing writes the wall time there as if it were UTC.
	Location *time.Location
}

// Studio publishes into one avalon database.
type Studio struct {
	db      *mongo.Database
	options Options
}

// New returns a studio that publishes into db, which is its avalon database.
func New(db *mongo.Database, o Options) *Studio {
	if o.ActiveSite == "" {
		o.ActiveSite = "studio"
	}
	if o.RemoteSite == "" {
		o.RemoteSite = "gdrive"
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	return &Studio{db: db, options: o}
}

// root returns the folder of the root of this name, the way it is written in a
// path, and context.root of a document. The name is ignored by a studio with one
// root.
func (s *Studio) root(name string) (dir, placeholder string, context any, err error) {
	if len(s.options.Roots) == 0 {
		return s.options.Root, "{root}", s.options.Root, nil
	}
	names := slices.Sorted(maps.Keys(s.options.Roots))
	if name == "" {
		name = names[0]
		if slices.Contains(names, "work") {
			name = "work"
		}
	}
	dir, ok := s.options.Roots[name]
	if !ok {
		return "", "", nil, fmt.Errorf("the studio has no root %q: it has %q", name, names)
	}
	var all bson.D
	for _, n := range names {
		all = append(all, bson.E{Key: n, Value: s.options.Roots[n]})
	}
	return dir, "{root[" + name + "]}", all, nil
}

// wallTime is a moment as publishing writes it: the clock on the workstation's
// wall, stored as if it were UTC.
func (s *Studio) wallTime(t time.Time) bson.DateTime {
	t = t.In(s.options.Location)
	return bson.NewDateTimeFromTime(time.Date(t.Year(), t.Month(), t.Day(),
		t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC))
}

// syncedPoll is the time between two looks of WaitSynced.
const syncedPoll = 1500 * time.Microsecond

// Synced reports whether every file of the representation has a date in the
// created_dt of the remote site's record, as anyone would read it now.
func (s *Studio) Synced(ctx context.Context, rep *Representation) (bool, error) {
	// The server decides and answers with the _id alone: reading a document of
	// 1,000 frames every millisecond would slow down what is measured.
	date := bson.D{{Key: "$type", Value: "date"}}
	pending := bson.D{{Key: "sites", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
		{Key: "name", Value: s.options.RemoteSite}, {Key: "created_dt", Value: date},
	}}}}}}}
	if rep.dictSites {
		pending = bson.D{{Key: "sites." +
			s.options.RemoteSite + ".created_dt", Value: bson.D{{Key: "$not", Value: date}}}}
	}
	err := rep.collection.FindOne(ctx, bson.D{
		{Key: "_id", Value: rep.ID},
		{Key: "files", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$elemMatch", Value: pending}}}}},
	}, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether %s is synced: %w", rep, err)
	}
	return true, nil
}

// WaitSynced waits until the representation is synced and returns the moment at
// which that could be read. When the context ends first, the error has what is
// written in the records of its files.
func (s *Studio) WaitSynced(ctx context.Context, rep *Representation) (time.Time, error) {
	tick := time.NewTicker(syncedPoll)
	defer tick.Stop()
	for {
		synced, err := s.Synced(ctx, rep)
		if synced {
			return time.Now(), nil
		}
		// The driver gives up shortly before the context ends.
		if err != nil && !mongo.IsTimeout(err) {
			return time.Time{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s is not synced: %w; %s", rep, context.Cause(ctx), s.records(rep))
		}
	}
}

// records describes the remote site's records of a representation for an error.
func (s *Studio) records(rep *Representation) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	doc, err := rep.Document(ctx)
	if err != nil {
		return err.Error()
	}
	const most = 5
	text, pending := "", 0
	for i, f := range rep.Files {
		record := rep.record(doc, i, s.options.RemoteSite)
		if _, ok := record.Lookup("created_dt").DateTimeOK(); ok {
			continue
		}
		if pending++; pending <= most {
			text += fmt.Sprintf("; %s: %v", f.Path, record)
		}
	}
	return fmt.Sprintf("%d of %d files lack created_dt for %s%s", pending, len(rep.Files), s.options.RemoteSite, text)
}
