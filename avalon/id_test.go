package avalon

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Whatever type an _id has, what a person types, or copies from the log, finds its document.
func TestFind(t *testing.T) {
	s, coll := newStore(t)
	oid := bson.NewObjectID()
	for typed, id := range map[string]any{
		oid.Hex():                    oid,
		"6b050e7f95b3069bbeff69ac":   "6b050e7f95b3069bbeff69ac", // a text that looks like an ObjectId
		"text":                       "text",
		"with/slash":                 "with/slash",
		"7":                          7,
		"-8":                         int64(-8),
		"9.5":                        9.5,
		"10":                         "10",
		"9223372036854775807":        int64(1<<63 - 1),
		"true":                       true,
		`{"a": {"$numberInt": "1"}}`: bson.D{{Key: "a", Value: int32(1)}},
	} {
		doc := append(bson.D{{Key: "_id", Value: id}}, representation(entry("{root}/a", list()))...)
		if _, err := coll.InsertOne(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		want, _ := documentIDOf(marshal(t, doc).Lookup("_id"))
		for _, text := range []string{typed, want.String()} {
			key, rep, err := s.Find(t.Context(), project, text)
			if err != nil || key.ID != want || rep.Key != key {
				t.Errorf("%s: %v, %v, want %s", text, key, err, want)
			}
		}
	}
	if _, err := coll.InsertOne(t.Context(),
		bson.D{{Key: "_id", Value: int32(10)}, {Key: "type", Value: "version"}}); err != nil {
		t.Fatal(err)
	}
	if key, _, err := s.Find(t.Context(), project, "10"); err != nil || key.ID.kind != bson.TypeString {
		t.Errorf("got %v, %v, want the representation", key, err)
	}
	if _, _, err := s.Find(t.Context(), project, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
