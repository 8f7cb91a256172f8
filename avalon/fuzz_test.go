package avalon

import (
	"math"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// documentFrom is the BSON itself, or what its extended JSON says.
func documentFrom(data []byte) bson.Raw {
	var parsed bson.D
	if bson.UnmarshalExtJSON(data, false, &parsed) == nil {
		if raw, err := bson.Marshal(parsed); err == nil { // no key may contain a zero byte
			return raw
		}
	}
	return data
}

// Whatever stands in a document, what is written of it can be sent, and says only what was meant: nothing that was
// read is taken for an expression.
func FuzzOutcomeUpdate(f *testing.F) {
	for _, doc := range []bson.D{
		representation(entry("{root}/a", list()), entry("{root}/b", dict())),
		representation(entry("$$ROOT", list(bson.E{Key: "tries", Value: "$tries"}))),
		representation(bson.D{{Key: "_id", Value: bson.D{{Key: "$a", Value: math.NaN()}}},
			{Key: "path", Value: "{root}/a"},
			{Key: "size", Value: bson.D{{Key: "$literal", Value: 1}}},
			{Key: "hash", Value: bson.Regex{Pattern: "$"}}, {Key: "sites", Value: list()}}),
	} {
		f.Add([]byte(marshal(f, doc)), "")
		f.Add([]byte(marshal(f, doc)), "$$f went wrong")
	}
	f.Fuzz(func(t *testing.T, data []byte, message string) {
		doc := documentFrom(data)
		r, err := Decode(Key{Project: project, ID: ParseID("x")}, doc)
		if err != nil {
			return
		}
		var outcomes []Outcome
		for _, file := range r.Files {
			if file.Problem == "" {
				outcomes = append(outcomes, Outcome{File: file, RemoteID: message, Error: message, At: time.Unix(0, 0)})
			}
		}
		cases, ids := outcomeCases("gdrive", outcomes)
		raw, err := bson.Marshal(
			bson.D{{Key: "u", Value: outcomeUpdate(cases, ids)}, {Key: "q", Value: allApplyExpr(cases, ids)}},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := bson.Raw(raw).Validate(); err != nil {
			t.Fatal(err)
		}
		// Every text that begins with a $ and is not in a literal is one of ours.
		var walk func(v bson.RawValue)
		walk = func(v bson.RawValue) {
			var elems []bson.RawElement
			switch v.Type {
			case bson.TypeEmbeddedDocument:
				elems, err = v.Document().Elements()
			case bson.TypeArray:
				elems, err = bson.Raw(v.Array()).Elements()
			case bson.TypeString:
				s := v.StringValue()
				name, ours := s, s == "$files"
				for _, variable := range []string{"$$f", "$$s", "$$e"} {
					if rest, ok := strings.CutPrefix(s, variable); ok {
						name = rest
						ours = rest == "" || rest[0] == '.'
					}
				}
				if strings.HasPrefix(s, "$") && (!ours || strings.ContainsAny(name, " \x00")) {
					t.Fatalf("%q is read as an expression", s)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range elems {
				if e.Key() != "$literal" {
					walk(e.Value())
				}
			}
		}
		walk(bson.Raw(raw).Lookup("u"))
	})
}
