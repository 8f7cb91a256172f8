package integration_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/studio"
)

// What was published before the site was configured is synced, in both forms.
func TestAddSite(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	var look, model []*studio.Representation
	for i, dict := range []bool{false, true} {
		look = append(look, s.publish(p, studio.Publish{Subset: "lookMain", Family: "look", Version: i + 1, Size: 100,
			Frames: 3, NoRemote: true, DictSites: dict}))
		model = append(model,
			s.publish(p, studio.Publish{Subset: "modelMain", Version: i + 1, Size: 100, NoRemote: true,
				DictSites: dict}))
	}
	absent := s.publish(p, studio.Publish{Version: 3, Size: 100, NoRemote: true, NoActiveDate: true})
	old := s.publish(p, studio.Publish{Version: 4, Size: 100, NoRemote: true, Change: func(doc bson.D) bson.D {
		for _, f := range doc {
			if f.Key == "files" {
				for i, file := range f.Value.(bson.A) {
					f.Value.(bson.A)[i] = without(file.(bson.D), "sites")
				}
			}
		}
		return doc
	}})
	s.start(streamOnly...)
	s.synced(s.publish(p, studio.Publish{Version: 5, Size: 100}))

	got := s.edits(0, "add-site", "Test", "--subset", "look*", "--dry-run")
	if got.Total != (editedCount{2, 6}) || !*got.DryRun || len(got.Projects[0].Examples) != 5 {
		t.Errorf("%+v", got)
	}
	// the studio's wall clock is that of this machine
	yesterday := time.Now().Add(-24 * time.Hour).Format(time.DateOnly)
	s.prints("Test: no file is without a record of site gdrive\nTest: 1 file has no sites at all, from before "+
		"Pype had sites: left alone\n", "add-site", "Test", "--before", "2020-01-01")
	s.prints("Test: 6 files of 2 representations have got site gdrive\n", "add-site", "Test", "--subset", "look*",
		"--family", "look", "--since", yesterday)
	for _, rep := range look {
		s.synced(rep)
	}
	if rec := s.record(model[0], 0); rec != nil {
		t.Errorf("a file that was not asked for has the record %v", rec)
	}
	got = s.edits(0, "add-site", "Test")
	if got.Total != (editedCount{2, 2}) || got.Projects[0].WithoutSites != 1 {
		t.Errorf("%+v", got)
	}
	for _, rep := range model {
		s.synced(rep)
	}
	for _, rep := range []*studio.Representation{absent, old} {
		if rec := s.record(rep, 0); rec != nil {
			t.Errorf("%s has the record %v", rep, rec)
		}
	}
	if got := s.edits(0, "add-site", "Test"); got.Total != (editedCount{}) {
		t.Errorf("again: %+v", got)
	}
	// As the README has it for files without sites.
	studioHasIt := bson.D{{Key: "sites", Value: bson.A{bson.D{{Key: "name", Value: "studio"},
		{Key: "created_dt", Value: "$$NOW"}}}}}
	_, err := p.Collection().UpdateMany(s.ctx,
		bson.D{{Key: "type", Value: "representation"}, {Key: "files", Value: bson.D{{Key: "$type", Value: "array"}}}},
		bson.A{bson.D{{Key: "$set", Value: bson.D{{Key: "files", Value: bson.D{{Key: "$map", Value: bson.D{
			{Key: "input", Value: "$files"}, {Key: "as", Value: "f"},
			{Key: "in", Value: bson.D{{Key: "$mergeObjects", Value: bson.A{studioHasIt, "$$f"}}}}}}}}}}}})
	check(t, err)
	if got := s.edits(0, "add-site", "Test"); got.Total != (editedCount{1, 1}) || got.Projects[0].WithoutSites != 0 {
		t.Errorf("%+v", got)
	}
	s.synced(old)

	s.refuses(1, `gdrive.json has no site "gdrve"; did you mean "gdrive"?`, "add-site", "Test", "--site", "gdrve")
	s.refuses(1, `site "studio" is active_site`, "add-site", "Test", "--site", "studio")
	s.refuses(1, `has no project "Tests"`, "add-site", "Tests")
	s.refuses(80, `--since is "yesterday" but must be a date such as 2026-01-31`, "add-site", "Test", "--since",
		"yesterday")
	s.refuses(80, `--since must be earlier than --before`, "add-site", "Test", "--since", "2026-01-31", "--before",
		"2026-01-31")
}

func without(doc bson.D, key string) bson.D {
	var out bson.D
	for _, e := range doc {
		if e.Key != key {
			out = append(out, e)
		}
	}
	return out
}

// A large project gets the site while sitesync works, and fresh publishes are synced beside it.
func TestAddSiteToManyWhileTheyAreSynced(t *testing.T) {
	t.Parallel()
	const representations, shared = 4000, 100
	s := newTestStudio(t)
	p := s.project("Test")
	// So many documents name few files, as with shared textures: what is tested are the documents.
	var docs []any
	for i := range shared {
		rep := s.publish(p, studio.Publish{Version: i + 1, Size: 10, NoRemote: true})
		var doc bson.D
		check(t, bson.Unmarshal(must(rep.Document(s.ctx))(t), &doc))
		for range representations/shared - 1 {
			docs = append(docs, with(slices.Clone(doc), "_id", bson.NewObjectID()))
		}
	}
	_, err := p.Collection().InsertMany(s.ctx, docs)
	check(t, err)
	s.start("--transfers", "64")
	began := time.Now()
	cmd := exec.CommandContext(s.ctx, binary, "add-site", "Test", "-o", "json")
	cmd.Env = s.environment()
	var out strings.Builder
	cmd.Stdout = &out
	check(t, cmd.Start())
	fresh := s.publish(p, studio.Publish{Version: shared + 1, Size: 1000})
	check(t, cmd.Wait())
	added := time.Since(began)
	var got edited
	check(t, json.Unmarshal([]byte(out.String()), &got))
	if got.Total != (editedCount{representations, representations}) {
		t.Errorf("%+v", got)
	}
	s.synced(fresh)
	for synced := int64(0); synced < representations+1; {
		s.eventually("more are synced", func() bool {
			n := must(p.Collection().CountDocuments(s.ctx,
				bson.D{{Key: "files.sites", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
					{Key: "name", Value: "gdrive"},
					{Key: "created_dt", Value: bson.D{{Key: "$type", Value: "date"}}}}}}}}))(t)
			more := n > synced
			synced = n
			return more
		})
	}
	if n := must(p.Collection().CountDocuments(s.ctx,
		bson.D{{Key: "files.sites.tries", Value: bson.D{{Key: "$exists", Value: true}}}}))(t); n != 0 {
		t.Errorf("%d have failed", n)
	}
	t.Logf("added in %v, synced in %v", added, time.Since(began))
}
