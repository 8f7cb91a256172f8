package site

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Reading reads the path of a document below its root: with slashes, without what has no meaning. Its error is the
// file's own, such as of a path that leaves the root.
type Reading func(rel string) (string, error)

// UsualReading is how a path is read below which there is no file: backslashes are separators.
var UsualReading Reading = reads(slashed)

// Readings returns how a path below a root may be read, so that the first by which there is a file can be taken: first
// the literal way. A backslash is a separator to a publisher on Windows, and part of a name to one on Linux who has
// such a file; backslashes says whether a name can have one. A path is a Python format string, in which {{ stands for
// {, but Pype writes names as they are. Of most paths there is one reading.
func Readings(rel string, backslashes bool) (all []Reading) {
	var texts []string
	for _, way := range []struct {
		read    func(string) string
		literal bool
	}{
		{func(p string) string { return p }, true}, {slashed, false}, {unescape.Replace, true},
		{func(p string) string { return slashed(unescape.Replace(p)) }, false},
	} {
		if text := way.read(rel); (backslashes || !way.literal) && !slices.Contains(texts, text) {
			all, texts = append(all, reads(way.read)), append(texts, text)
		}
	}
	return all
}

func reads(way func(string) string) Reading {
	return func(p string) (string, error) { return relative(way(p)) }
}

func slashed(p string) string { return strings.ReplaceAll(p, `\`, "/") }

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
