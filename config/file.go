package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	configFile = "config.json"
	gdriveFile = "gdrive.json"
	// maxFile bounds every file read here, in bytes; real ones are far smaller.
	maxFile = 1 << 20
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

var kinds = map[byte]kind{'"': aString, '{': anObject, '[': aList, 't': aBool, 'f': aBool, 'n': aNull}

func kindOf(raw json.RawMessage) kind { return cmp.Or(kinds[raw[0]], aNumber) }

// An object is one JSON object of a preset file. A null counts as not set. The zero object is empty.
type object struct {
	*problems
	file   string   // config.json or gdrive.json
	path   []string // of keys to this object
	keys   []string // in the file's order, without duplicates
	values map[string]json.RawMessage
	data   []byte         // the whole file
	starts map[string]int // offsets of the values in data
}

// readFile reads a preset file; false if it is not there or not usable.
func readFile(folder, name string, required bool, p *problems) (object, bool) {
	data, _, err := readBounded(filepath.Join(folder, name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && required:
		p.addError(name+":", "there is no such file in %s; that must be the folder with the presets of the sync server",
			folder)
		fallthrough
	case errors.Is(err, fs.ErrNotExist):
		return object{}, false
	case err != nil:
		p.addError(name+":", "cannot be read in %s: %s", folder, withoutPath(err))
		return object{}, false
	}
	return parseFile(name, data, p)
}

// parseFile parses a preset file as Pype's loader does, which accepts trailing commas. Any other syntax error is
// reported with its line and the fix. A byte order mark of UTF-8, which editors on Windows write, is accepted with a
// warning.
func parseFile(name string, data []byte, p *problems) (object, bool) {
	if without, found := bytes.CutPrefix(data, []byte("\ufeff")); found {
		data = without
		p.addWarning(name+":", "begins with a byte order mark, which Pype does not read; save it as UTF-8 without one")
	}
	if !utf8.Valid(data) {
		p.addError(name+":", "%s", notUTF8(data))
		return object{}, false
	}
	data = withoutTrailingCommas(data)
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		at, hint := syntaxHint(data, err)
		line, column := position(data, at)
		p.addError(name+":", "line %d, column %d: not valid JSON: %s", line, column, hint)
		return object{}, false
	}
	if k := kindOf(bytes.TrimSpace(data)); k != anObject {
		p.addError(name+":", "is %s but must be an object, { ... }", k)
		return object{}, false
	}
	return object{problems: p, file: name, data: data}.parse(bytes.IndexByte(data, '{')), true
}

// parse reads the keys and values of the object that starts at an offset of data, which is valid JSON.
func (o object) parse(start int) object {
	o.values, o.starts = map[string]json.RawMessage{}, map[string]int{}
	dec := json.NewDecoder(bytes.NewReader(o.data[start:]))
	_, _ = dec.Token() // {
	for dec.More() {
		token, _ := dec.Token()
		key := token.(string)
		line, _ := position(o.data, start+int(dec.InputOffset()))
		var value json.RawMessage
		_ = dec.Decode(&value)
		if _, twice := o.values[key]; twice {
			o.addWarning(o.at(key), "is given twice, again in line %d; the last one counts", line)
		} else {
			o.keys = append(o.keys, key)
		}
		o.values[key] = value
		o.starts[key] = start + int(dec.InputOffset()) - len(value)
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

// get is the value of a key that is set.
func (o object) get(key string) (json.RawMessage, bool) {
	raw, ok := o.values[key]
	return raw, ok && kindOf(raw) != aNull
}

// scalar is the text of a string, number or boolean of one of the given kinds.
func (o object) scalar(key, want string, kinds ...kind) (value, bool) {
	raw, ok := o.get(key)
	if !ok {
		return value{}, false
	}
	if !slices.Contains(kinds, kindOf(raw)) {
		o.wrongKind(key, want)
		return value{}, false
	}
	return value{o.at(key), text(raw)}, true
}

// wrongKind shows numbers and booleans; lists and objects may contain misplaced credentials.
func (o object) wrongKind(key, want string) {
	raw := o.values[key]
	switch k := kindOf(raw); k {
	case aNumber, aBool:
		o.addError(o.at(key), "is %s (%s) but must be %s", raw, k, want)
	default:
		o.addError(o.at(key), "is %s but must be %s", k, want)
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
	raw, ok := o.get(key)
	if !ok {
		return object{}, false
	}
	if kindOf(raw) != anObject {
		o.wrongKind(key, want)
		return object{}, false
	}
	inner := object{problems: o.problems, file: o.file, path: append(slices.Clone(o.path), key), data: o.data}
	return inner.parse(o.starts[key]), true
}

// texts are those of a list of strings, or of one string.
func (o object) texts(key, want string) []string {
	raw, ok := o.get(key)
	if !ok {
		return nil
	}
	list := []json.RawMessage{raw}
	if kindOf(raw) == aList {
		_ = json.Unmarshal(raw, &list) // raw is valid
	}
	var texts []string
	for _, item := range list {
		if kindOf(item) != aString {
			o.addError(o.at(key), "has %s in it but must be %s", kindOf(item), want)
			return nil
		}
		texts = append(texts, text(item))
	}
	return texts
}

// roots reads a string, or {NAME: string} nested to any depth. An empty string or object counts as not set.
func (o object) roots(key string, check func(string) (string, error)) Roots {
	roots := Roots{}
	if raw, ok := o.get(key); ok && string(raw) != `""` {
		o.addRoots(key, nil, roots, check)
	}
	return roots
}

// addRoots adds the root under key to roots, or the roots of the object there. names are the keys that name it.
func (o object) addRoots(key string, names []string, roots Roots, check func(string) (string, error)) {
	want := "a path"
	if names == nil {
		want = `a path, or an object {"NAME": "PATH"}`
	}
	if kindOf(o.values[key]) != anObject {
		v, ok := o.scalar(key, want, aString)
		if !ok {
			return
		}
		path, err := check(v.text)
		if err != nil {
			o.addError(v.origin, "is %q but %s", v.text, err)
			return
		}
		roots[RootName(names...)] = path
		return
	}
	inner, _ := o.object(key, want)
	for _, name := range inner.keys {
		const means = "a root's name is the NAME of {root[NAME]} in the paths"
		switch {
		case name == "":
			o.addError(inner.at(name), "has an empty name; "+means)
		case strings.ContainsAny(name, "[]{}"):
			o.addError(inner.at(name), "has a bracket or brace in its name; "+means)
		default:
			inner.addRoots(name, append(slices.Clone(names), name), roots, check)
		}
	}
}

// warnUnknown warns of keys that have no meaning here.
func (o object) warnUnknown(known ...string) {
	for _, key := range o.keys {
		if !slices.Contains(known, key) {
			o.addWarning(strings.TrimSuffix(o.at(), ": ")+":", "unknown key %q is ignored%s", key,
				didYouMean(key, known))
		}
	}
}

// readNamed reads a file that a setting names; false if it cannot, which is reported. name is the file in errors, such
// as `--web-token-file names the file /run/token, which`. If it is a secret, it warns if others can read it too.
func (p *problems) readNamed(name, path string, secret bool) ([]byte, fs.FileInfo, bool) {
	data, info, err := readBounded(path)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrPermission) {
			hint = fmt.Sprintf("; sitesync runs as user %d", os.Getuid())
		}
		p.addError(name, "cannot be read: %s%s", withoutPath(err), hint)
	} else if secret {
		p.warnFileMode(name, info)
	}
	return data, info, err == nil
}

// warnFileMode warns if other users can read a file with a secret. We can read another user's file only through its
// group or an access list, whose bits are the group's, so the group is allowed there: Kubernetes (fsGroup) and systemd
// (LoadCredential) pass secrets that way. The mode is that of the file itself, as Kubernetes mounts links.
func (p *problems) warnFileMode(name string, info fs.FileInfo) {
	others := fs.FileMode(0o077)
	if !ownedByUs(info) {
		others = 0o007
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&others != 0 {
		p.addWarning(name, "others can read (mode %04o); run chmod 600 on it "+
			"(Kubernetes: set defaultMode: 0440 on the secret's volume, and fsGroup)", mode)
	}
}

// readBounded reads a regular file, or what a link to one points at.
func readBounded(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("is not a file")
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("is larger than %d bytes", maxFile)
	}
	data, err := os.ReadFile(path)
	return data, info, err
}

// withoutPath is an error of the file system without the path, which the message names already.
func withoutPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
