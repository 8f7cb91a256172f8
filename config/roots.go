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

// Roots is either one root without a name, which stands for {root} in a path, or several with names, which stand for
// {root[NAME]}, or empty. Roots may be nested: RootName is the name of {root[disk1][work]}. It is immutable.
type Roots struct {
	paths map[string]string // by name; the one without a name is alone
	links []string
}

// OneRoot is a single root without a name.
func OneRoot(path string) Roots {
	if path == "" {
		return Roots{}
	}
	return Roots{paths: map[string]string{"": path}}
}

// NamedRoots are roots by name.
func NamedRoots(paths map[string]string) Roots { return Roots{paths: maps.Clone(paths)} }

// WithLinks returns the same roots with folders outside of them that symbolic links in them may lead to.
func (r Roots) WithLinks(folders []string) Roots {
	r.links = slices.Clone(folders)
	return r
}

// Links are the folders of WithLinks.
func (r Roots) Links() []string { return r.links }

// Lookup is the path of a root: of {root} for the empty name, otherwise of {root[name]}.
func (r Roots) Lookup(name string) (string, bool) {
	path, ok := r.paths[name]
	return path, ok
}

// RootName is the name of the root under these keys: the text between the outer brackets of {root[KEY][KEY]}.
func RootName(keys ...string) string { return strings.Join(keys, "][") }

// IsZero is whether there is no root.
func (r Roots) IsZero() bool { return len(r.paths) == 0 }

// All are the names and paths, sorted by name. A single root's name is empty.
func (r Roots) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(r.paths)) {
			if !yield(name, r.paths[name]) {
				return
			}
		}
	}
}

// Equal is whether both have the same roots and links.
func (r Roots) Equal(other Roots) bool {
	return maps.Equal(r.paths, other.paths) && slices.Equal(r.links, other.links)
}

// String is the path, or NAME=PATH;NAME=PATH as SITESYNC_LOCAL_ROOT takes it, with [KEY][KEY] for a nested name.
func (r Roots) String() string {
	var parts []string
	for name, path := range r.All() {
		if strings.Contains(name, "][") {
			name = "[" + name + "]"
		}
		if name != "" {
			path = name + "=" + path
		}
		parts = append(parts, path)
	}
	return strings.Join(parts, ";")
}

// checkLocalRoot returns the path in its shortest form. It need not exist, as storage may be mounted later.
func checkLocalRoot(path string) (string, error) {
	switch {
	case !filepath.IsAbs(path):
		return "", errors.New(`must be an absolute path of this machine, e.g. "/mnt/studio"`)
	case strings.ContainsFunc(path, unicode.IsControl):
		return "", errors.New("must not contain a tab, a line break or another control character; " +
			`write / or \\ for the backslash of a Windows path`)
	case runtime.GOOS != "windows" && strings.HasPrefix(path, "//"):
		return "", errors.New("must be where that share is mounted on this machine, e.g. \"/mnt/studio\", " +
			"not its address in the network")
	}
	return filepath.Clean(path), nil
}

const myDrive = "My Drive"

// checkRemoteRoot returns the path without a slash at its end.
func checkRemoteRoot(path string) (string, error) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(path, "/"), "/")
	bad := func(part string) bool { return part == "" || part == "." || part == ".." }
	if !ok || strings.ContainsRune(path, 0) || slices.ContainsFunc(strings.Split(rest, "/"), bad) {
		return "", fmt.Errorf(`must be "/%s", "/%[1]s/FOLDER" or "/NAME OF A SHARED DRIVE/FOLDER", `+
			`without empty, "." or ".." parts`, myDrive)
	}
	return "/" + rest, nil
}
