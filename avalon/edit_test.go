package avalon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// failed are the fields of a record after so many tries.
func failed(tries any) []bson.E {
	return []bson.E{
		{Key: "error", Value: "no"},
		{Key: "tries", Value: tries},
		{Key: "last_failed_dt", Value: published},
		{Key: "kept", Value: 1},
	}
}

func retry(t *testing.T, s *Store, r Retry) EditResult {
	t.Helper()
	if r.Site == "" {
		r.Site = gdrive
	}
	done, err := s.Retry(t.Context(), project, r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestRetry(t *testing.T) {
	created := bson.E{Key: "created_dt", Value: published}
	for name, test := range map[string]struct {
		fields []bson.E
		min    int
		want   bool
	}{
		"given up":                 {failed(int32(3)), 3, true},
		"given up long ago":        {failed(int64(7)), 3, true},
		"given up, as double":      {failed(3.0), 3, true},
		"given up, as text":        {failed(" 3 "), 3, true},
		"waiting":                  {failed(int32(2)), 3, false},
		"waiting, as text":         {failed("2"), 3, false},
		"waiting, and wanted":      {failed(int32(1)), 1, true},
		"tries is nonsense":        {failed("often"), 1, false},
		"tries is not valid UTF-8": {failed("\xff\xfe3"), 1, false},
		"tries is a document":      {failed(bson.D{}), 1, false},
		"tries null":               {failed(nil), 1, false},
		"untried":                  {nil, 1, false},
		"synced":                   {append(failed(int32(3)), created), 3, false},
		"paused":                   {append(failed(int32(3)), bson.E{Key: "paused", Value: true}), 3, false},
		"paused no more":           {append(failed(int32(3)), bson.E{Key: "paused", Value: false}), 3, true},
		"created_dt null":          {append(failed(int32(3)), bson.E{Key: "created_dt", Value: nil}), 3, true},
	} {
		for form, sites := range map[string]any{"list": list(test.fields...), "dict": dict(test.fields...)} {
			t.Run(name+", "+form, func(t *testing.T) {
				t.Parallel()
				s, coll := newStore(t)
				key := insert(t, coll, representation(entry("{root}/a", sites), entry("{root}/b", list())))[0]
				before := document(t, coll, key)
				want := EditResult{}
				if test.want {
					want = EditResult{1, 1, []string{"{root}/a"}}
				}
				if diff := cmp.Diff(want, retry(t, s,
					Retry{MinTries: test.min, EditOptions: EditOptions{DryRun: true}})); diff != "" {
					t.Errorf("what would be changed (-want +got):\n%s", diff)
				}
				if document(t, coll, key) != before {
					t.Error("a dry run changes the document")
				}
				if diff := cmp.Diff(want, retry(t, s, Retry{MinTries: test.min})); diff != "" {
					t.Errorf("what is changed (-want +got):\n%s", diff)
				}
				if !test.want {
					if document(t, coll, key) != before {
						t.Errorf("the document is changed to %s", document(t, coll, key))
					}
					return
				}
				rec := types(siteRecord(t, coll, key, "0"))
				for _, gone := range []string{"error", "tries", "last_failed_dt"} {
					if _, found := rec[gone]; found {
						t.Errorf("%s is still in %v", gone, rec)
					}
				}
				if _, found := rec["kept"]; !found {
					t.Errorf("what others wrote is gone: %v", rec)
				}
				if got := retry(t, s, Retry{MinTries: test.min}); got.Files != 0 {
					t.Errorf("changed again: %v", got)
				}
			})
		}
	}
}

// What is no file, or no record, next to what is changed stays as it is.
func anything() bson.D {
	return representation(
		nil,
		"x",
		bson.A{bson.A{}, bson.D{}},
		bson.D{},
		entry("{root}/a", nil),
		entry("{root}/b", "gdrive"),
		entry(
			"{root}/c",
			bson.A{nil, "gdrive", bson.A{}, bson.D{}},
		),
		entry("{root}/d", bson.D{{Key: gdrive, Value: "x"}, {Key: "studio", Value: 1}}),
	)
}

func TestRetryAmongAnything(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	doc := anything()
	files := doc[3].Value.(bson.A)
	doc[3].Value = append(files, entry("{root}/e", list(failed(3)...)))
	keys := insert(t, coll, doc, bson.D{{Key: "type", Value: "representation"}, {Key: "files", Value: "x"}},
		bson.D{{Key: "type", Value: "version"}, {Key: "files", Value: bson.A{entry("{root}/a", list(failed(3)...))}}})
	other := document(t, coll, keys[2])
	if got := retry(t, s, Retry{MinTries: 3}); got.Files != 1 {
		t.Errorf("%v", got)
	}
	var is struct {
		Files bson.A `bson:"files"`
	}
	if err := coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: keys[0].ID}}).Decode(&is); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asText(t, files), asText(t, is.Files[:len(files)])); diff != "" {
		t.Errorf("the other files (-want +got):\n%s", diff)
	}
	if document(t, coll, keys[2]) != other {
		t.Error("a version is changed")
	}
}

func asText(t *testing.T, files bson.A) string {
	t.Helper()
	doc, err := bson.Marshal(bson.D{{Key: "files", Value: files}})
	if err != nil {
		t.Fatal(err)
	}
	return bson.Raw(doc).String()
}

func TestRetryOfSome(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	keys := insert(
		t,
		coll,
		representation(entry("{root}/a", list(failed(3)...))),
		representation(entry("{root}/b", dict(failed(3)...)), entry("{root}/c", list(failed(3)...))),
		representation(entry("{root}/d", list(failed(3)...))),
	)
	if got := retry(t, s, Retry{MinTries: 3, Representations: []ID{keys[1].ID}}); got.Files != 2 ||
		got.Representations != 1 {
		t.Errorf("%v", got)
	}
	if got := retry(t, s, Retry{MinTries: 3, Representations: []ID{}}); got.Files != 0 {
		t.Errorf("none was asked for: %v", got)
	}
	if got := retry(t, s, Retry{MinTries: 3, Site: "other"}); got.Files != 0 {
		t.Errorf("another site: %v", got)
	}
	if got := retry(t, s, Retry{MinTries: 3}); got.Files != 2 || got.Representations != 2 {
		t.Errorf("%v", got)
	}
}

// An upload that ends beside a retry: its success counts, its failure is of before.
func TestRetryBesideAnUpload(t *testing.T) {
	t.Parallel()
	for form, sites := range map[string]any{"list": list(failed(int32(2))...), "dict": dict(failed(int32(2))...)} {
		s, coll := newStore(t)
		keys := insert(t, coll, representation(entry("{root}/a", sites)), representation(entry("{root}/b", sites)))
		good, bad := read(t, s, keys[0]), read(t, s, keys[1])
		if got := retry(t, s, Retry{}); got.Files != 2 {
			t.Errorf("%s: %v", form, got)
		}
		for key, o := range map[Key]Outcome{keys[0]: {File: good, RemoteID: "x", At: published},
			keys[1]: {File: bad, Error: "no", At: published}} {
			if _, err := recorder(s).Record(t.Context(), key, []Outcome{o}); err != nil {
				t.Fatal(err)
			}
		}
		if rec, _ := new(read(t, s, keys[0])).RecordFor(gdrive); !rec.Created || rec.RemoteID != "x" {
			t.Errorf("%s: the success is lost: %+v", form, rec)
		}
		if rec, _ := new(read(t, s, keys[1])).RecordFor(gdrive); rec.Tries != 0 || rec.Error != "" {
			t.Errorf("%s: the fresh start is lost: %+v", form, rec)
		}
		// And the other way round: what was synced meanwhile is not touched.
		before := document(t, coll, keys[0])
		if got := retry(t, s, Retry{}); got.Files != 0 || document(t, coll, keys[0]) != before {
			t.Errorf("%s: %v", form, got)
		}
	}
}

// Many documents take several updates, and one that the database refuses does not stop the others.
func TestRetryOfMany(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	const n = 2*editDocuments + 10
	var docs []any
	for i := range n {
		files := []any{entry(fmt.Sprintf("{root}/%d", i), list(failed(int32(3))...))}
		if i == 7 {
			for range editFiles {
				files = append(files, entry("{root}/frame", list(failed(int32(3))...)))
			}
		}
		docs = append(docs, representation(files...))
	}
	if _, err := coll.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	validator := bson.D{
		{Key: "$or", Value: bson.A{bson.D{{Key: "files.path", Value: bson.D{{Key: "$ne", Value: "{root}/3"}}}},
			bson.D{{Key: "files.sites.tries", Value: 3}}}},
	}
	if err := coll.Database().RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: project}, {Key: "validator", Value: validator}}).Err(); err != nil {
		t.Fatal(err)
	}
	steps := 0
	var last EditResult
	done, err := s.Retry(
		t.Context(),
		project,
		Retry{
			Site:        gdrive,
			MinTries:    3,
			EditOptions: EditOptions{OnProgress: func(e EditResult) { steps++; last = e }},
		},
	)
	if err == nil || !strings.Contains(err.Error(), "refuses to change 1 representation(s)") {
		t.Errorf("the refused document is not told of: %v", err)
	}
	if done.Representations != n-1 || done.Files != n-1+editFiles || len(done.Examples) != maxExamples {
		t.Errorf("%+v", done)
	}
	if steps < 3 || !cmp.Equal(last, done) {
		t.Errorf("told %d times, at last %+v", steps, last)
	}
	if left := retry(t, s, Retry{MinTries: 3, EditOptions: EditOptions{DryRun: true}}); left.Files != 1 {
		t.Errorf("left: %+v", left)
	}
}

// Whoever ends it can go on later.
func TestEditIsInterrupted(t *testing.T) {
	t.Parallel()
	s, coll := newStore(t)
	var docs []any
	for range 2 * editDocuments {
		docs = append(docs, representation(entry("{root}/a", bson.A{list()[0]})))
	}
	if _, err := coll.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	add := AddSite{From: "studio", Site: gdrive}
	add.OnProgress = func(EditResult) { cancel() }
	first, err := s.AddSite(ctx, project, add)
	if err == nil || first.Representations != editDocuments {
		t.Errorf("%v, %+v", err, first)
	}
	add.OnProgress = nil
	if rest, err := s.AddSite(t.Context(), project, add); err != nil || rest.Representations != editDocuments {
		t.Errorf("%v, %+v", err, rest)
	}
	if n := len(pendingKeys(t, s, 3)); n != len(docs) {
		t.Errorf("%d pending", n)
	}
}

func TestAddSite(t *testing.T) {
	at := func(year int) bson.E {
		return bson.E{Key: "created_dt", Value: time.Date(year, 1, 1, 12, 0, 0, 0, time.UTC)}
	}
	inList := func(studio ...bson.E) bson.A {
		return bson.A{append(bson.D{{Key: "name", Value: "studio"}}, studio...)}
	}
	inDict := func(studio ...bson.E) bson.D { return bson.D{{Key: "studio", Value: append(bson.D{}, studio...)}} }
	s, coll := newStore(t)
	subset := func(name string, data bson.D) bson.ObjectID {
		id := bson.NewObjectID()
		insert(
			t,
			coll,
			bson.D{
				{Key: "_id", Value: id},
				{Key: "type", Value: "subset"},
				{Key: "name", Value: name},
				{Key: "data", Value: data},
			},
		)
		return id
	}
	version := func(subset bson.ObjectID, data bson.D) bson.ObjectID {
		id := bson.NewObjectID()
		insert(
			t,
			coll,
			bson.D{
				{Key: "_id", Value: id},
				{Key: "type", Value: "version"},
				{Key: "parent", Value: subset},
				{Key: "data", Value: data},
			},
		)
		return id
	}
	families := func(f ...string) bson.D { return bson.D{{Key: "families", Value: f}} }
	look := version(subset("lookMain", families("look")), nil)
	render := version(subset("render.beauty+", families("render", "review")), nil)
	old := version(subset("modelOld", nil), families("model"))
	older := version(subset("modelOlder", bson.D{{Key: "family", Value: "model"}}), nil)
	for name, doc := range map[string]bson.D{
		"look1 look2": representation(entry("look1", inList(at(2020))), entry("look2", inDict(at(2021))),
			entry("there", list()), entry("thereToo", dict(at(2020))), entry("no", nil)),
		"render1": representation(entry("render1", inDict(at(2022))), entry("absent", inList()),
			entry("absentToo", inDict()), entry("elsewhere", bson.A{})),
		"old1": representation(entry("old1", inList(at(2019)))),
		"older1 null1": representation(entry("older1", inList(at(2018))),
			entry("null1", append(inDict(at(2018)), bson.E{Key: gdrive, Value: nil}))),
	} {
		doc = append(doc, bson.E{Key: "parent", Value: map[byte]bson.ObjectID{'l': look, 'r': render}[name[0]]})
		if name[0] == 'o' {
			doc[len(doc)-1].Value = map[string]bson.ObjectID{"old1": old, "older1 null1": older}[name]
		}
		insert(t, coll, doc)
	}
	insert(t, coll, append(anything(), bson.E{Key: "parent", Value: look}))
	date := func(year int) time.Time { return time.Date(year, 1, 1, 12, 0, 0, 0, time.UTC) }
	for name, test := range map[string]struct {
		add  AddSite
		want string
	}{
		"all":                    {AddSite{}, "look1 look2 null1 old1 older1 render1"},
		"subset":                 {AddSite{Selection: Selection{Subset: "lookMain"}}, "look1 look2"},
		"subset pattern":         {AddSite{Selection: Selection{Subset: "model*"}}, "null1 old1 older1"},
		"subset with ?":          {AddSite{Selection: Selection{Subset: "look?ain"}}, "look1 look2"},
		"subset that has a dot":  {AddSite{Selection: Selection{Subset: "render.beauty+"}}, "render1"},
		"a dot is a dot":         {AddSite{Selection: Selection{Subset: "render-beauty+"}}, ""},
		"part of a name":         {AddSite{Selection: Selection{Subset: "look"}}, ""},
		"family":                 {AddSite{Selection: Selection{Family: "review"}}, "render1"},
		"family of versions too": {AddSite{Selection: Selection{Family: "model"}}, "null1 old1 older1"},
		"subset and family": {AddSite{Selection: Selection{Subset: "modelOld*", Family: "model"},
			Since: date(2019)}, "old1"},
		"subset, not the family":  {AddSite{Selection: Selection{Subset: "lookMain", Family: "model"}}, ""},
		"since":                   {AddSite{Since: date(2021)}, "look2 render1"},
		"before":                  {AddSite{Before: date(2020)}, "null1 old1 older1"},
		"since and before":        {AddSite{Since: date(2019), Before: date(2021)}, "look1 old1"},
		"another active site":     {AddSite{From: "studio2"}, ""},
		"the site has been added": {AddSite{Site: "studio"}, ""},
	} {
		test.add.From, test.add.Site, test.add.DryRun = orElse(
			test.add.From,
			"studio",
		), orElse(
			test.add.Site,
			gdrive,
		), true
		done, err := s.AddSite(t.Context(), project, test.add)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Fields(test.want)); done.Files != int64(n) || len(done.Examples) != min(n, maxExamples) {
			t.Errorf("%s: %+v, want %s", name, done, test.want)
		}
		for _, path := range done.Examples {
			if !strings.Contains(" "+test.want+" ", " "+path+" ") {
				t.Errorf("%s: %s is found, want %s", name, path, test.want)
			}
		}
	}
	if n, err := s.WithoutSites(t.Context(), project, Selection{}); err != nil ||
		n != 3 { // also those that are no files
		t.Errorf("%d files without sites, %v", n, err)
	}

	before := all(t, coll)
	done, err := s.AddSite(t.Context(), project, AddSite{From: "studio", Site: gdrive})
	if err != nil || done.Files != 6 || done.Representations != 4 {
		t.Errorf("%+v, %v", done, err)
	}
	after := all(t, coll)
	// Nothing but the records is new, and both forms are kept.
	skeletons := strings.NewReplacer(`, {"name": "gdrive"}]`, "]", `,{"name": "gdrive"}]`, "]", `,"gdrive": {}}`, "}")
	want, got := strings.ReplaceAll(skeletons.Replace(before), `,"gdrive": null`, ""), skeletons.Replace(after)
	if want != got {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
	if again, err := s.AddSite(t.Context(), project, AddSite{From: "studio", Site: gdrive}); err != nil ||
		again.Files != 0 ||
		all(t, coll) != after {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// all is all of a collection.
func all(t *testing.T, coll *mongo.Collection) string {
	t.Helper()
	cur, err := coll.Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var docs []bson.Raw
	if err := cur.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, d := range docs {
		fmt.Fprintln(&out, d)
	}
	return out.String()
}
