package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	configFile = "config.json"
	gdriveFile = "gdrive.json"
	// maxFile bounds every file read here, in bytes: far more than any real
	// one has, far less than hurts.
	maxFile = 1 << 20
)

type need bool

const (
	optional need = false
	required need = true
)

// A kind is a JSON type, in words.
type kind string

const (
	aString  kind = "a string"
	aNumber  kind = "a number"
	aBool    kind = "a boolean"
	aList    kind = "a list"
	anObject kind = "an object"
	aNull    kind = "null"
)

func kindOf(raw json.RawMessage) kind {
	switch raw[0] {
	case '"':
		return aString
	case '{':
		return anObject
	case '[':
		return aList
	case 't', 'f':
		return aBool
	case 'n':
		return aNull
	}
	return aNumber
}

// An object is one JSON object of a preset file. A null counts as not given.
// The zero object is empty.
type object struct {
	file   string   // config.json or gdrive.json
	path   []string // of keys to this object
	keys   []string // in the file's order, without doubles
	values map[string]json.RawMessage
	report *report
	lines  func(offset int64) int // the line of an offset in this object
	starts map[string]int64       // offsets of the values
}

// readFile reads a preset file; false if there is nothing to go on with.
func readFile(folder, name string, need need, r *report) (object, bool) {
	data, _, err := readBounded(filepath.Join(folder, name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && need == optional:
		return object{}, false
	case errors.Is(err, fs.ErrNotExist):
		r.wrong(name+":", "there is no such file in %s; that must be the folder with the presets of the sync server", folder)
		return object{}, false
	case err != nil:
		r.wrong(name+":", "cannot be read in %s: %s", folder, plain(err))
		return object{}, false
	}
	return parseFile(name, data, r)
}

// parseFile reads the text of a preset file as Pype's loader does, which takes a comma before a closing bracket.
// Whatever else keeps it from being JSON is named with its line and what to do. A byte order mark of UTF-8 is
// tolerated with a warning, since editors on Windows write one.
func parseFile(name string, data []byte, r *report) (object, bool) {
	if without, found := bytes.CutPrefix(data, []byte("\ufeff")); found {
		data = without
		r.odd(name+":", "begins with a byte order mark, which Pype does not read; save it as UTF-8 without one")
	}
	if !utf8.Valid(data) {
		r.wrong(name+":", "%s", notUTF8(data))
		return object{}, false
	}
	data = withoutTrailingCommas(data)
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		at, fix := syntaxHint(data, err)
		line, column := position(data, at)
		r.wrong(name+":", "line %d, column %d: not valid JSON: %s", line, column, fix)
		return object{}, false
	}
	raw := json.RawMessage(bytes.TrimSpace(data))
	if k := kindOf(raw); k != anObject {
		r.wrong(name+":", "is %s but must be an object, { ... }", k)
		return object{}, false
	}
	skipped := int64(bytes.IndexByte(data, '{'))
	lines := func(offset int64) int { return 1 + bytes.Count(data[:skipped+offset], []byte("\n")) }
	return parseObject(raw, name, nil, lines, r), true
}

// parseObject takes an object apart. raw is known to be valid.
func parseObject(raw json.RawMessage, file string, path []string, lines func(int64) int, r *report) object {
	o := object{
		file: file, path: path, report: r, lines: lines,
		values: map[string]json.RawMessage{}, starts: map[string]int64{},
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // {
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		end := dec.InputOffset()
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			break // cannot be: raw is valid
		}
		if o.has(key) {
			r.odd(o.at(key), "is given twice, again in line %d; the last one counts", lines(end))
		} else {
			o.keys = append(o.keys, key)
		}
		o.values[key] = value
		o.starts[key] = dec.InputOffset() - int64(len(value))
	}
	return o
}

// at is how errors name a key of this object, or one further down.
func (o object) at(keys ...string) string {
	parts := slices.Concat(o.path, keys)
	for i, p := range parts {
		if quoted := strconv.Quote(p); quoted != `"`+p+`"` || p == "" || strings.ContainsAny(p, ". :") {
			parts[i] = quoted
		}
	}
	return o.file + ": " + strings.Join(parts, ".")
}

func (o object) has(key string) bool {
	_, ok := o.values[key]
	return ok
}

// scalar is the text of a string, number or boolean of one of the given kinds.
func (o object) scalar(key, want string, kinds ...kind) (value, bool) {
	raw, ok := o.values[key]
	if !ok || kindOf(raw) == aNull {
		return value{}, false
	}
	if k := kindOf(raw); !slices.Contains(kinds, k) {
		o.wrongKind(key, want)
		return value{}, false
	}
	return value{o.at(key), text(raw)}, true
}

// wrongKind shows numbers and booleans; lists and objects may hold anything,
// also credentials pasted to a wrong place.
func (o object) wrongKind(key, want string) {
	raw := o.values[key]
	switch k := kindOf(raw); k {
	case aNumber, aBool:
		o.report.wrong(o.at(key), "is %s (%s) but must be %s", raw, k, want)
	default:
		o.report.wrong(o.at(key), "is %s but must be %s", k, want)
	}
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return s
}

// object is the object under a key; false if there is none.
func (o object) object(key, want string) (object, bool) {
	raw, ok := o.values[key]
	if !ok || kindOf(raw) == aNull {
		return object{}, false
	}
	if kindOf(raw) != anObject {
		o.wrongKind(key, want)
		return object{}, false
	}
	start := o.starts[key]
	lines := func(offset int64) int { return o.lines(start + offset) }
	return parseObject(raw, o.file, append(slices.Clone(o.path), key), lines, o.report), true
}

// texts are those of a list of strings, or of one string.
func (o object) texts(key, want string) []string {
	raw := o.values[key]
	if kindOf(raw) == aNull {
		return nil
	}
	var list []json.RawMessage
	if kindOf(raw) == aList {
		_ = json.Unmarshal(raw, &list) // raw is valid
	} else {
		list = []json.RawMessage{raw}
	}
	var texts []string
	for _, item := range list {
		if kindOf(item) != aString {
			o.report.wrong(o.at(key), "has %s in it but must be %s", kindOf(item), want)
			return nil
		}
		texts = append(texts, text(item))
	}
	return texts
}

// roots reads a string, or {NAME: string}, to any depth. An empty string or object counts as not given.
func (o object) roots(key string, check func(string) (string, error)) Roots {
	raw, ok := o.values[key]
	if !ok || kindOf(raw) == aNull {
		return Roots{}
	}
	if kindOf(raw) == aString {
		path := text(raw)
		if path == "" {
			return Roots{}
		}
		path, err := check(path)
		if err != nil {
			o.report.wrong(o.at(key), "is %q but %s", text(raw), err)
			return Roots{}
		}
		return OneRoot(path)
	}
	dict, ok := o.object(key, `a path, or an object {"NAME": "PATH"}`)
	if !ok {
		return Roots{}
	}
	named := map[string]string{}
	dict.namedRoots(nil, check, named)
	return NamedRoots(named)
}

// namedRoots adds the roots of an object and of those in it, whose keys so far are given, to named.
func (o object) namedRoots(keys []string, check func(string) (string, error), named map[string]string) {
	for _, key := range o.keys {
		if problem := checkRootName(key); problem != "" {
			o.report.wrong(o.at(key), "%s; a root's name is the NAME of {root[NAME]} in the paths", problem)
			continue
		}
		keys := append(slices.Clone(keys), key)
		if kindOf(o.values[key]) == anObject {
			if inner, ok := o.object(key, ""); ok {
				inner.namedRoots(keys, check, named)
			}
			continue
		}
		v, ok := o.scalar(key, "a path", aString)
		if !ok { // null, or reported already
			continue
		}
		path, err := check(v.text)
		if err != nil {
			o.report.wrong(v.where, "is %q but %s", v.text, err)
			continue
		}
		named[RootName(keys...)] = path
	}
}

// warnUnknown tells of keys that nobody reads.
func (o object) warnUnknown(known ...string) {
	for _, key := range o.keys {
		if !slices.Contains(known, key) {
			where := o.file + ":"
			if len(o.path) > 0 {
				where = o.at() + ":"
			}
			o.report.odd(where, "unknown key %q is ignored%s", key, didYouMean(key, known))
		}
	}
}

// readBounded reads a regular file, or what a link to one points at.
func readBounded(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	return data, info, err
}

// plain is an error of the file system without the path, which is named anyway.
func plain(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
