package local

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sitesync/site"
)

// readingOf returns how a path below the root is to be read: in the way by which something is found, first the literal
// one. A backslash is a separator to a publisher on Windows, and part of a name to one on Linux who has such a file. A
// path is a Python format string, in which {{ stands for {, but Pype writes names as they are.
func readingOf(root, rel string) site.Reading {
	slashed := func(p string) string { return strings.ReplaceAll(p, `\`, "/") }
	ways := []func(string) string{
		func(p string) string { return p },
		slashed,
		unescape.Replace,
		func(p string) string { return slashed(unescape.Replace(p)) },
	}
	read := func(way func(string) string) site.Reading {
		return func(p string) (string, error) { return relative(way(p)) }
	}
	if !isAmbiguous(rel) {
		return relative
	}
	for i, way := range ways {
		if p := way(rel); (runtime.GOOS != "windows" || i%2 == 1) && (i == 0 || p != ways[i-1](rel)) &&
			exists(filepath.Join(root, p)) {
			return read(way)
		}
	}
	return read(slashed)
}

// isAmbiguous reports whether the text of a path can be read in several ways.
func isAmbiguous(rel string) bool { return strings.Contains(rel, `\`) || unescape.Replace(rel) != rel }

// unescape undoes the doubling of braces in a format string.
var unescape = strings.NewReplacer("{{", "{", "}}", "}")

// relative is the path below the root with slashes. It refuses what would leave the root.
func relative(rel string) (string, error) {
	var parts []string
	for _, part := range strings.Split(rel, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("path %q leaves its root by \"..\"", rel)
		default:
			if strings.ContainsRune(part, 0) {
				return "", fmt.Errorf("path %q has a NUL in it", rel)
			}
			if !utf8.ValidString(part) { // two such names could become one on the other site
				return "", fmt.Errorf("path %q is not UTF-8", rel)
			}
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("path %q is the root itself", rel)
	}
	return strings.Join(parts, "/"), nil
}

// A letter with an accent can be written as one character (NFC) or as two (NFD). macOS hands on names in the second
// way, most others in the first, so a document and the storage may have the same name in different forms.

// Bounds of the search for a name in another form, which is made each time that a missing source is checked.
const (
	mostSpellings = 200    // questions to the file system
	mostListed    = 20_000 // entries of folders
)

// spelled is the source under the name that the storage has for it: the document's own if that is there, else the same
// name in another normal form. Names without such letters cost nothing.
func (l location) spelled() location {
	forms := []string{norm.NFC.String(l.rel), norm.NFD.String(l.rel)}
	if forms[0] == l.rel && forms[1] == l.rel || exists(l.String()) {
		return l
	}
	for _, rel := range forms {
		if found := (location{l.root, rel, l.links}); exists(found.String()) {
			return found
		}
	}
	search := spellings{asks: mostSpellings, entries: mostListed}
	if rel, ok := search.below(l.root, strings.Split(l.rel, "/")); ok {
		l.rel = rel
	}
	return l
}

// spellings looks for a path whose components may be there in any form.
type spellings struct{ asks, entries int } // that are left

func (s *spellings) below(dir string, names []string) (rel string, ok bool) {
	if len(names) == 0 {
		return "", true
	}
	tried := []string{}
	try := func(name string) bool {
		if slices.Contains(tried, name) || s.asks <= 0 {
			return false
		}
		s.asks--
		tried = append(tried, name)
		at := filepath.Join(dir, name)
		if !exists(at) {
			return false
		}
		rest, found := s.below(at, names[1:])
		if found {
			rel = path.Join(name, rest)
		}
		return found
	}
	name := names[0]
	for _, form := range []string{name, norm.NFC.String(name), norm.NFD.String(name)} {
		if try(form) {
			return rel, true
		}
	}
	if len(tried) == 1 {
		return "", false // it has one form only
	}
	return rel, s.list(dir, norm.NFC.String(name), try)
}

// list tries the names of a folder that are the same in NFC.
func (s *spellings) list(dir, name string, try func(string) bool) bool {
	folder, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer folder.Close()
	for s.entries > 0 {
		found, err := folder.Readdirnames(min(s.entries, 1000))
		s.entries -= len(found)
		for _, other := range found {
			if norm.NFC.String(other) == name && try(other) {
				return true
			}
		}
		if err != nil || len(found) == 0 {
			return false
		}
	}
	return false
}
