package avalon

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Stats counts the files of a project that have a record of a site. A file that several representations name counts
// each time: each of them has a record.
type Stats struct {
	Pending       FileCount `json:"pending"`         // can be transferred now, or is being transferred
	BackingOff    FileCount `json:"waiting"`         // for the next try
	Paused        FileCount `json:"paused"`          // by a field of their records
	Failed        FileCount `json:"failed"`          // no tries are left
	Synced        FileCount `json:"synced"`          // on the site
	SourceMissing FileCount `json:"absent"`          // neither on the site nor on the one that it would come from
	Invalid       FileCount `json:"unusable"`        // the record is malformed
	Oldest        time.Time `json:"oldest,omitzero"` // when the first pending or waiting file was published, if known
}

// FileCount is a number of files.
type FileCount struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"` // without files of unknown size
}

// Add counts more.
func (c *FileCount) Add(more FileCount) {
	c.Files += more.Files
	if c.Bytes += more.Bytes; c.Bytes < 0 {
		c.Bytes = math.MaxInt64 // sizes that are not true
	}
}

// Add counts the files of other stats too.
func (t *Stats) Add(more Stats) {
	for status := Synced; status <= Invalid; status++ {
		t.of(status).Add(*more.of(status))
	}
	t.noteOldest(more.Oldest)
}

// noteOldest notes when something pending or waiting was published.
func (t *Stats) noteOldest(at time.Time) {
	if !at.IsZero() && (t.Oldest.IsZero() || at.Before(t.Oldest)) {
		t.Oldest = at
	}
}

// of is where files of a status that have a record are counted.
func (t *Stats) of(status Status) *FileCount {
	return [...]*FileCount{Synced: &t.Synced, Pending: &t.Pending, BackingOff: &t.BackingOff, Failed: &t.Failed,
		SourceMissing: &t.SourceMissing, Paused: &t.Paused, Invalid: &t.Invalid}[status]
}

// IsZero reports whether nothing was counted.
func (t *Stats) IsZero() bool { return *t == Stats{} }

// waits are the different waits before a next try, the shortest first.
func (r Rules) waits() []time.Duration {
	var all []time.Duration
	for n := 1; n < r.RetryCount; n++ {
		if w := r.Backoff(n); w > 0 && (len(all) == 0 || w > all[len(all)-1]) {
			all = append(all, w)
		}
	}
	return all
}

// group is what the server counts as one: files that only their number, sizes and ages tell apart.
type group struct {
	ID struct {
		Created bool          `bson:"created"`
		Invalid bool          `bson:"invalid"`
		Paused  bool          `bson:"paused"`
		Source  bool          `bson:"source"` // the site From has them
		Tries   bson.RawValue `bson:"tries"`  // as found
		// Late is how many of the waits are over since last_failed_dt. The server need not know which one counts.
		Late int `bson:"late"`
	} `bson:"_id"`
	Files int64         `bson:"files"`
	Bytes bson.RawValue `bson:"bytes"` // a double if an int64 can't hold it
	First bson.RawValue `bson:"first"` // the first _id, which begins with the time
}

// file is a file for which [Rules.Evaluate] says what it says of each in the group.
func (g *group) file(r Rules, waits []time.Duration, now time.Time) *File {
	to := SiteRecord{Name: r.To, Created: g.ID.Created, Paused: g.ID.Paused, Tries: tries(g.ID.Tries)}
	if to.Tries > 0 && to.Tries < r.RetryCount && slices.Contains(waits[g.ID.Late:], r.Backoff(to.Tries)) {
		to.LastFailed = now
	}
	f := &File{Sites: []SiteRecord{to, {Name: r.From, Created: g.ID.Source}}}
	if g.ID.Invalid {
		f.Problem = "invalid"
	}
	return f
}

// Stats counts the files of a project, or of some of its representations only. The server reads all of them for it, and
// answers with a few lines: what has the same tries is counted there, what that means is decided here, as for a
// transfer.
func (s *Store) Stats(ctx context.Context, project string, r Rules, now time.Time, only ...ID) (Stats, error) {
	waits := r.waits()
	cur, err := s.db.Collection(project).Aggregate(ctx, statsPipeline(r, waits, now, only))
	groups, err := readAll[group](ctx, cur, err)
	if err != nil {
		return Stats{}, s.wrap(err, "count the files of project %s", project)
	}
	var t Stats
	for _, g := range groups {
		count := FileCount{Files: g.Files, Bytes: math.MaxInt64}
		if n, ok := integer(g.Bytes); ok && g.Bytes.Type != bson.TypeDouble {
			count.Bytes = n
		}
		status := r.Evaluate(g.file(r, waits, now), now).Status
		t.of(status).Add(count)
		if id, ok := g.First.ObjectIDOK(); ok && (status == Pending || status == BackingOff) {
			t.noteOldest(id.Timestamp().UTC())
		}
	}
	return t, nil
}

// statsPipeline groups the files of a project, or of some representations, by what [Rules.Evaluate] asks of them.
func statsPipeline(r Rules, waits []time.Duration, now time.Time, only []ID) mongo.Pipeline {
	sized := call("$and", isOf("$f.size", "int", "long", "double", "decimal"), call("$gte", "$f.size", 0))
	late := bson.A{} // of each wait 1 if it is over
	for _, w := range waits {
		late = append(late, call("$cond", call("$gt", "$r.last_failed_dt", now.Add(-w).UTC()), 0, 1))
	}
	allLate := any(len(waits)) // also without a date
	if len(waits) > 0 {
		allLate = call("$cond", isOf("$r.last_failed_dt", "date"), call("$add", late...), len(waits))
	}
	flag := func(name string) bson.D { return bson.D{{Key: name, Value: literal(true)}} }
	filters := bson.A{bson.D{{Key: "files.sites.name", Value: r.To}}, bson.D{exists("files.sites." + r.To)}}
	return append(records(r.Route, only, filters),
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: call("$switch", bson.D{
				{Key: "branches", Value: bson.A{
					then(isCreated("$r"), flag("created")),
					then(call("$not", isValid("$f", "$r")), flag("invalid")),
					then(call("$not", isUnpaused("$r")), flag("paused")),
				}},
				{Key: "default", Value: bson.D{
					{Key: "source", Value: let("from", recordFor("$f.sites", r.From), isCreated("$$from"))},
					{Key: "tries", Value: "$r.tries"},
					{Key: "late", Value: allLate},
				}},
			})},
			{Key: "files", Value: bson.D{{Key: "$sum", Value: 1}}},
			{Key: "bytes", Value: bson.D{{Key: "$sum", Value: call("$cond", sized, call("$convert", bson.D{
				{Key: "input", Value: "$f.size"}, {Key: "to", Value: "long"},
				{Key: "onError", Value: int64(math.MaxInt64/2 + 1)}, // infinity
			}), int64(0))}}},
			{Key: "first", Value: call("$min", call("$cond", isOf("$f._id", "objectId"), "$f._id", nil))},
		}}})
}

// records yields each file that has a record of the site To, of the representations that fit one of the filters, or of
// some of those only: the file as f, the record as r, and fields of the representation that are to be kept.
func records(r Route, only []ID, filters bson.A, keep ...string) mongo.Pipeline {
	project := func(fields bson.D) bson.D {
		for _, k := range keep {
			fields = append(fields, bson.E{Key: k, Value: 1})
		}
		return bson.D{{Key: "$project", Value: fields}}
	}
	match := bson.D{{Key: "type", Value: "representation"}, {Key: "$or", Value: filters}}
	if len(only) > 0 {
		match = append(bson.D{idIn(only)}, match...)
	}
	return mongo.Pipeline{
		{{Key: "$match", Value: match}},
		project(bson.D{{Key: "type", Value: 1}, {Key: "files", Value: 1}}),
		project(bson.D{{Key: "files", Value: call("$cond", isReadable(), "$files", bson.A{})}}),
		{{Key: "$unwind", Value: "$files"}},
		project(bson.D{{Key: "f", Value: "$files"},
			{Key: "r", Value: call("$cond", isOf("$files", "object"), recordFor("$files.sites", r.To), "$$REMOVE")}}),
		{{Key: "$match", Value: bson.D{exists("r")}}},
	}
}

// FailedFile is a file without tries left.
type FailedFile struct {
	Key        Key
	Path       string
	Tries      int
	Error      string    // of the last try
	LastFailed time.Time // zero if unknown
}

// Failed returns files of a project, or of some of its representations only, that have no tries left, the last to fail
// first, but not more than so many.
func (s *Store) Failed(ctx context.Context, project string, r Rules, limit int, only ...ID) ([]FailedFile, error) {
	if limit <= 0 {
		return nil, nil
	}
	// The server leaves out numbers that are too small; what else there is in tries, the model decides on.
	pipeline := append(records(r.Route, only, triedFilters(r.To)),
		bson.D{{Key: "$match", Value: bson.D{
			{Key: "r.created_dt", Value: nil},
			{Key: "r.tries", Value: bson.D{{Key: "$ne", Value: nil},
				{Key: "$not", Value: bson.D{{Key: "$lt", Value: r.RetryCount}}}}},
			{Key: "$expr", Value: call("$and", isValid("$f", "$r"), isUnpaused("$r"))},
		}}},
		bson.D{{Key: "$project", Value: bson.D{{Key: "path", Value: "$f.path"}, {Key: "r", Value: 1}}}},
		bson.D{{Key: "$sort", Value: bson.D{{Key: "r.last_failed_dt", Value: -1}, {Key: "path", Value: 1}}}})
	cur, err := s.db.Collection(project).Aggregate(ctx, pipeline, options.Aggregate().SetAllowDiskUse(true))
	if err != nil {
		return nil, s.wrap(err, "find the failed files of project %s", project)
	}
	defer closeCursor(ctx, cur)
	var list []FailedFile
	for len(list) < limit && cur.Next(ctx) {
		rec, _ := cur.Current.Lookup("r").DocumentOK()
		id, _ := idOf(cur.Current.Lookup("_id"))
		f := newSiteRecord(r.To, rec)
		if f.Tries >= r.RetryCount {
			path := text(cur.Current.Lookup("path"))
			list = append(list, FailedFile{Key{project, id}, path, f.Tries, f.Error, f.LastFailed})
		}
	}
	if err := cur.Err(); err != nil {
		return nil, s.wrap(err, "find the failed files of project %s", project)
	}
	// What is no date the server sorts by its type.
	slices.SortStableFunc(list, func(a, b FailedFile) int {
		return cmp.Or(b.LastFailed.Compare(a.LastFailed), cmp.Compare(a.Path, b.Path))
	})
	return list, nil
}

// RunningFile is a file that is being transferred.
type RunningFile struct {
	Path string
	Size int64   // bytes, or UnknownSize
	Done float64 // how much of it is there, from 0 to 1
}

// Running returns the files of representations whose progress is recorded, but not more than so many. Only large files
// have one, and only where sitesync is told to record it.
func (s *Store) Running(ctx context.Context, project string, r Route, limit int, only []ID) ([]RunningFile, error) {
	open := bson.A{openInList("files", r.To), openInDict("files", r.To)}
	cur, err := s.db.Collection(project).Aggregate(ctx, append(records(r, only, open),
		bson.D{{Key: "$match", Value: bson.D{{Key: "r.created_dt", Value: nil},
			{Key: "r.progress", Value: bson.D{{Key: "$gt", Value: 0}, {Key: "$lte", Value: 1}}}}}},
		bson.D{{Key: "$limit", Value: limit}},
		bson.D{{Key: "$project", Value: bson.D{{Key: "path", Value: "$f.path"}, {Key: "size", Value: "$f.size"},
			{Key: "done", Value: call("$convert", bson.D{{Key: "input", Value: "$r.progress"},
				{Key: "to", Value: "double"}, {Key: "onError", Value: 0.0}})}}}}))
	docs, err := readAll[bson.Raw](ctx, cur, err)
	if err != nil {
		return nil, s.wrap(err, "read the progress of files of project %s", project)
	}
	var list []RunningFile
	for _, doc := range docs {
		f := RunningFile{Path: text(doc.Lookup("path")), Size: UnknownSize, Done: doc.Lookup("done").Double()}
		if n, ok := integer(doc.Lookup("size")); ok && n >= 0 {
			f.Size = n
		}
		list = append(list, f)
	}
	return list, nil
}
