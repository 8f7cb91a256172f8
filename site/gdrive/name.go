package gdrive

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// normalize is what a name, or a path, is known by: Drive keeps the composed and the decomposed form of a letter apart
// (macOS writes the latter), but they look the same to people, and are one name to us.
func normalize(name string) string { return norm.NFC.String(name) }

// sameName reports whether two names are one to people.
func sameName(a, b string) bool { return a == b || normalize(a) == normalize(b) }

// named is the condition of a query for what has the name in any form. Drive ignores case there, so that more may be
// found.
func named(name string) string {
	forms := []string{name}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		if other := form.String(name); !slices.Contains(forms, other) {
			forms = append(forms, other)
		}
	}
	for i, form := range forms {
		forms[i] = "name = " + quote(form)
	}
	if len(forms) == 1 {
		return forms[0]
	}
	return "(" + strings.Join(forms, " or ") + ")"
}

// quote writes a text as a string of Drive's query language.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
