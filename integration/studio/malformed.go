package studio

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Expected is how sitesync must treat a malformed representation.
type Expected int

const (
	// ExpectReported: a file is wanted on the remote site but cannot be synced. It is logged, and the document not
	// changed.
	ExpectReported Expected = iota
	// ExpectPartial: the same for one file; another one is synced.
	ExpectPartial
	// ExpectIgnored: no file is wanted on the remote site, or the active site has none.
	ExpectIgnored
	// ExpectSynced: it can be synced nevertheless.
	ExpectSynced
	// ExpectFailed: it is valid, but its path or size leads to no file. That costs tries.
	ExpectFailed
)

func (e Expected) String() string {
	return [...]string{"reported", "partly synced", "ignored", "synced", "failed"}[e]
}

// Malformed is a representation that is not as IntegrateNew writes it.
type Malformed struct {
	What     string   // the defect
	Expected Expected // how sitesync must treat it
	ID       string   // as people write it: an ObjectId's digits, a string as it is, else extended JSON
	Doc      bson.Raw // to be inserted
}

// MalformedDocuments makes n malformed representations; another seed makes others. Files that can be synced are those
// of the given representations, which are on the studio's storage.
func (s *Studio) MalformedDocuments(seed uint64, n int, like []*Representation) ([]Malformed, error) {
	m := &docMutator{studio: s, rng: rand.New(rand.NewPCG(seed, 0))}
	var by [ExpectFailed + 1][]variant
	for _, v := range m.variants() {
		by[v.expected] = append(by[v.expected], v)
	}
	// Most are ExpectReported.
	shares := []Expected{ExpectReported, ExpectReported, ExpectIgnored, ExpectReported, ExpectReported, ExpectSynced,
		ExpectReported, ExpectReported, ExpectPartial, ExpectReported, ExpectReported, ExpectReported, ExpectIgnored,
		ExpectReported, ExpectReported, ExpectSynced, ExpectReported, ExpectReported, ExpectSynced, ExpectFailed}
	var out []Malformed
	var made [ExpectFailed + 1]int
	for i := range n {
		expected := shares[i%len(shares)]
		v := by[expected][made[expected]%len(by[expected])]
		made[expected]++
		file, other := like[i%len(like)].Files[0], like[(i+1)%len(like)].Files[0]
		doc := m.document(file, other, v)
		id, text := m.id(i)
		doc["_id"] = id
		raw, err := bson.Marshal(order(doc))
		if err != nil {
			return nil, fmt.Errorf("malformed document, %s: %w", v.what, err)
		}
		out = append(out, Malformed{What: v.what, Expected: expected, ID: text, Doc: raw})
	}
	return out, nil
}

// docMutator makes malformed documents.
type docMutator struct {
	studio *Studio
	rng    *rand.Rand
}

// draft is a document before it gets an order.
type draft = map[string]any

// variant is one defect.
type variant struct {
	what     string
	expected Expected
	make     func(d, entry draft, other File)
}

// value is a BSON value for a place where something else should be.
type value struct {
	what string
	make func() any
}

// values are of every type, and of awkward shapes.
func (m *docMutator) values() []value {
	deep := func(in any, wrap func(any) any) any {
		for range 90 {
			in = wrap(in)
		}
		return in
	}
	decimal, _ := bson.ParseDecimal128("12345.678E+10")
	fixed := map[string]any{
		"null": nil, "true": true, "false": false, "int32": int32(7), "int64": int64(1) << 60, "negative": int64(-5),
		"double": 1.5e9, "NaN": math.NaN(), "infinite": math.Inf(1), "decimal": decimal,
		"empty text": "", "text": "x", "long text": strings.Repeat("long ", 5000), "text that is a number": "7",
		"empty document": bson.D{}, "document": bson.D{{Key: "a", Value: int32(1)}, {Key: "$b.c", Value: nil},
			{Key: "", Value: 2.5}},
		"empty array": bson.A{}, "array": bson.A{"x", nil, int32(1), bson.D{}, bson.A{}},
		"binary": bson.Binary{Subtype: 0x80, Data: []byte{0, 1, 2}}, "undefined": bson.Undefined{},
		"ObjectId": bson.NewObjectID(), "date": bson.DateTime(1592468963000),
		"date far off":    bson.DateTime(math.MaxInt64),
		"pattern":         bson.Regex{Pattern: ".*", Options: "i"},
		"pointer":         bson.DBPointer{DB: "x", Pointer: bson.NewObjectID()},
		"code":            bson.JavaScript("while (true) {}"),
		"code with scope": bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: "x", Value: int32(1)}}},
		"symbol":          bson.Symbol("x"), "timestamp": bson.Timestamp{T: 1, I: 1}, "least key": bson.MinKey{},
		"greatest key":  bson.MaxKey{},
		"deep document": deep(bson.D{{Key: "a", Value: 1}}, func(in any) any { return bson.D{{Key: "a", Value: in}} }),
		"deep array":    deep(bson.A{}, func(in any) any { return bson.A{in} }),
		"huge array":    slices.Repeat(bson.A{int32(9)}, 3000),
	}
	var out []value
	for what, v := range fixed {
		out = append(out, value{what, func() any { return v }})
	}
	slices.SortFunc(out, func(a, b value) int { return strings.Compare(a.what, b.what) })
	return append(out, value{"something", func() any { return bson.D{{Key: "random", Value: m.something(4)}} }})
}

// something is a random value.
func (m *docMutator) something(depth int) any {
	n := m.rng.IntN(4)
	switch kind := m.rng.IntN(9); {
	case kind < 2 && depth > 0:
		list := bson.A{}
		for range n {
			list = append(list, m.something(depth-1))
		}
		return list
	case kind < 4 && depth > 0:
		doc := bson.D{}
		for range n {
			key := []string{"name", "sites", "files", "created_dt", "_id", "path", "root", "x"}[m.rng.IntN(8)]
			doc = append(doc, bson.E{Key: key, Value: m.something(depth - 1)})
		}
		return doc
	case kind == 5:
		return m.rng.Int64()
	case kind == 6:
		return m.rng.NormFloat64()
	case kind == 7:
		return bson.NewDateTimeFromTime(time.Unix(m.rng.Int64N(2e9), 0))
	case kind == 8:
		return nil
	}
	return strings.Repeat("x", n)
}

// variants are all defects.
func (m *docMutator) variants() []variant {
	var out []variant
	add := func(expected Expected, what string, make func(d, entry draft, other File)) {
		out = append(out, variant{what, expected, make})
	}
	// each puts every value, and none, into a place. An expectation below 0 leaves the value out.
	each := func(place string, expected func(what string) Expected, put func(d, entry draft, v any)) {
		if f := expected("missing"); f >= 0 {
			add(f, place+" is missing", func(d, entry draft, _ File) { put(d, entry, missing{}) })
		}
		for _, v := range m.values() {
			if f := expected(v.what); f >= 0 {
				add(f, place+" is "+v.what, func(d, entry draft, _ File) { put(d, entry, v.make()) })
			}
		}
	}
	always := func(f Expected) func(string) Expected { return func(string) Expected { return f } }
	but := func(f, other Expected, what ...string) func(string) Expected {
		return func(w string) Expected {
			if slices.Contains(what, w) {
				return other
			}
			return f
		}
	}
	const leftOut = Expected(-1)
	remote, active := m.studio.options.RemoteSite, m.studio.options.ActiveSite

	// The document.
	for _, field := range []string{"schema", "parent", "name", "data", "dependencies", "extra"} {
		each(field, always(ExpectSynced), func(d, _ draft, v any) { d[field] = v })
	}
	each("type", always(ExpectIgnored), func(d, _ draft, v any) { d["type"] = v })
	each("context", always(ExpectReported), func(d, _ draft, v any) { d["context"] = v })
	// A text is a path, even if it is not one of this machine.
	each("context.root", but(ExpectReported, leftOut, "text", "long text", "text that is a number", "something"),
		func(d, _ draft, v any) {
			d["context"] = draft{"root": v}
		})
	each("files", always(ExpectIgnored), func(d, _ draft, v any) { d["files"] = v })
	add(ExpectReported, "files is a document", func(d, entry draft, _ File) { d["files"] = entry })
	add(ExpectIgnored, "files is a list of lists", func(d, entry draft, _ File) { d["files"] = bson.A{bson.A{entry}} })
	add(ExpectSynced, "a document of 12 MB", func(d, _ draft, _ File) {
		if m.rng.IntN(2) == 0 { // not each time
			d["data"] = draft{"x": strings.Repeat("x", 12<<20)}
		}
	})

	// An entry of files.
	each("the only file", always(ExpectIgnored), func(d, _ draft, v any) { d["files"] = list(v) })
	each("one file of two", but(ExpectPartial, leftOut, "missing"),
		func(d, entry draft, v any) { d["files"] = bson.A{v, entry} })
	each("the file's _id", func(what string) Expected {
		switch what {
		case "missing", "null", "undefined", "array", "empty array", "deep array", "huge array", "pattern", "pointer",
			"code", "code with scope", "least key", "greatest key":
			return ExpectReported
		}
		return ExpectSynced
	}, func(_, entry draft, v any) { entry["_id"] = v })
	each("the file's path", but(ExpectReported, ExpectFailed, "text", "long text", "text that is a number"),
		func(_, entry draft, v any) { entry["path"] = v })
	for _, path := range []string{"{root}", "{root/x", "{root[wo}rk]}x", "{root[]}/x", "{root}/../x",
		"{root}/a/../../x", "/etc/passwd",
		"{root}/a\x00b", "{root}/\xff", "{root}/./", `{root}\..\x`, "{{root}}/x", "{root}/" +
			strings.Repeat("x/", 5000)} {
		add(ExpectFailed, fmt.Sprintf("the file's path is %.20q", path),
			func(_, entry draft, _ File) { entry["path"] = path })
	}
	each("the file's hash", always(ExpectSynced), func(_, entry draft, v any) { entry["hash"] = v })
	each("the file's size", but(ExpectSynced, ExpectFailed, "int32", "int64", "double", "infinite", "decimal"),
		func(_, entry draft, v any) { entry["size"] = v })
	each("an extra field of the file", always(ExpectSynced), func(_, entry draft, v any) { entry["extra"] = v })

	add(ExpectReported, "no file has an _id", func(d, entry draft, other File) {
		delete(entry, "_id")
		second := m.entry(other)
		delete(second, "_id")
		d["files"] = bson.A{entry, second}
	})
	add(ExpectSynced, "two files of one _id", func(d, entry draft, other File) {
		second := m.entry(other)
		second["_id"] = entry["_id"]
		d["files"] = bson.A{entry, second}
	})
	add(ExpectSynced, "a file twice", func(d, entry draft, _ File) { d["files"] = bson.A{entry, entry} })
	add(ExpectReported, "1,000 files without a path", func(d, entry draft, _ File) {
		delete(entry, "path")
		entry["sites"] = bson.A{draft{"name": remote}}
		d["files"] = slices.Repeat(bson.A{entry}, 1000)
	})
	add(ExpectPartial, "a file among 1,000 that are none", func(d, entry draft, _ File) {
		d["files"] = append(slices.Repeat(bson.A{nil}, 1000), entry)
	})

	// Its sites.
	date := bson.NewDateTimeFromTime(time.Unix(1592468963, 0))
	here := draft{"name": active, "created_dt": date}
	each("sites", always(ExpectIgnored), func(_, entry draft, v any) { entry["sites"] = v })
	each("the remote site's record", always(ExpectIgnored),
		func(_, entry draft, v any) { entry["sites"] = append(bson.A{here}, list(v)...) })
	each("a third record", always(ExpectSynced), func(_, entry draft, v any) {
		entry["sites"] = append(append(bson.A{here}, list(v)...), draft{"name": remote})
	})
	// In an array the pending query looks for documents; no reader takes one for a record.
	each("the remote site's record in a dict", func(what string) Expected {
		switch what {
		case "missing", "array", "empty array", "deep array", "huge array":
			return leftOut
		case "empty document", "document", "deep document", "something":
			return ExpectSynced
		}
		return ExpectReported
	}, func(_, entry draft, v any) { entry["sites"] = draft{active: draft{"created_dt": date}, remote: v} })
	each("the active site's record in a dict", always(ExpectIgnored), func(_, entry draft, v any) {
		entry["sites"] = draft{active: v, remote: draft{}}
	})
	add(ExpectIgnored, "records in a list in a list", func(_, entry draft, _ File) {
		entry["sites"] = bson.A{bson.A{here, draft{"name": remote}}}
	})
	for n := 2; n <= 4; n++ {
		add(ExpectSynced, fmt.Sprintf("%d records of the remote site", n), func(_, entry draft, _ File) {
			entry["sites"] = append(bson.A{here}, slices.Repeat(bson.A{draft{"name": remote}}, n)...)
		})
	}
	add(ExpectSynced, "two records of the remote site, one with a date", func(_, entry draft, _ File) {
		entry["sites"] = bson.A{draft{"name": remote, "created_dt": date, "id": "x"}, here, draft{"name": remote}}
	})

	// The records of the sites.
	record := func(field string, expected func(string) Expected) {
		each("the remote site's "+field, expected, func(_, entry draft, v any) {
			entry["sites"] = bson.A{here, draft{"name": remote, field: v}}
		})
	}
	record("name", always(ExpectIgnored))
	record("created_dt", func(what string) Expected {
		switch what {
		case "missing":
			return leftOut
		case "null":
			return ExpectSynced
		case "undefined", "array", "empty array", "deep array", "huge array":
			return leftOut // MongoDB's versions differ in whether that is null
		}
		return ExpectIgnored
	})
	// What is no number counts as none, and what is too much has failed. The pending query sees the 9 in the array,
	// the change stream does not ask for it.
	record("tries", func(what string) Expected {
		switch what {
		case "int32", "int64", "double", "infinite", "decimal", "text that is a number":
			return ExpectIgnored
		case "huge array":
			return leftOut
		}
		return ExpectSynced
	})
	for _, field := range []string{"error", "last_failed_dt", "id", "progress", "$x.y"} {
		record(field, but(ExpectSynced, leftOut, "missing"))
	}
	each("the active site's created_dt", but(ExpectSynced, ExpectIgnored, "missing", "null", "undefined"),
		func(_, entry draft, v any) {
			entry["sites"] = bson.A{draft{"name": active, "created_dt": v}, draft{"name": remote}}
		})
	return out
}

// missing is left out where it stands.
type missing struct{}

// list has the value, unless it is missing.
func list(v any) bson.A {
	if _, none := v.(missing); none {
		return bson.A{}
	}
	return bson.A{v}
}

// document is a representation of the file with something wrong.
func (m *docMutator) document(file, other File, v variant) draft {
	entry := m.entry(file)
	d := draft{
		"schema": "pype:representation-2.0", "type": "representation", "parent": bson.NewObjectID(), "name": "ma",
		"data": draft{}, "dependencies": bson.A{},
		"context": draft{"root": m.studio.options.Root}, "files": bson.A{entry},
	}
	v.make(d, entry, other)
	return d
}

func (m *docMutator) entry(f File) draft {
	return draft{"_id": bson.NewObjectID(), "path": f.Path, "size": f.Size, "hash": "x|1|2", "sites": bson.A{
		draft{"name": m.studio.options.ActiveSite, "created_dt": bson.NewDateTimeFromTime(time.Unix(1592468963, 0))},
		draft{"name": m.studio.options.RemoteSite},
	}}
}

// id is the _id of the i-th document, of any type that MongoDB takes for one, and its text.
func (m *docMutator) id(i int) (any, string) {
	var id any
	switch i {
	case 1:
		id = bson.Null{}
	case 2:
		id = bson.MinKey{}
	case 4:
		id = bson.MaxKey{}
	case 6:
		id = true
	default:
		switch i % 40 {
		case 0:
			text := fmt.Sprintf("id %d 'ä", i)
			return text, text
		case 1:
			id = int32(i)
		case 2:
			id = int64(i)
		case 4:
			id = float64(i) + 0.5
		case 6:
			id = bson.D{{Key: "a", Value: int32(i)}, {Key: "b", Value: bson.A{nil}}}
		case 7:
			id = bson.Binary{Subtype: 4, Data: fmt.Appendf(nil, "%016d", i)}
		case 8:
			id = bson.DateTime(i)
		case 10:
			id = bson.JavaScript(fmt.Sprint("x", i))
		case 11:
			id = bson.Symbol(fmt.Sprint("symbol ", i))
		case 12:
			id = bson.Timestamp{T: 1, I: uint32(i)}
		default:
			oid := bson.NewObjectID()
			return oid, oid.Hex()
		}
	}
	kind, data, err := bson.MarshalValue(id)
	if err != nil {
		panic(err) // all of these marshal
	}
	return id, bson.RawValue{Type: kind, Value: data}.String()
}

// order makes documents of drafts, _id first, and leaves out what is missing.
func order(v any) any {
	switch v := v.(type) {
	case draft:
		var keys []string
		for key := range v {
			if _, none := v[key].(missing); !none {
				keys = append(keys, key)
			}
		}
		slices.SortFunc(keys, func(a, b string) int {
			if (a == "_id") != (b == "_id") {
				return map[bool]int{true: -1, false: 1}[a == "_id"]
			}
			return strings.Compare(a, b)
		})
		doc := bson.D{}
		for _, key := range keys {
			doc = append(doc, bson.E{Key: key, Value: order(v[key])})
		}
		return doc
	case bson.A:
		out := bson.A{}
		for _, e := range v {
			out = append(out, order(e))
		}
		return out
	}
	return v
}
