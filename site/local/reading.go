package local

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

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
