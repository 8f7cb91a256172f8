package config

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"
)

// Roots is either one root without a name, which stands for {root} in a path,
// or several with names, which stand for {root[NAME]}, or nothing at all. Roots
// may be nested: the name of {root[disk1][work]} is that of [RootName].
// It cannot be changed.
type Roots struct {
	one   string
	named map[string]string
	links []string
}

// WithLinks are the same roots, in which symbolic links may lead to these folders too.
func (r Roots) WithLinks(folders []string) Roots {
	r.links = slices.Clone(folders)
	return r
}

// Links are folders outside of the roots that symbolic links in them may lead to.
func (r Roots) Links() []string { return r.links }

// OneRoot is a single root without a name.
func OneRoot(path string) Roots { return Roots{one: path} }

// NamedRoots are roots by name.
func NamedRoots(paths map[string]string) Roots { return Roots{named: maps.Clone(paths)} }

// Lookup is the path of a root: of {root} for the empty name, else of
// {root[name]}. A single root has no name, so it answers to none.
func (r Roots) Lookup(name string) (string, bool) {
	if name == "" {
		return r.one, r.one != ""
	}
	path, ok := r.named[name]
	return path, ok
}

// RootName is the name of the root under these keys: what stands between the outer brackets of {root[KEY][KEY]}.
func RootName(keys ...string) string { return strings.Join(keys, "][") }

// rootNameOf reads a root's name as people write it for a flag: NAME, or [KEY][KEY] for a nested one.
func rootNameOf(text string) string {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]")
	}
	return text
}

// printedRootName is the opposite of rootNameOf.
func printedRootName(name string) string {
	if strings.Contains(name, "][") {
		return "[" + name + "]"
	}
	return name
}

// checkRootName says what is wrong with the name of a root; "" if nothing is.
func checkRootName(name string) string {
	switch {
	case name == "":
		return "has an empty name"
	case strings.ContainsAny(name, "[]{}"):
		return "has a bracket or brace in its name"
	}
	return ""
}

// Named is whether the roots have names.
func (r Roots) Named() bool { return len(r.named) > 0 }

// IsZero is whether there is no root.
func (r Roots) IsZero() bool { return r.one == "" && len(r.named) == 0 }

// All are the names and paths, sorted by name. A single root's name is empty.
func (r Roots) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if r.one != "" && !yield("", r.one) {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(r.named)) {
			if !yield(name, r.named[name]) {
				return
			}
		}
	}
}

// Equal is whether both have the same roots.
func (r Roots) Equal(other Roots) bool {
	return r.one == other.one && maps.Equal(r.named, other.named) && slices.Equal(r.links, other.links)
}

// String is the path, or NAME=PATH;NAME=PATH as SITESYNC_LOCAL_ROOT takes it.
func (r Roots) String() string {
	var parts []string
	for name, path := range r.All() {
		if name != "" {
			path = printedRootName(name) + "=" + path
		}
		parts = append(parts, path)
	}
	return strings.Join(parts, ";")
}

// checkLocalRoot returns the path in its shortest form. That it exists is not
// checked: storage may be mounted later.
func checkLocalRoot(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New(`must be an absolute path of this machine, e.g. "/mnt/studio"`)
	}
	if strings.ContainsRune(path, 0) {
		return "", errors.New("must not contain a NUL byte")
	}
	if i := strings.IndexFunc(path, unicode.IsControl); i >= 0 {
		return "", errors.New(`must not contain a tab, a line break or another control character; write / or \\ for the backslash of a Windows path`)
	}
	if runtime.GOOS != "windows" && strings.HasPrefix(path, "//") {
		return "", errors.New(`must be where that share is mounted on this machine, e.g. "/mnt/studio", and not its address in the network`)
	}
	return filepath.Clean(path), nil
}

const myDrive = "My Drive"

// checkRemoteRoot returns the path without a slash at its end.
func checkRemoteRoot(path string) (string, error) {
	want := fmt.Errorf(`must be "/%s", "/%s/FOLDER" or "/NAME OF A SHARED DRIVE/FOLDER", without empty, "." or ".." parts`, myDrive, myDrive)
	rest, ok := strings.CutPrefix(strings.TrimSuffix(path, "/"), "/")
	if !ok || strings.ContainsRune(path, 0) {
		return "", want
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." || part == ".." {
			return "", want
		}
	}
	return "/" + rest, nil
}
