package local

import (
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"sitesync/site"
)

// backslashes says whether a name can have a backslash in it, which separates folders elsewhere.
const backslashes = runtime.GOOS != "windows"

// readingOf returns how a path below the root is to be read: in the first way by which something is found.
func readingOf(root, rel string) site.Reading {
	all := site.Readings(rel, backslashes)
	if len(all) == 1 {
		return all[0]
	}
	for _, read := range all {
		if p, err := read(rel); err == nil && exists(filepath.Join(root, p)) {
			return read
		}
	}
	return site.UsualReading
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
