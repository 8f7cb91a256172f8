package avalon

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func marshal(t testing.TB, doc any) bson.Raw {
	t.Helper()
	b, err := bson.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decimal(t testing.TB, s string) bson.Decimal128 {
	t.Helper()
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// textID is the id of an entry whose _id is a text, whatever that looks like.
func textID(t testing.TB, s string) ID {
	t.Helper()
	id, ok := idOf(marshal(t, bson.D{{Key: "_id", Value: s}}).Lookup("_id"))
	if !ok {
		t.Fatalf("%q is no id", s)
	}
	return id
}

var decoded = cmp.Options{
	cmp.AllowUnexported(ID{}),
	cmpopts.IgnoreUnexported(File{}, SiteRecord{}),
	cmpopts.EquateEmpty(),
}

// What other writers are known to leave in files, and what they might.
func TestDecodeFile(t *testing.T) {
	oid := bson.NewObjectID()
	id := NewID(oid)
	const path = "{root}/Test/a.ma"
	with := func(fields ...bson.E) bson.D { // a sound entry, with fields replaced or added
		doc := bson.D{
			{Key: "_id", Value: oid},
			{Key: "path", Value: path},
			{Key: "size", Value: int64(5)},
			{Key: "sites", Value: bson.A{}},
		}
		for _, f := range fields {
			if i := slices.IndexFunc(doc, func(e bson.E) bool { return e.Key == f.Key }); i >= 0 {
				doc[i] = f
			} else {
				doc = append(doc, f)
			}
		}
		return doc
	}
	without := func(field string) bson.D {
		return slices.DeleteFunc(with(), func(e bson.E) bool { return e.Key == field })
	}
	field := func(key string, v any) bson.D { return with(bson.E{Key: key, Value: v}) }
	date := bson.NewDateTimeFromTime(published)
	tests := []struct {
		name  string
		entry any
		want  File
	}{
		{"sound", with(), File{ID: id, Path: path, Size: 5}},
		{"id as text", field("_id", oid.Hex()), File{ID: textID(t, oid.Hex()), Path: path, Size: 5}},
		{
			"id null",
			field("_id", nil),
			File{Path: path, Size: 5, Problem: "its _id is null, so its record can't be addressed"},
		},
		{
			"id missing",
			without("_id"),
			File{Path: path, Size: 5, Problem: "its _id is missing, so its record can't be addressed"},
		},
		{"id an array", field("_id", bson.A{1}),
			File{Path: path, Size: 5, Problem: "its _id is of type array, so its record can't be addressed"}},
		{"path null", field("path", nil), File{ID: id, Size: 5, Problem: "its path is null, not a text"}},
		{"path missing", without("path"), File{ID: id, Size: 5, Problem: "its path is missing, not a text"}},
		{"path empty", field("path", ""), File{ID: id, Size: 5, Problem: "its path is empty, not a text"}},
		{
			"path a number",
			field("path", 7),
			File{ID: id, Size: 5, Problem: "its path is of type 32-bit integer, not a text"},
		},
		{"size missing", without("size"), File{ID: id, Path: path, Size: UnknownSize}},
		{"size null", field("size", nil), File{ID: id, Path: path, Size: UnknownSize}},
		{"size text", field("size", "5"), File{ID: id, Path: path, Size: UnknownSize}},
		{"size negative", field("size", -3), File{ID: id, Path: path, Size: UnknownSize}},
		{"size int32", field("size", int32(7)), File{ID: id, Path: path, Size: 7}},
		{"size double", field("size", 7.0), File{ID: id, Path: path, Size: 7}},
		{"size decimal", field("size", decimal(t, "7")), File{ID: id, Path: path, Size: 7}},
		{"size NaN", field("size", math.NaN()), File{ID: id, Path: path, Size: UnknownSize}},
		{"sites null", field("sites", nil),
			File{
				ID:      id,
				Path:    path,
				Size:    5,
				Problem: "its sites can't be read: they are null, neither a list nor a dict",
			}},
		{"sites missing", without("sites"),
			File{
				ID:      id,
				Path:    path,
				Size:    5,
				Problem: "its sites can't be read: they are missing, neither a list nor a dict",
			}},
		{"sites a text", field("sites", "gdrive"),
			File{
				ID:      id,
				Path:    path,
				Size:    5,
				Problem: `its sites can't be read: they are "gdrive", neither a list nor a dict`,
			}},
		{
			"sites a list of anything",
			field("sites", bson.A{nil, "gdrive", 7, bson.A{}, bson.D{}, bson.D{{Key: "name", Value: nil}},
				bson.D{{Key: "name", Value: 7}}, bson.D{{Key: "name", Value: gdrive}}}),
			File{ID: id, Path: path, Size: 5, Sites: []SiteRecord{{}, {}, {}, {Name: gdrive}}},
		},
		{
			"sites a dict of anything",
			field("sites", bson.D{{Key: "studio", Value: nil}, {Key: gdrive, Value: "x"}, {Key: "b", Value: bson.D{}}}),
			File{ID: id, Path: path, Size: 5, Sites: []SiteRecord{
				{Name: "studio", Problem: "its sites.studio is null, not a record"},
				{Name: gdrive, Problem: `its sites.gdrive is "x", not a record`},
				{Name: "b"},
			}},
		},
		{"everything wrong", bson.D{{Key: "sites", Value: 7}}, File{Size: UnknownSize,
			Problem: "its _id is missing, so its record can't be addressed; its path is missing, not a text; " +
				"its sites can't be read: they are of type 32-bit integer, neither a list nor a dict"}},
		{"not a document", "x", File{Size: UnknownSize, Problem: `the entry is "x", not a document`}},
		{"null", nil, File{Size: UnknownSize, Problem: "the entry is null, not a document"}},
		{"a long text", strings.Repeat("x", 1000),
			File{Size: UnknownSize, Problem: `the entry is "` + strings.Repeat("x", 40) + `...", not a document`}},
		{"list", field("sites", list(bson.E{Key: "created_dt", Value: date}, bson.E{Key: "id", Value: "remote"})),
			File{ID: id, Path: path, Size: 5, Sites: []SiteRecord{
				{Name: "studio", Created: true, CreatedAt: published},
				{Name: gdrive, Created: true, CreatedAt: published, RemoteID: "remote"},
			}}},
		{
			"dict",
			field(
				"sites",
				dict(
					bson.E{Key: "error", Value: "no"},
					bson.E{Key: "tries", Value: 2},
					bson.E{Key: "last_failed_dt", Value: date},
				),
			),
			File{ID: id, Path: path, Size: 5, Sites: []SiteRecord{
				{Name: "studio", Created: true, CreatedAt: published},
				{Name: gdrive, Error: "no", Tries: 2, LastFailed: published},
			}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Decode(Key{}, marshal(t, representation(tt.entry)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]File{tt.want}, r.Files, decoded); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeSite(t *testing.T) {
	tests := []struct {
		name  string
		field string
		value any
		want  SiteRecord
	}{
		{"created_dt null", "created_dt", nil, SiteRecord{}},
		{"created_dt undefined", "created_dt", bson.Undefined{}, SiteRecord{}},
		{"created_dt a text", "created_dt", "2020-06-18", SiteRecord{Created: true}},
		{"created_dt false", "created_dt", false, SiteRecord{Created: true}},
		{"created_dt a timestamp", "created_dt", bson.Timestamp{T: 1}, SiteRecord{Created: true}},
		{
			"created_dt out of range",
			"created_dt",
			bson.DateTime(math.MaxInt64),
			SiteRecord{Created: true, CreatedAt: bson.DateTime(math.MaxInt64).Time().UTC()},
		},
		{"id false", "id", false, SiteRecord{}},
		{"error null", "error", nil, SiteRecord{}},
		{"last_failed_dt a text", "last_failed_dt", "yesterday", SiteRecord{}},
		{"progress", "progress", "", SiteRecord{}},
		{"int32", "tries", int32(2), SiteRecord{Tries: 2}},
		{"int64", "tries", int64(2), SiteRecord{Tries: 2}},
		{"double", "tries", 2.0, SiteRecord{Tries: 2}},
		{"double with a fraction", "tries", 2.9, SiteRecord{Tries: 2}},
		{"decimal", "tries", decimal(t, "2"), SiteRecord{Tries: 2}},
		{"decimal with an exponent", "tries", decimal(t, "2E+1"), SiteRecord{Tries: 20}},
		{"text", "tries", " 2 ", SiteRecord{Tries: 2}},
		{"null", "tries", nil, SiteRecord{}},
		{"bool", "tries", true, SiteRecord{}},
		{"document", "tries", bson.D{}, SiteRecord{}},
		{"empty text", "tries", "", SiteRecord{}},
		{"text that is no number", "tries", "many", SiteRecord{}},
		{"NaN", "tries", math.NaN(), SiteRecord{}},
		{"decimal NaN", "tries", decimal(t, "NaN"), SiteRecord{}},
		{"negative", "tries", -2, SiteRecord{}},
		{"negative infinity", "tries", math.Inf(-1), SiteRecord{}},
		{"huge", "tries", int64(math.MaxInt64), SiteRecord{Tries: math.MaxInt32 - 1}},
		{"infinity", "tries", math.Inf(1), SiteRecord{Tries: math.MaxInt32 - 1}},
		{"huge decimal", "tries", decimal(t, "9E+6000"), SiteRecord{Tries: math.MaxInt32 - 1}},
		{"huge text", "tries", "99999999999999999999", SiteRecord{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			field := bson.E{Key: tt.field, Value: tt.value}
			tt.want.Name = gdrive
			for form, sites := range map[string]any{"list": list(field), "dict": dict(field)} {
				r, err := Decode(Key{}, marshal(t, representation(entry("{root}/a", sites))))
				if err != nil {
					t.Fatal(err)
				}
				got, _ := r.Files[0].RecordFor(gdrive)
				if diff := cmp.Diff(tt.want, got, decoded); diff != "" {
					t.Errorf("%s (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name string
		doc  any
		want string
	}{
		{"nothing", bson.D{}, `type is missing, not "representation"`},
		{"another type", bson.D{{Key: "type", Value: "version"}}, `type is "version", not "representation"`},
		{"type a number", bson.D{{Key: "type", Value: 7}}, `type is of type 32-bit integer, not "representation"`},
		{"no files", bson.D{{Key: "type", Value: "representation"}}, "files is missing, not an array"},
		{
			"files null",
			bson.D{{Key: "type", Value: "representation"}, {Key: "files", Value: nil}},
			"files is null, not an array",
		},
		{"files a dict", bson.D{{Key: "type", Value: "representation"}, {Key: "files", Value: bson.D{}}},
			"files is of type embedded document, not an array"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(Key{Project: project, ID: ParseID("x")}, marshal(t, tt.doc))
			got := "no error"
			if err != nil {
				got = err.Error()
			}
			if want := "representation Test/x: " + tt.want; got != want {
				t.Errorf("error %q, want %q", got, want)
			}
		})
	}
}

func TestDecodeRoots(t *testing.T) {
	tests := []struct {
		name    string
		context any
		want    Roots
	}{
		{"one", bson.D{{Key: "root", Value: "P:/projects"}}, Roots{"": "P:/projects"}},
		{
			"several",
			bson.D{
				{
					Key:   "root",
					Value: bson.D{{Key: "work", Value: "/w"}, {Key: "publish", Value: nil}, {Key: "x", Value: ""}},
				},
			},
			Roots{"work": "/w"},
		},
		{"nested", bson.D{{Key: "root", Value: bson.D{{Key: "disk1", Value: bson.D{{Key: "work", Value: "/w"},
			{
				Key:   "old",
				Value: bson.D{{Key: "a", Value: "/a"}, {Key: "b", Value: 7}},
			}}}, {Key: "c", Value: "/c"}, {Key: "d", Value: bson.D{}}}}},
			Roots{"disk1][work": "/w", "disk1][old][a": "/a", "c": "/c"}},
		{"null", bson.D{{Key: "root", Value: nil}}, nil},
		{"a list", bson.D{{Key: "root", Value: bson.A{"/w"}}}, nil},
		{"no context", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Decode(Key{}, marshal(t, bson.D{{Key: "type", Value: "representation"}, {Key: "name", Value: 7},
				{Key: "context", Value: tt.context}, {Key: "files", Value: bson.A{}}}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&Representation{Roots: tt.want}, r, decoded); diff != "" {
				t.Errorf("representation (-want +got):\n%s", diff)
			}
		})
	}
}

// Of several records of a site, the one that makes the file pending counts, wherever it stands.
func TestOnDuplicates(t *testing.T) {
	done := bson.D{{Key: "name", Value: gdrive}, {Key: "created_dt", Value: published}}
	first := bson.D{{Key: "name", Value: gdrive}, {Key: "tries", Value: 1}}
	second := bson.D{{Key: "name", Value: gdrive}, {Key: "tries", Value: 2}}
	tests := []struct {
		name  string
		sites bson.A
		want  SiteRecord
	}{
		{"done first", bson.A{done, first, second}, SiteRecord{Name: gdrive, Tries: 1}},
		{"done last", bson.A{second, first, done}, SiteRecord{Name: gdrive, Tries: 2}},
		{"all done", bson.A{done, done}, SiteRecord{Name: gdrive, Created: true, CreatedAt: published}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Decode(Key{}, marshal(t, representation(entry("{root}/a", tt.sites))))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := r.Files[0].RecordFor(gdrive)
			if diff := cmp.Diff(tt.want, got, decoded); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if got, ok := r.Files[0].RecordFor("elsewhere"); ok {
				t.Errorf("a record of a site that has none: %+v", got)
			}
		})
	}
}

func TestID(t *testing.T) {
	oid := bson.NewObjectID()
	tests := []struct {
		name string
		id   any
		text string
	}{
		{"ObjectId", oid, oid.Hex()},
		{"text", "résumé 1", "résumé 1"},
		{"int32", int32(7), `{"$numberInt":"7"}`},
		{"int64", int64(7), `{"$numberLong":"7"}`},
		{"double", 7.5, `{"$numberDouble":"7.5"}`},
		{"document", bson.D{{Key: "a", Value: int32(1)}}, `{"a": {"$numberInt":"1"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := marshal(t, bson.D{{Key: "_id", Value: tt.id}})
			id, ok := idOf(raw.Lookup("_id"))
			if !ok || id.IsZero() {
				t.Fatal("not an id")
			}
			if got := id.String(); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			if again := marshal(t, bson.D{{Key: "_id", Value: id}}); !slices.Equal(again, raw) {
				t.Errorf("written as %v, was %v", again, raw)
			}
			switch tt.id.(type) {
			case bson.ObjectID, string:
				if ParseID(tt.text) != id {
					t.Errorf("typed by a person it is another id")
				}
			}
		})
	}
	if again := marshal(t, bson.D{{Key: "_id", Value: ID{}}}).Lookup("_id"); again.Type != bson.TypeNull {
		t.Errorf("no id is written as %v", again)
	}
}

// Whatever is in the database, reading it does not panic, and what can't be worked with says why. The input is
// extended JSON, in which chance finds more documents; what is none is taken for the bytes of a document.
func FuzzRepresentation(f *testing.F) {
	for _, doc := range []bson.D{
		representation(),
		representation(entry("{root}/a", list()), entry("{root}/b", dict())),
		representation(entry("{root}/a", list(bson.E{Key: "tries", Value: "1"}, bson.E{Key: "error", Value: "no"}))),
		representation(entry("{root}/a",
			dict(bson.E{Key: "tries", Value: decimal(f, "1E+3")}, bson.E{Key: "created_dt", Value: published}))),
		representation(nil, "x", bson.A{bson.A{}}, bson.D{{Key: "_id", Value: bson.D{{Key: "a", Value: math.NaN()}}}}),
		{{Key: "type", Value: "representation"},
			{Key: "context", Value: bson.D{{Key: "root", Value: bson.D{{Key: "work", Value: "P:/"}}}}},
			{Key: "files", Value: bson.A{bson.D{{Key: "path", Value: bson.Symbol("x")},
				{Key: "_id", Value: bson.Binary{Data: []byte("x")}}}}}},
	} {
		raw := marshal(f, doc)
		f.Add([]byte(raw))
		f.Add([]byte(raw.String()))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var parsed bson.D
		if bson.UnmarshalExtJSON(doc, false, &parsed) == nil {
			if raw, err := bson.Marshal(parsed); err == nil { // no key may contain a zero byte
				doc = raw
			}
		}
		key := Key{Project: project, ID: ParseID("x")}
		r, err := Decode(key, doc)
		if err != nil {
			if !strings.Contains(err.Error(), key.String()) {
				t.Errorf("error %q does not name the representation", err)
			}
			return
		}
		entries, err := bson.Raw(doc).Lookup("files").Array().Values()
		if err != nil || len(entries) != len(r.Files) {
			t.Fatalf("%d files of %d entries, %v", len(r.Files), len(entries), err)
		}
		for _, file := range r.Files {
			if file.Problem == "" && (file.ID.IsZero() || file.Path == "") {
				t.Errorf("file without problem, but also without _id or path: %+v", file)
			}
			if file.Size < UnknownSize {
				t.Errorf("size %d", file.Size)
			}
			_ = file.ID.String()
			for _, s := range file.Sites {
				if s.Tries < 0 || s.Tries == math.MaxInt32 || !s.CreatedAt.IsZero() && !s.Created {
					t.Errorf("site %+v", s)
				}
				if on, ok := file.RecordFor(s.Name); !ok || on.Created && !s.Created {
					t.Errorf("site %+v counts, though %+v is pending", on, s)
				}
				if s.LastFailed.Location() != time.UTC {
					t.Errorf("last_failed_dt %v is not in UTC", s.LastFailed)
				}
			}
		}
	})
}
