package avalon

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// tree is a project with assets, subsets, versions and representations, which are found by their names again.
type tree struct {
	t      *testing.T
	s      *Store
	names  map[ID]string
	insert func(docs ...bson.D) []Key
}

func newTree(t *testing.T) *tree {
	s, coll := newStore(t)
	return &tree{t: t, s: s, names: map[ID]string{},
		insert: func(docs ...bson.D) []Key { return insert(t, coll, docs...) }}
}

// add adds a document below another one.
func (w *tree) add(kind string, name any, parent ID, fields ...bson.E) ID {
	w.t.Helper()
	return w.insert(append(bson.D{{Key: "type", Value: kind}, {Key: "name", Value: name},
		{Key: "parent", Value: parent}},
		fields...))[0].ID
}

// version adds a version with two representations: NAME.ma and NAME.abc.
func (w *tree) version(name, kind string, number any, subset ID, fields ...bson.E) {
	w.t.Helper()
	id := w.add(kind, number, subset, fields...)
	for _, ext := range []string{"ma", "abc"} {
		doc := representation(entry("{root}/"+name+"."+ext, list()))
		doc[1].Value = ext
		w.names[w.insert(append(doc, bson.E{Key: "parent", Value: id}))[0].ID] = name + "." + ext
	}
}

// selected are the names of the representations that are selected.
func (w *tree) selected(sel Selection) string {
	w.t.Helper()
	ids, err := w.s.Representations(w.t.Context(), project, sel)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, id := range ids {
		names = append(names, w.names[id])
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestSelection(t *testing.T) {
	t.Parallel()
	w := newTree(t)
	families := func(f ...string) bson.E { return bson.E{Key: "data", Value: bson.D{{Key: "families", Value: f}}} }
	hero, ship := w.add("asset", "hero", ID{}), w.add("asset", "ship.a", ID{})
	heroLook := w.add("subset", "lookMain", hero, families("look"))
	shipLook := w.add("subset", "lookMain", ship, families("look"))
	model := w.add("subset", "modelMain", hero)
	w.version("h9", "version", int32(9), heroLook)
	w.version("h10", "version", int64(10), heroLook)
	w.version("hh", "master_version", nil, heroLook)
	w.version("h99", "archived_version", int32(99), heroLook)
	w.version("s1", "version", 1.0, shipLook)
	w.version("s2", "version", "two", shipLook)
	w.version("sh", "hero_version", nil, shipLook)
	w.version("m1", "version", 1, model, families("model"))
	w.version("m2", "version", 2, model, families("model"))
	number := func(n int64) Version { return Version{Number: &n} }
	for name, test := range map[string]struct {
		sel  Selection
		want string
	}{
		"all of a name": {Selection{Name: "ab?"},
			"h10.abc h9.abc h99.abc hh.abc m1.abc m2.abc s1.abc s2.abc sh.abc"},
		"a subset": {Selection{Subset: "look*", Name: "ma"}, "h10.ma h9.ma hh.ma s1.ma s2.ma sh.ma"},
		"the latest version of each subset": {Selection{Subset: "*", Name: "ma", Version: Version{Latest: true}},
			"h10.ma m2.ma s1.ma"},
		"of an asset": {Selection{Asset: "hero", Version: Version{Latest: true}},
			"h10.abc h10.ma m2.abc m2.ma"},
		"of a subset of an asset": {Selection{Asset: "sh*", Subset: "lookMain", Version: Version{Latest: true}},
			"s1.abc s1.ma"},
		"no subset of the asset": {Selection{Asset: "sh*", Subset: "modelMain"}, ""},
		"a dot is a dot":         {Selection{Asset: "ship?"}, ""},
		"hero versions":          {Selection{Subset: "*", Name: "ma", Version: Version{Hero: true}}, "hh.ma sh.ma"},
		"a number":               {Selection{Subset: "*", Name: "ma", Version: number(1)}, "m1.ma s1.ma"},
		"a number of an asset":   {Selection{Asset: "hero", Name: "ma", Version: number(10)}, "h10.ma"},
		"no such number":         {Selection{Subset: "*", Version: number(3)}, ""},
		"a family": {Selection{Family: "look", Name: "ma", Version: Version{Latest: true}},
			"h10.ma s1.ma"},
		"a family of versions": {Selection{Family: "model", Name: "ma", Version: Version{Latest: true}}, "m2.ma"},
		"a family of an asset": {Selection{Asset: "hero", Family: "look", Name: "abc", Version: number(9)}, "h9.abc"},
		"not the family":       {Selection{Asset: "ship.a", Family: "model"}, ""},
	} {
		if got := w.selected(test.sel); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	ids, err := w.s.Representations(t.Context(), project, Selection{Asset: "hero", Version: number(9)})
	must(t, err)
	if got := w.selected(Selection{Representations: ids, Name: "ma"}); got != "h9.ma" {
		t.Errorf("of named ones: %s", got)
	}
	if got := w.selected(Selection{Representations: []ID{}}); got != "" {
		t.Errorf("of none: %s", got)
	}
}

// Files are asked for on a site if any other one has them; what has failed there gets a fresh start.
func TestAddSiteFromAny(t *testing.T) {
	t.Parallel()
	created := bson.E{Key: "created_dt", Value: published}
	rec := func(site string, fields ...bson.E) bson.D {
		return append(bson.D{{Key: "name", Value: site}}, fields...)
	}
	in := func(fields ...bson.E) bson.D { return append(bson.D{}, fields...) }
	paused := bson.E{Key: "paused", Value: true}
	for name, test := range map[string]struct {
		sites any
		want  any // nil: as they were
	}{
		"on another site": {bson.A{rec("home", created), rec(gdrive)},
			bson.A{rec("home", created), rec(gdrive), rec("studio")}},
		"on another site, dict": {bson.D{{Key: "home", Value: in(created)}},
			bson.D{{Key: "home", Value: in(created)}, {Key: "studio", Value: in()}}},
		"null in its place": {bson.D{{Key: "home", Value: in(created)}, {Key: "studio", Value: nil}},
			bson.D{{Key: "home", Value: in(created)}, {Key: "studio", Value: in()}}},
		"on no site":         {bson.A{rec("home"), rec(gdrive)}, nil},
		"on no site, dict":   {bson.D{{Key: gdrive, Value: in()}}, nil},
		"created_dt null":    {bson.A{rec(gdrive, bson.E{Key: "created_dt", Value: nil})}, nil},
		"here":               {list(), nil},
		"here, dict":         {dict(), nil},
		"asked for":          {bson.A{rec(gdrive, created), rec("studio")}, nil},
		"asked for, dict":    {bson.D{{Key: gdrive, Value: in(created)}, {Key: "studio", Value: in()}}, nil},
		"paused":             {bson.A{rec(gdrive, created), rec("studio", append(failed(3), paused)...)}, nil},
		"no sites":           {nil, nil},
		"sites are nonsense": {bson.A{nil, 1, "studio", bson.A{}}, nil},
		"failed": {bson.A{rec(gdrive, created), rec("studio", failed(3)...)},
			bson.A{rec(gdrive, created), rec("studio", bson.E{Key: "kept", Value: 1})}},
		"failed, dict": {bson.D{{Key: gdrive, Value: in(created)}, {Key: "studio", Value: in(failed("1")...)}},
			bson.D{{Key: gdrive, Value: in(created)}, {Key: "studio", Value: in(bson.E{Key: "kept", Value: 1})}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, coll := newStore(t)
			same := entry("{root}/same", bson.A{rec("studio", created)})
			file := entry("{root}/a", test.sites)
			keys := insert(t, coll, representation(file, same), representation(file, same))
			other, before := document(t, coll, keys[1]), document(t, coll, keys[0])
			add := AddSite{Site: "studio", Selection: Selection{Representations: []ID{keys[0].ID}}, Retry: true}
			want := int64(0)
			if test.want != nil {
				want = 1
			}
			for _, dry := range []bool{true, false} {
				add.DryRun = dry
				if done, err := s.AddSite(t.Context(), project, add); err != nil || done.Files != want {
					t.Errorf("dry %v: %+v, %v", dry, done, err)
				}
				if dry && document(t, coll, keys[0]) != before {
					t.Error("a dry run changes the document")
				}
			}
			if test.want != nil {
				file[4].Value = test.want
			}
			var is struct {
				Files bson.A `bson:"files"`
			}
			must(t, coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: keys[0].ID}}).Decode(&is))
			if diff := cmp.Diff(asText(t, bson.A{file, same}), asText(t, is.Files)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if again, err := s.AddSite(t.Context(), project, add); err != nil || again.Files != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
			if document(t, coll, keys[1]) != other {
				t.Error("a representation that is not selected is changed")
			}
		})
	}
}

// Only what is selected is counted, and its running files are those whose progress is recorded.
func TestStatsOfSomeRepresentations(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	progress := func(v any) bson.E { return bson.E{Key: "progress", Value: v} }
	done := bson.E{Key: "created_dt", Value: published}
	keys := insert(t, coll,
		representation(entry("{root}/a", list(progress(0.5))), entry("{root}/b", dict(progress(int32(1)))),
			entry("{root}/c", list(progress("0.5"))), entry("{root}/d", list(progress(bson.A{0.5}))),
			entry("{root}/e", list(done, progress(0.5))), entry("{root}/f", list(failed(7)...))),
		representation(entry("{root}/g", list(progress(0.5))), entry("{root}/h", list(failed(7)...))))
	want := Stats{Pending: FileCount{4, 20}, Synced: FileCount{1, 5}, Failed: FileCount{1, 5}}
	got, err := s.Stats(t.Context(), project, doubling, published, keys[0].ID)
	must(t, err)
	got.Oldest = want.Oldest
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	lost, err := s.Failed(t.Context(), project, doubling, 9, keys[0].ID)
	must(t, err)
	if len(lost) != 1 || lost[0].Path != "{root}/f" {
		t.Errorf("failed: %+v", lost)
	}
	running, err := s.Running(t.Context(), project, route, 9, []ID{keys[0].ID})
	must(t, err)
	wantRunning := []RunningFile{{"{root}/a", 5, 0.5}, {"{root}/b", 5, 1}, {"{root}/d", 5, 0}}
	if diff := cmp.Diff(wantRunning, running); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
}
