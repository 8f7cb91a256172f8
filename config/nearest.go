package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Nearest is the known word that was probably meant; empty if none is similar.
func Nearest(word string, known []string) string {
	plain := strings.NewReplacer("-", "_", " ", "_")
	w := plain.Replace(strings.ToLower(word))
	best, bestDistance := "", 0
	for _, candidate := range known {
		k := plain.Replace(strings.ToLower(candidate))
		d, length := levenshtein.ComputeDistance(w, k), utf8.RuneCountInString(k)
		// A third of the letters may differ: more is another word.
		if d <= max(1, max(utf8.RuneCountInString(w), length)/3) && d < length && (best == "" || d < bestDistance) {
			best, bestDistance = candidate, d
		}
	}
	return best
}

func didYouMean(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// choices lists the known words and the nearest of them.
func choices(what string, known []string, word string) string {
	if len(known) == 0 {
		return what + " none"
	}
	quoted := make([]string, len(known))
	for i, k := range known {
		quoted[i] = fmt.Sprintf("%q", k)
	}
	return what + " " + strings.Join(quoted, ", ") + didYouMean(word, known)
}

// UnknownProject is the error that a database has no project of that name. It suggests the one that was probably meant.
func UnknownProject(name, database string, known []string) error {
	const maxListed = 10
	hint := fmt.Sprintf("but %q", known)
	switch near := Nearest(name, known); {
	case near != "":
		return fmt.Errorf("database %s has no project %q; did you mean %q?", database, name, near)
	case len(known) == 0:
		hint = "nor any other; is it the right one? (--db)"
	case len(known) > maxListed:
		hint = fmt.Sprintf("but %d others, such as %q", len(known), known[0])
	}
	return fmt.Errorf("database %s has no project %q, %s", database, name, hint)
}
