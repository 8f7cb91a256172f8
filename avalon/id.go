package avalon

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ID is the _id of a document or of a file entry. Pype writes ObjectIds; other tools are known to write
// strings and numbers, so an ID keeps whatever it was read as. It is comparable, and its zero value means
// "no id".
type ID struct {
	kind bson.Type
	raw  string
}

// NewID returns the ID for an ObjectId.
func NewID(oid bson.ObjectID) ID { return ID{kind: bson.TypeObjectID, raw: string(oid[:])} }

// ParseID reads an ID from what a person typed: 24 hex digits mean an ObjectId, anything else is taken as
// a string id.
func ParseID(s string) ID {
	if oid, err := bson.ObjectIDFromHex(s); err == nil {
		return NewID(oid)
	}
	_, data, _ := bson.MarshalValue(s) // a string always marshals
	return ID{kind: bson.TypeString, raw: string(data)}
}

// ParseIDs reads what may be meant by an id that a person typed, the likeliest first: as ParseID, as the text that it
// is, as the number, or as extended JSON, which is how an ID of another type is printed.
func ParseIDs(s string) []ID {
	ids := []ID{ParseID(s)}
	add := func(v any) {
		if t, data, err := bson.MarshalValue(v); err == nil {
			if id := (ID{kind: t, raw: string(data)}); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	add(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		add(n) // MongoDB finds a number of any type
	} else if f, err := strconv.ParseFloat(s, 64); err == nil {
		add(f)
	}
	var typed struct{ V bson.RawValue }
	if err := bson.UnmarshalExtJSON([]byte(`{"v":`+s+`}`), false, &typed); err == nil {
		if id, ok := idOf(typed.V); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Find reads the representation that is meant by an id that a person typed. The error is [ErrNotFound] if there is
// none; the key is that of the document all the same if it cannot be read.
func (s *Store) Find(ctx context.Context, project, typed string) (Key, *Representation, error) {
	ids := ParseIDs(typed)
	cur, err := s.db.Collection(project).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "type", Value: 1}}))
	docs, err := readAll[bson.Raw](ctx, cur, err)
	if err != nil {
		return Key{}, nil, s.wrap(err, "read representation %s of project %s", typed, project)
	}
	if len(docs) == 0 {
		return Key{Project: project, ID: ids[0]}, nil, ErrNotFound
	}
	// One that is a representation is meant, rather than another document.
	i := slices.IndexFunc(docs, func(doc bson.Raw) bool { return text(doc.Lookup("type")) == "representation" })
	id, _ := documentIDOf(docs[max(i, 0)].Lookup("_id"))
	key := Key{Project: project, ID: id}
	rep, err := s.Representation(ctx, key)
	return key, rep, err
}

// idOf reads an id that can be searched for by equality. Arrays, patterns and null cannot.
func idOf(v bson.RawValue) (ID, bool) {
	switch v.Type {
	case bson.TypeObjectID, bson.TypeString, bson.TypeInt32, bson.TypeInt64, bson.TypeDouble,
		bson.TypeBinary, bson.TypeEmbeddedDocument, bson.TypeDateTime, bson.TypeBoolean,
		bson.TypeTimestamp, bson.TypeDecimal128, bson.TypeSymbol:
		return ID{kind: v.Type, raw: string(v.Value)}, true
	}
	return ID{}, false
}

// documentIDOf reads the _id of a document, which can be anything that MongoDB takes for one: null too.
func documentIDOf(v bson.RawValue) (ID, bool) {
	return ID{kind: v.Type, raw: string(v.Value)}, v.Type != 0
}

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id.kind == 0 }

// String is the id as a person would type it: the hex digits of an ObjectId, a string as it is, anything
// else as extended JSON.
func (id ID) String() string {
	v := bson.RawValue{Type: id.kind, Value: []byte(id.raw)}
	switch id.kind {
	case 0:
		return ""
	case bson.TypeObjectID:
		return hex.EncodeToString(v.Value)
	case bson.TypeString:
		return v.StringValue()
	}
	return v.String()
}

// Time is when an ObjectId was made, which for a document is when it was published. It is zero for other ids.
func (id ID) Time() time.Time {
	if id.kind != bson.TypeObjectID {
		return time.Time{}
	}
	return bson.ObjectID([]byte(id.raw)).Timestamp().UTC()
}

// MarshalBSONValue writes the id with the type that it was read with.
func (id ID) MarshalBSONValue() (typ byte, data []byte, err error) {
	if id.IsZero() {
		return byte(bson.TypeNull), nil, nil
	}
	return byte(id.kind), []byte(id.raw), nil
}

// UnmarshalBSONValue reads what MarshalBSONValue has written.
func (id *ID) UnmarshalBSONValue(typ byte, data []byte) error {
	*id = ID{kind: bson.Type(typ), raw: string(data)}
	if id.kind == bson.TypeNull {
		*id = ID{}
	}
	return nil
}

// Key names one representation in the whole database.
type Key struct {
	Project string // the collection
	ID      ID
}

// String is PROJECT/ID, for logs.
func (k Key) String() string { return k.Project + "/" + k.ID.String() }
