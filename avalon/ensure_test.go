package avalon

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

func ids(keys []Key) (list []ID) {
	for _, key := range keys {
		list = append(list, key.ID)
	}
	return list
}

func ensure(t *testing.T, s *Store, sites []string, keys []Key) EditResult {
	t.Helper()
	done, err := s.EnsureSites(t.Context(), project, sites, ids(keys))
	must(t, err)
	return done
}

// A file that some site has gets a record of each site that it lacks, in the form of its sites. Nothing else changes.
func TestEnsureSites(t *testing.T) {
	named := func(name string, fields ...bson.E) bson.D {
		return append(bson.D{{Key: "name", Value: name}}, fields...)
	}
	key := func(name string, fields ...bson.E) bson.E {
		return bson.E{Key: name, Value: append(bson.D{}, fields...)}
	}
	at, tries := bson.E{Key: "created_dt", Value: published}, bson.E{Key: "tries", Value: int32(3)}
	paused, never := bson.E{Key: "paused", Value: true}, bson.E{Key: "created_dt", Value: nil}
	for name, test := range map[string]struct{ sites, want any }{
		"published at home": {bson.A{named("art-17", at), named(gdrive)},
			bson.A{named("art-17", at), named(gdrive), named("studio"), named("farm 1")}},
		"published at home, dict": {bson.D{key("art-17", at), key(gdrive)},
			bson.D{key("art-17", at), key(gdrive), key("studio"), key("farm 1")}},
		"one is lacking": {bson.A{named("farm 1"), named(gdrive, at)},
			bson.A{named("farm 1"), named(gdrive, at), named("studio")}},
		"one is lacking, dict": {bson.D{key("farm 1", tries), key(gdrive, at)},
			bson.D{key("farm 1", tries), key(gdrive, at), key("studio")}},
		"only one of them has it":       {bson.A{named("studio", at)}, bson.A{named("studio", at), named("farm 1")}},
		"only one of them has it, dict": {bson.D{key("studio", at)}, bson.D{key("studio", at), key("farm 1")}},
		"null": {bson.D{key("studio", at), {Key: "farm 1", Value: nil}},
			bson.D{key("studio", at), key("farm 1")}},
		"odd neighbors": {bson.A{nil, "studio", bson.A{named("farm 1")}, named("x", at), bson.D{}},
			bson.A{nil, "studio", bson.A{named("farm 1")}, named("x", at), bson.D{}, named("studio"), named("farm 1")}},

		"nothing is lacking":         {bson.A{named("studio", at), named("farm 1", tries)}, nil},
		"nothing is lacking, dict":   {bson.D{key("studio", at), key("farm 1", paused)}, nil},
		"paused records are records": {bson.A{named("studio", paused), named("farm 1"), named(gdrive, at)}, nil},
		"no site has it":             {bson.A{named("art-17"), named(gdrive, never)}, nil},
		"no site has it, dict":       {bson.D{key("art-17"), key(gdrive)}, nil},
		"no sites in a list":         {bson.A{}, nil},
		"no sites in a dict":         {bson.D{}, nil},
		"null for sites":             {nil, nil},
		"text for sites":             {"studio", nil},
		"number for sites":           {7, nil},
		"created_dt in no record":    {bson.D{{Key: "created_dt", Value: published}, {Key: gdrive, Value: "x"}}, nil},
		"list in a list":             {bson.A{bson.A{named(gdrive, at)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, coll := newStore(t)
			sites := []string{"studio", "farm 1"}
			before := representation(entry("{root}/a", test.sites), entry("{root}/b", list(at)), nil, "x", bson.D{})
			doc := slices.Clone(before)
			files := before[3].Value.(bson.A)
			second := append(slices.Clone(list(at)), named("farm 1"))
			if test.want != nil {
				first := slices.Clone(files[0].(bson.D))
				first[len(first)-1].Value = test.want
				files = append(bson.A{first}, files[1:]...)
			}
			b := slices.Clone(files[1].(bson.D))
			b[len(b)-1].Value = second
			want := bson.A{files[0], b, files[2], files[3], files[4]}
			keys := insert(t, coll, doc)
			changed := int64(1)
			if test.want != nil {
				changed = 2
			}
			if done := ensure(t, s, sites, keys); done.Files != changed || done.Representations != 1 {
				t.Errorf("%+v, want %d files", done, changed)
			}
			var is struct {
				Files bson.A `bson:"files"`
			}
			must(t, coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: keys[0].ID}}).Decode(&is))
			if diff := cmp.Diff(asText(t, want), asText(t, is.Files)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if again := ensure(t, s, sites, keys); again.Files != 0 {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// What is no representation, or not asked for, is not touched.
func TestEnsureSitesOfSome(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	home := bson.A{bson.D{{Key: "name", Value: "art-17"}, {Key: "created_dt", Value: published}}}
	keys := insert(t, coll, representation(entry("{root}/a", home)), representation(entry("{root}/b", home)),
		bson.D{{Key: "type", Value: "version"}, {Key: "files", Value: bson.A{entry("{root}/c", home)}}},
		bson.D{{Key: "type", Value: "representation"}, {Key: "files", Value: entry("{root}/d", home)}},
		bson.D{{Key: "type", Value: bson.A{"representation"}}, {Key: "files", Value: bson.A{entry("{root}/e", home)}}})
	want := all(t, coll)
	if done := ensure(t, s, []string{"studio"}, nil); done.Files != 0 {
		t.Errorf("of none: %+v", done)
	}
	if done := ensure(t, s, []string{"studio"}, keys[2:]); done.Files != 0 || all(t, coll) != want {
		t.Errorf("of what is no representation: %+v", done)
	}
	if done := ensure(t, s, []string{"studio"}, keys[1:]); done.Files != 1 || done.Examples[0] != "{root}/b" {
		t.Errorf("of one: %+v", done)
	}
}

// Processes that do the same at the same time add each record once.
func TestEnsureSitesAtOnce(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	var docs []bson.D
	for range 200 {
		docs = append(docs, representation(entry("{root}/a", list()), entry("{root}/b", dict())))
	}
	keys := insert(t, coll, docs...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.EnsureSites(t.Context(), project, []string{"farm", "home"}, ids(keys)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, key := range keys {
		rep, err := s.Representation(t.Context(), key)
		must(t, err)
		for _, f := range rep.Files {
			var names []string
			for _, rec := range f.Sites {
				names = append(names, rec.Name)
			}
			if got := strings.Join(names, " "); got != "studio gdrive farm home" {
				t.Fatalf("%s has records of %s", f.Path, got)
			}
		}
	}
}

// A document that the database refuses does not keep the others from being changed.
func TestEnsureSitesIsRefused(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	keys := insert(t, coll, representation(entry("{root}/a", list())), representation(entry("{root}/b", list())))
	must(t, coll.Database().RunCommand(t.Context(), bson.D{{Key: "collMod", Value: project},
		{Key: "validator", Value: bson.D{{Key: "$or", Value: bson.A{
			bson.D{{Key: "files.path", Value: bson.D{{Key: "$ne", Value: "{root}/a"}}}},
			bson.D{{Key: "files.sites", Value: bson.D{{Key: "$size", Value: 2}}}}}}}}}).Err())
	done, err := s.EnsureSites(t.Context(), project, []string{"farm"}, ids(keys))
	if refused := new(*RefusedError); !errors.As(err, refused) || done.Files != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestNewestIDs(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	day := func(n int) bson.ObjectID {
		return bson.ObjectID([]byte(OldestID(time.Date(2020, 1, n, 0, 0, 0, 0, time.UTC)).raw))
	}
	var docs []any
	var want []string // from the newest
	for _, id := range []any{true, day(3), day(2), day(1), bson.D{{Key: "x", Value: 1}}, "b", "a", 7} {
		docs = append(docs, bson.D{{Key: "_id", Value: id}})
		kind, data, err := bson.MarshalValue(id)
		must(t, err)
		want = append(want, ID{kind, string(data)}.String())
	}
	_, err := coll.InsertMany(t.Context(), docs)
	must(t, err)
	newest := func(from, before ID, limit int) (texts []string, last ID) {
		t.Helper()
		list, err := s.NewestIDs(t.Context(), project, from, before, limit)
		must(t, err)
		for _, id := range list {
			texts, last = append(texts, id.String()), id
		}
		return texts, last
	}
	for limit := 1; limit <= len(docs)+1; limit++ {
		var got []string
		for before := (ID{}); ; {
			some, last := newest(ID{}, before, limit)
			got = append(got, some...)
			if before = last; len(some) < limit {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", limit, diff)
		}
	}
	if got, _ := newest(NewID(day(2)), NewID(day(3)), 9); !cmp.Equal(got, want[2:3]) {
		t.Errorf("of one day: %v", got)
	}
	if got, _ := newest(NewID(day(2)), ID{}, 9); !cmp.Equal(got, want[:3]) {
		t.Errorf("since a day: %v", got)
	}
	if got, err := s.NewestIDs(t.Context(), "Gone", NewID(day(2)), NewID(day(3)), 9); err != nil || len(got) > 0 {
		t.Errorf("of a project that has gone: %v, %v", got, err)
	}
	var plan struct {
		Stats struct {
			Documents int `bson:"totalDocsExamined"`
		} `bson:"executionStats"`
	}
	by := func(value any) bson.D { return bson.D{{Key: "_id", Value: value}} }
	find := bson.D{{Key: "find", Value: project}, {Key: "hint", Value: by(1)}, {Key: "sort", Value: by(-1)},
		{Key: "projection", Value: by(1)}, {Key: "min", Value: by(day(1))}, {Key: "max", Value: by(day(3))}}
	must(t, coll.Database().RunCommand(t.Context(), bson.D{{Key: "explain", Value: find}}).Decode(&plan))
	if plan.Stats.Documents != 0 {
		t.Errorf("%d documents are read for their ids", plan.Stats.Documents)
	}
}

// reported returns what a stream reports before a document that is inserted now.
func reported(t *testing.T, changes *Changes, coll *mongo.Collection) map[Key]bool {
	t.Helper()
	home := bson.A{bson.D{{Key: "name", Value: "art-17"}, {Key: "created_dt", Value: published}}}
	last := insert(t, coll, representation(entry("{root}/last", home)))[0]
	keys := map[Key]bool{}
	for !keys[last] {
		c, ok, err := changes.TryNext(t.Context())
		must(t, err)
		if ok {
			keys[c.Key] = true
		}
	}
	delete(keys, last)
	return keys
}

// What may lack a record is reported, whatever was changed; what cannot lack one is not.
func TestLackingChanges(t *testing.T) {
	s, coll := newStore(t)
	at := bson.E{Key: "created_dt", Value: published}
	named := func(name string, fields ...bson.E) bson.D {
		return append(bson.D{{Key: "name", Value: name}}, fields...)
	}
	op := func(op, path string, value any) bson.D {
		return bson.D{{Key: op, Value: bson.D{{Key: path, Value: value}}}}
	}
	set := func(path string, value any) bson.D { return op("$set", path, value) }
	unset := func(path string) bson.D { return op("$unset", path, "") }
	push := func(record bson.D) bson.D { return op("$push", "files.0.sites", record) }
	pull := func(name string) bson.D { return op("$pull", "files.0.sites", named(name)) }
	cut := mongo.Pipeline{set("files", mapped("$files", "f", call("$mergeObjects", "$$f",
		bson.D{{Key: "sites", Value: call("$slice", "$$f.sites", 2)}})))}
	home := func(more ...any) bson.A { return append(bson.A{named("art-17", at), named(gdrive)}, more...) }
	homeDict := func(more ...bson.E) bson.D {
		return append(bson.D{{Key: "art-17", Value: bson.D{at}}, {Key: gdrive, Value: bson.D{}}}, more...)
	}
	studio, inDict := named("studio"), bson.E{Key: "studio", Value: bson.D{}}
	absent := bson.A{named("art-17"), named(gdrive)}
	tests := map[string]struct {
		sites  any
		update any // nil: the insert alone
		want   bool
	}{
		"published at home":               {home(), nil, true},
		"published at home, dict":         {homeDict(), nil, true},
		"published with the record":       {home(studio), nil, false},
		"published with the record, dict": {homeDict(inDict), nil, false},
		"published, and no site has it":   {absent, nil, false},
		"published without sites":         {nil, nil, false},

		"record removed":                  {home(studio), pull("studio"), true},
		"record removed from the middle":  {append(bson.A{studio}, home()...), pull("studio"), true},
		"record cut off":                  {home(studio), cut, true},
		"record removed, dict":            {homeDict(inDict), unset("files.0.sites.studio"), true},
		"record is null, dict":            {homeDict(inDict), set("files.0.sites.studio", nil), true},
		"record gets another name":        {home(studio), set("files.0.sites.2.name", "x"), true},
		"record loses its name":           {home(studio), unset("files.0.sites.2.name"), true},
		"record replaced":                 {home(studio), set("files.0.sites.2", named("x")), true},
		"sites replaced":                  {home(studio), set("files.0.sites", home()), true},
		"sites replaced by a dict":        {home(studio), set("files.0.sites", homeDict()), true},
		"file replaced":                   {home(studio), set("files.0", entry("{root}/b", home())), true},
		"files replaced":                  {home(studio), set("files", bson.A{entry("{root}/b", home())}), true},
		"file added":                      {home(studio), op("$push", "files", entry("{root}/b", home())), true},
		"a site has it now":               {absent, set("files.0.sites.0.created_dt", published), true},
		"a site has it now, as text":      {absent, set("files.0.sites.0.created_dt", "2020"), true},
		"a site has it now, pushed":       {absent, push(named("x", at)), true},
		"another record removed":          {home(studio), pull(gdrive), false},
		"another record removed, dict":    {homeDict(inDict), unset("files.0.sites.gdrive"), false},
		"sites replaced, nothing lacks":   {home(studio), set("files.0.sites", home(named("other"), studio)), false},
		"files replaced, nobody has them": {home(studio), set("files", bson.A{entry("{root}/b", absent)}), false},
		"record added":                    {absent, push(studio), false},
		"record added, dict":              {bson.D{}, set("files.0.sites.studio", bson.D{}), false},
		"upload failed":                   {home(studio), set("files.0.sites.1", named(gdrive, failed(1)...)), false},
		"tries removed":                   {home(named("studio", failed(1)...)), unset("files.0.sites.2.tries"), false},
		"created_dt removed":              {home(studio), unset("files.0.sites.0.created_dt"), false},
		"size":                            {home(studio), set("files.0.size", 7), false},
		"progress":                        {home(studio), set("files.0.sites.1.progress", 0.5), false},
		"what is no file":                 {home(studio), set("data.comment", "x"), false},
	}
	changes, err := s.LackingChanges(t.Context(), []string{"other", "studio"})
	must(t, err)
	defer changes.Close(t.Context())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// All have a record of the other site.
			switch sites := test.sites.(type) {
			case bson.A:
				test.sites = append(slices.Clone(sites), named("other"))
			case bson.D:
				test.sites = append(slices.Clone(sites), bson.E{Key: "other", Value: bson.D{}})
			}
			key := insert(t, coll, representation(entry("{root}/a", test.sites)))[0]
			if test.update != nil {
				if reported(t, changes, coll)[key] {
					t.Error("the insert is reported")
				}
				res, err := coll.UpdateByID(t.Context(), key.ID, test.update)
				if err != nil || res.ModifiedCount != 1 {
					t.Fatalf("%+v, %v", res, err)
				}
			}
			if got := reported(t, changes, coll)[key]; got != test.want {
				t.Errorf("reported %t, want %t", got, test.want)
			}
			// What is added is not reported, so that nothing goes round in circles.
			if _, err := s.EnsureSites(t.Context(), project, []string{"other", "studio"}, []ID{key.ID}); err != nil {
				t.Fatal(err)
			}
			if reported(t, changes, coll)[key] {
				t.Error("what was added is reported")
			}
		})
	}
}

// What is recorded by this process is not reported, as the file had a site already.
func TestLackingChangesOfOwnWrites(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	changes, err := s.LackingChanges(t.Context(), []string{"studio"})
	must(t, err)
	defer changes.Close(t.Context())
	keys := insert(t, coll, representation(entry("{root}/a", list())), representation(entry("{root}/b", dict())),
		representation(entry("{root}/c", list()), entry("{root}/d", list())))
	for _, o := range []Outcome{{Error: "no"}, {RemoteID: "x"}} {
		for _, key := range keys {
			rep, err := s.Representation(t.Context(), key)
			must(t, err)
			var outcomes []Outcome
			for _, f := range rep.Files {
				o.File, o.At = f, time.Now()
				outcomes = append(outcomes, o)
			}
			_, err = recorder(s).Record(t.Context(), key, outcomes)
			must(t, err)
		}
		if got := reported(t, changes, coll); len(got) > 0 {
			t.Errorf("%+v: reported %v", o, got)
		}
	}
}
