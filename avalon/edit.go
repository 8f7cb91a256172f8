package avalon

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Bounds of what one update changes. The server rewrites each document, 300 kB for a sequence of 1,000 frames.
const (
	editDocuments = 500
	editFiles     = 5000
)

// filesAreArray keeps an update from a document that it would fail on.
var filesAreArray = bson.E{Key: "files", Value: bson.D{{Key: "$type", Value: "array"}}}

// maxExamples is how many paths an edit returns at most.
const maxExamples = 5

// EditResult is what an edit has changed, or would change, as counted right before.
type EditResult struct {
	Representations int64    `json:"representations"`
	Files           int64    `json:"files"`
	Examples        []string `json:"examples,omitempty"` // paths of the first files
}

// Add counts another edit too.
func (e *EditResult) Add(more EditResult) {
	e.Representations += more.Representations
	e.Files += more.Files
	e.Examples = append(e.Examples, more.Examples[:min(len(more.Examples), maxExamples-len(e.Examples))]...)
}

// EditOptions say how an edit is done.
type EditOptions struct {
	DryRun     bool             // only tell what would be changed
	OnProgress func(EditResult) // called after each step with what was changed so far; may be nil
}

// edit is one change of the records of a site, for many representations. Which files it applies to is decided by the
// server in the moment of the change, so an outcome that is written meanwhile is not lost. Done twice, it does nothing
// the second time.
type edit struct {
	doing   string   // for errors
	filters []bson.D // of documents that may have such files, looked through one after the other
	applies bson.D   // whether it applies to a file, $$f, which is a document
	sites   bson.D   // what the sites of the file become
}

func (e *edit) update() mongo.Pipeline {
	changed := call("$cond", e.applied(), call("$mergeObjects", "$$f", bson.D{{Key: "sites", Value: e.sites}}), "$$f")
	return mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "files", Value: mapped("$files", "f", changed)}}}}}
}

func (e *edit) applied() bson.D { return call("$and", isOf("$$f", "object"), e.applies) }

// candidate is a document that an edit applies to.
type candidate struct {
	id ID
	EditResult
}

// find yields the documents that the edit applies to, a batch at a time.
func (s *Store) find(ctx context.Context, project string, e *edit, filter bson.D, yield func([]candidate) error) error {
	applied := filtered("$files", "f", e.applied())
	found := let("hit", applied, bson.D{
		{Key: "n", Value: call("$size", "$$hit")},
		{Key: "paths", Value: call("$slice", mapped("$$hit", "f", "$$f.path"), maxExamples)},
	})
	cur, err := s.db.Collection(project).Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: append(bson.D{{Key: "type", Value: "representation"}, filesAreArray}, filter...)}},
		{{Key: "$project", Value: bson.D{{Key: "found", Value: call("$cond", isReadable(), found, nil)}}}},
		{{Key: "$match", Value: bson.D{{Key: "found.n", Value: bson.D{{Key: "$gt", Value: 0}}}}}},
	}, options.Aggregate().SetBatchSize(editDocuments))
	if err != nil {
		return err
	}
	defer closeCursor(ctx, cur)
	var batch []candidate
	var files int64
	for cur.Next(ctx) {
		c := candidate{EditResult: EditResult{Representations: 1, Files: cur.Current.Lookup("found", "n").AsInt64()}}
		c.id, _ = documentIDOf(cur.Current.Lookup("_id"))
		paths, _ := cur.Current.Lookup("found", "paths").ArrayOK()
		values, _ := paths.Values()
		for _, v := range values {
			c.Examples = append(c.Examples, text(v))
		}
		batch, files = append(batch, c), files+c.Files
		if len(batch) < editDocuments && files < editFiles {
			continue
		}
		if err := yield(batch); err != nil {
			return err
		}
		batch, files = nil, 0
	}
	if err := cur.Err(); err != nil || len(batch) == 0 {
		return err
	}
	return yield(batch)
}

// edit does an edit in a project. What was done before an error stays done, and is returned with the error. A document
// that the database refuses does not keep the others from being changed.
func (s *Store) edit(ctx context.Context, project string, e edit, o EditOptions) (EditResult, error) {
	var done EditResult
	var refused refusal
	for _, filter := range e.filters {
		err := s.find(ctx, project, &e, filter, func(batch []candidate) error {
			changed, err := s.change(ctx, project, &e, batch, o.DryRun, &refused)
			done.Add(changed)
			if o.OnProgress != nil {
				o.OnProgress(done)
			}
			return err
		})
		if err != nil {
			return done, s.wrap(err, "%s in project %s", e.doing, project)
		}
	}
	if refused.err != nil {
		return done, &RefusedError{s.wrap(refused.err, "%s in project %s: the database refuses to change %d "+
			"representation(s), such as %s", e.doing, project, refused.n, refused.first)}
	}
	return done, nil
}

// RefusedError means that the database refuses to change some documents, mostly as the collection has a validator. All
// others have been changed.
type RefusedError struct{ err error }

func (e *RefusedError) Error() string { return e.err.Error() }

func (e *RefusedError) Unwrap() error { return e.err }

// refusal counts what the database refuses.
type refusal struct {
	n     int
	first ID
	err   error
}

// change changes a batch of documents.
func (s *Store) change(ctx context.Context, project string, e *edit, batch []candidate, dry bool, refused *refusal) (
	EditResult, error) {
	var out EditResult
	var ids []ID
	for _, c := range batch {
		ids = append(ids, c.id)
		out.Add(c.EditResult)
	}
	if dry {
		return out, nil
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, filesAreArray}
	err := retryTransient(ctx, func() error {
		_, err := s.db.Collection(project).UpdateMany(ctx, filter, e.update())
		return err
	})
	switch {
	case err == nil:
		return out, nil
	case !isWriteError(err):
		return EditResult{}, err
	case len(batch) == 1:
		if refused.n++; refused.err == nil {
			refused.first, refused.err = ids[0], err
		}
		return EditResult{}, nil
	}
	// One poisoned document must not keep the others from being changed. Some of them are already.
	out = EditResult{}
	for i := range batch {
		one, err := s.change(ctx, project, e, batch[i:i+1], false, refused)
		out.Add(one)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// Retry says which failed files get a fresh start.
type Retry struct {
	Site            string // whose records
	MinTries        int    // failed tries that a file must have; retry_cnt for those that were given up, 1 for all
	Representations []ID   // only of these; nil: of all
	EditOptions
}

// Retry makes failed files of a project pending again: it removes tries, error and last_failed_dt from their records,
// which wakes a daemon. The files are valid, neither synced nor paused, and have failed so often.
func (s *Store) Retry(ctx context.Context, project string, r Retry) (EditResult, error) {
	filter := bson.D{{Key: "$or", Value: triedFilters(r.Site)}}
	if r.Representations != nil {
		filter = append(filter, idIn(r.Representations))
	}
	e := freshStart(r.Site, max(r.MinTries, 1))
	e.doing, e.filters = "take failed files back to pending", []bson.D{filter}
	return s.edit(ctx, project, e, r.EditOptions)
}

// freshStart is the edit of Retry, for any documents.
func freshStart(site string, minTries int) edit {
	failed := func(rec string) bson.D {
		return call("$and", isValid("$$f", rec), isOpen(rec), isUnpaused(rec), call("$gte", triesOf(rec), minTries))
	}
	fresh := func(rec string) bson.D { return without(rec, "tries", "error", "last_failed_dt", "progress") }
	inList := call("$cond", call("$and", is("$$s.name", site), failed("$$s")), fresh("$$s"), "$$s")
	inDict := "$$f.sites." + site
	return edit{
		applies: let("r", recordFor("$$f.sites", site), failed("$$r")),
		sites: byForm("$$f.sites", mapped("$$f.sites", "s", inList),
			call("$mergeObjects", "$$f.sites", bson.D{{Key: site, Value: fresh(inDict)}}), "$$f.sites"),
	}
}

// AddSite says which published files get a record of a site.
type AddSite struct {
	From string // the site that has the files; "" for any
	Site string // the one that is to get them; no "." in it
	Selection

	// When the site From got the file: not before Since, and before Before; the zero time is no limit. Pype writes the
	// wall clock of the publisher into created_dt as if that were UTC, and so these are read. They require From.
	Since, Before time.Time

	Retry bool // also give a fresh start to files that have the record, and have failed there
	EditOptions
}

// AddSite adds an empty record of a site to published files without, or with null in its place, if the site From has
// them: from then on they are pending. Files without any sites, from before Pype had sites, are left alone, as nothing
// says that the site From has them.
func (s *Store) AddSite(ctx context.Context, project string, a AddSite) (EditResult, error) {
	has := isOnAny("$$f.sites")
	if a.From != "" {
		const created = "$$from.created_dt"
		conditions := bson.A{isCreated("$$from")}
		if !a.Since.IsZero() {
			conditions = append(conditions, isOf(created, "date"), call("$gte", created, a.Since.UTC()))
		}
		if !a.Before.IsZero() {
			conditions = append(conditions, isOf(created, "date"), call("$lt", created, a.Before.UTC()))
		}
		has = let("from", recordFor("$$f.sites", a.From), call("$and", conditions...))
	}
	selected, err := s.selected(ctx, project, a.Selection)
	if err != nil {
		return EditResult{}, s.wrap(err, "find the versions in project %s", project)
	}
	lacks := call("$and", is(recordFor("$$f.sites", a.Site), nil), has)
	e := edit{
		doing:   "add site " + a.Site,
		filters: selected,
		applies: lacks,
		sites: byForm("$$f.sites",
			call("$concatArrays", "$$f.sites", bson.A{bson.D{{Key: "name", Value: literal(a.Site)}}}),
			call("$mergeObjects", "$$f.sites", bson.D{{Key: a.Site, Value: literal(bson.D{})}}), "$$f.sites"),
	}
	if a.Retry {
		again := freshStart(a.Site, 1)
		e.applies, e.sites = call("$or", lacks, again.applies), call("$cond", lacks, e.sites, again.sites)
	}
	return s.edit(ctx, project, e, a.EditOptions)
}

// WithoutSites counts the selected files of a project that have no sites at all.
func (s *Store) WithoutSites(ctx context.Context, project string, sel Selection) (int64, error) {
	return s.count(ctx, project, sel, is("$$f.sites", nil))
}

// WithoutRecord counts the selected files of a project that have no record of a site.
func (s *Store) WithoutRecord(ctx context.Context, project, site string, sel Selection) (int64, error) {
	return s.count(ctx, project, sel, is(recordFor("$$f.sites", site), nil))
}

// count counts the selected files, $$f, that meet a condition.
func (s *Store) count(ctx context.Context, project string, sel Selection, cond bson.D) (int64, error) {
	selected, err := s.selected(ctx, project, sel)
	if err != nil {
		return 0, s.wrap(err, "find the versions in project %s", project)
	}
	done, err := s.edit(ctx, project, edit{doing: "count files", filters: selected, applies: cond},
		EditOptions{DryRun: true})
	return done.Files, err
}
