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

// Roots are paths by name: one without a name, which stands for {root} in a path, or several with names, which stand
// for {root[NAME]}, or none. Roots may be nested: RootName is the name of {root[disk1][work]}.
type Roots map[string]string

// RootName is the name of the root under these keys: the text between the outer brackets of {root[KEY][KEY]}.
func RootName(keys ...string) string { return strings.Join(keys, "][") }

// All are the names and paths, sorted by name.
func (r Roots) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(r)) {
			if !yield(name, r[name]) {
				return
			}
		}
	}
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
