package avalon

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// UnknownSize is the size of a file whose entry does not tell it; early Pype dropped it for empty files.
const UnknownSize int64 = -1

// Representation is what sitesync needs to know of one published representation.
type Representation struct {
	Key   Key
	Name  string // "exr", "ma", ...
	Roots Roots  // context.root: where the publisher saw the storage
	Files []File
}

// Roots are the storage roots a path may start with: by the NAME of {root[NAME]}, by A][B for {root[A][B]} of nested
// dicts, and by "" for a plain {root}.
type Roots map[string]string

// File is one entry of a representation's files. A sequence has one a frame.
type File struct {
	ID    ID
	Path  string       // a Python format string: "{root}/..." or "{root[NAME]}/..."
	Size  int64        // bytes, or UnknownSize
	Sites []SiteRecord // in the order of the document; a dict's in the order of its keys

	// Modified is when the file that was published was last modified; zero if unknown. The file at its path may be
	// newer: what is there already is copied over.
	Modified time.Time

	// Problem says what is wrong with an invalid entry ("" if nothing is).
	Problem string

	// As found, to recognise the entry when its outcome is written.
	rawSize, rawHash bson.RawValue
	index            int // among the files
}

// SiteRecord is the record of one file on one site.
type SiteRecord struct {
	Name       string
	Created    bool      // created_dt is there and not null: the file is on this site
	CreatedAt  time.Time // zero if created_dt is not a date
	RemoteID   string    // the site's own id of the file; a Drive file id
	Error      string    // of the last failed try
	Tries      int       // failed tries so far
	Paused     bool      // a person wants it to be left alone; see isPaused
	LastFailed time.Time // zero if unknown
	Problem    string    // what is wrong with an invalid record ("" if nothing is)

	dict     bool          // sites is a dict: {NAME: {...}}
	index    int           // among the sites, if they are a list
	rawTries bson.RawValue // as found
}

// FileKey tells the files of one representation apart. An _id alone does not do: resource files can share
// it, and a person may have replaced the entry under an _id.
type FileKey struct {
	ID   ID
	Path string
}

// Key is the file's key within its representation.
func (f *File) Key() FileKey { return FileKey{ID: f.ID, Path: f.Path} }

// RecordFor returns the file's record of a site. Of several records with one name the first that is not created
// counts, because that one makes the pending query find the document.
func (f *File) RecordFor(site string) (SiteRecord, bool) {
	var found *SiteRecord
	for i := range f.Sites {
		s := &f.Sites[i]
		if s.Name == site && (found == nil || found.Created && !s.Created) {
			found = s
		}
	}
	if found == nil {
		return SiteRecord{}, false
	}
	return *found, true
}

// MalformedError says that a document is not a representation, which no retry changes.
type MalformedError struct{ error }

// Decode reads a document, however malformed. What cannot be read is left zero or, if it makes a file invalid,
// described by its Problem. It fails only if there are no files to speak of, with a [*MalformedError].
func Decode(key Key, doc bson.Raw) (*Representation, error) {
	malformed := func(format string, args ...any) error {
		return &MalformedError{fmt.Errorf("representation %s: "+format, append([]any{key}, args...)...)}
	}
	if err := doc.Validate(); err != nil {
		return nil, malformed("%w", err)
	}
	if t := doc.Lookup("type"); text(t) != "representation" {
		return nil, malformed("type is %s, not \"representation\"", describe(t))
	}
	files, ok := doc.Lookup("files").ArrayOK()
	if !ok {
		return nil, malformed("files is %s, not an array", describe(doc.Lookup("files")))
	}
	entries, err := files.Values()
	if err != nil {
		return nil, malformed("files: %w", err)
	}
	r := &Representation{Key: key, Name: text(doc.Lookup("name")), Roots: newRoots(doc.Lookup("context", "root")),
		Files: make([]File, 0, len(entries))}
	for i, v := range entries {
		f := newFile(v)
		f.index = i
		r.Files = append(r.Files, f)
	}
	return r, nil
}

func newFile(v bson.RawValue) File {
	doc, ok := v.DocumentOK()
	if !ok {
		return File{Size: UnknownSize, Problem: "the entry is " + describe(v) + ", not a document"}
	}
	f := File{Size: UnknownSize, rawSize: doc.Lookup("size"), rawHash: doc.Lookup("hash")}
	if n, ok := integer(f.rawSize); ok && n >= 0 {
		f.Size = n
	}
	f.Modified = modifiedFromHash(text(f.rawHash))
	var problems []string
	id := doc.Lookup("_id")
	if f.ID, ok = idOf(id); !ok {
		problems = append(problems, "its _id is "+describe(id)+", so its record can't be addressed")
	}
	path := doc.Lookup("path")
	if f.Path = text(path); f.Path == "" {
		problems = append(problems, "its path is "+describe(path)+", not a text")
	}
	var err error
	if f.Sites, err = newSites(doc.Lookup("sites")); err != nil {
		problems = append(problems, "its sites can't be read: "+err.Error())
	}
	f.Problem = strings.Join(problems, "; ")
	return f
}

// newSites reads both forms: a list of {name: ...} and a dict {NAME: {...}}.
func newSites(v bson.RawValue) ([]SiteRecord, error) {
	var list []SiteRecord
	if arr, ok := v.ArrayOK(); ok {
		values, err := arr.Values()
		for i, e := range values {
			if rec, ok := e.DocumentOK(); ok {
				s := newSiteRecord(text(rec.Lookup("name")), rec)
				s.index = i
				list = append(list, s)
			}
		}
		return list, err
	}
	doc, ok := v.DocumentOK()
	if !ok {
		return nil, fmt.Errorf("they are %s, neither a list nor a dict", describe(v))
	}
	elems, err := doc.Elements()
	for _, e := range elems {
		rec, ok := e.Value().DocumentOK()
		s := newSiteRecord(e.Key(), rec)
		s.dict = true
		if !ok {
			s.Problem = fmt.Sprintf("its sites.%s is %s, not a record", e.Key(), describe(e.Value()))
		}
		list = append(list, s)
	}
	return list, err
}

func newSiteRecord(name string, rec bson.Raw) SiteRecord {
	created, failed := rec.Lookup("created_dt"), rec.Lookup("tries")
	return SiteRecord{Name: name, Created: !missing(created), CreatedAt: date(created),
		RemoteID: text(rec.Lookup("id")),
		Error:    text(rec.Lookup("error")), Tries: tries(failed), rawTries: failed,
		Paused: isPaused(rec.Lookup("paused")), LastFailed: date(rec.Lookup("last_failed_dt"))}
}

func newRoots(v bson.RawValue) Roots {
	if s := text(v); s != "" {
		return Roots{"": s}
	}
	doc, ok := v.DocumentOK()
	if !ok {
		return nil
	}
	r := Roots{}
	r.add("", doc)
	return r
}

// add adds the roots of a dict and of the dicts in it, which stands under so many keys.
func (r Roots) add(keys string, dict bson.Raw) {
	elems, _ := dict.Elements()
	for _, e := range elems {
		name := e.Key()
		if keys != "" {
			name = keys + "][" + name
		}
		if s := text(e.Value()); s != "" {
			r[name] = s
		} else if inner, ok := e.Value().DocumentOK(); ok {
			r.add(name, inner)
		}
	}
}

// tries counts failed tries. Other writers left numbers of all types, texts and null there; what makes no
// sense counts as untried.
func tries(v bson.RawValue) int {
	n, ok := integer(v)
	if !ok {
		var err error
		if n, err = strconv.ParseInt(strings.TrimSpace(text(v)), 10, 64); err != nil {
			return 0
		}
	}
	return int(min(max(n, 0), math.MaxInt32-1))
}

func integer(v bson.RawValue) (int64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.AsInt64(), true
	case bson.TypeDouble:
		return truncate(v.Double())
	case bson.TypeDecimal128:
		f, _ := strconv.ParseFloat(v.Decimal128().String(), 64) // infinite if it is out of range
		return truncate(f)
	}
	return 0, false
}

// truncate is the integer part of a number, within the range of int64.
func truncate(f float64) (int64, bool) {
	return int64(min(max(f, math.MinInt64/2), math.MaxInt64/2)), !math.IsNaN(f)
}

func text(v bson.RawValue) string {
	s, _ := v.StringValueOK()
	return s
}

func date(v bson.RawValue) time.Time {
	if v.Type != bson.TypeDateTime {
		return time.Time{}
	}
	return v.Time().UTC()
}

func missing(v bson.RawValue) bool {
	return v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}

// describe names what was found where something else should be, without repeating foreign data at length.
func describe(v bson.RawValue) string {
	switch v.Type {
	case 0:
		return "missing"
	case bson.TypeNull:
		return "null"
	case bson.TypeString:
		s := v.StringValue()
		if s == "" {
			return "empty"
		}
		if len(s) > 40 {
			s = s[:40] + "..."
		}
		return strconv.Quote(s)
	}
	return "of type " + v.Type.String()
}

// OpenPype pauses a file by paused: true in its record of a site, and goes on when the field is removed. What else is
// found there counts as Python would read it: these values, and no value, do not pause; any other does. The model, the
// queries, the counts and the change pipeline all go by this list.
var unpausedValues = bson.A{nil, false, 0, ""}

// isPaused reports whether a record with this value of paused is to be left alone.
func isPaused(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeBoolean:
		return v.Boolean()
	case bson.TypeString:
		return v.StringValue() != ""
	case bson.TypeInt32, bson.TypeInt64:
		return v.AsInt64() != 0
	case bson.TypeDouble:
		return v.Double() != 0
	case bson.TypeDecimal128:
		n, _, err := v.Decimal128().BigInt()
		return err != nil || n.Sign() != 0 // no number, or infinite
	}
	return !missing(v)
}

// modifiedFromHash reads from a hash when the file was last modified: "name,ext|1592468963,24|4822" is its name, that
// time in seconds since 1970, and its size, with commas for dots. It is zero if there is no such time.
func modifiedFromHash(hash string) time.Time {
	parts := strings.Split(hash, "|") // a name may have a | in it too
	if len(parts) < 3 {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(strings.Replace(parts[len(parts)-2], ",", ".", 1), 64)
	if err != nil || !(seconds > 0 && seconds < 1<<33) { // to the year 2242; NaN is neither
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}

// RootUse is how pending files name the root that they are in: one for each beginning of their paths and each
// context.root of their representations.
type RootUse struct {
	Path  string // of one of the files
	Roots Roots  // of its representation
	Files int64
}

// RootUses returns by which roots the files of a project that are not on the site To yet are named.
func (s *Store) RootUses(ctx context.Context, project string, r Route) ([]RootUse, error) {
	// By bytes: patterns and characters fail at a path that is not UTF-8.
	field := call("$cond", call("$eq", call("$indexOfBytes", "$f.path", "{root"), 0),
		call("$substrBytes", "$f.path", 0, call("$add", call("$indexOfBytes", "$f.path", "}"), 1)), "")
	filters := bson.A{openInList("files", r.To), openInDict("files", r.To)}
	due := call("$and", isOpen("$r"), isValid("$f", "$r"),
		let("from", recordFor("$f.sites", r.From), isCreated("$$from")))
	pipeline := append(records(r, nil, filters, "context.root"),
		bson.D{{Key: "$match", Value: bson.D{{Key: "$expr", Value: due}}}},
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: bson.D{{Key: "root", Value: "$context.root"}, {Key: "field", Value: field}}},
			{Key: "path", Value: bson.D{{Key: "$first", Value: "$f.path"}}},
			{Key: "files", Value: bson.D{{Key: "$sum", Value: 1}}},
		}}})
	cur, err := s.db.Collection(project).Aggregate(ctx, pipeline)
	groups, err := readAll[bson.Raw](ctx, cur, err)
	if err != nil {
		return nil, s.wrap(err, "read the roots of files of project %s", project)
	}
	var uses []RootUse
	for _, g := range groups {
		u := RootUse{Path: text(g.Lookup("path")), Roots: newRoots(g.Lookup("_id", "root"))}
		u.Files, _ = integer(g.Lookup("files"))
		uses = append(uses, u)
	}
	return uses, nil
}
