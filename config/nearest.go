package config

import (
	"fmt"
	"strings"
)

// Nearest is the word that was probably meant; empty if none is near.
func Nearest(word string, known []string) string {
	plain := strings.NewReplacer("-", "_", " ", "_")
	w := []rune(plain.Replace(strings.ToLower(word)))
	best, bestDistance := "", 0
	for _, candidate := range known {
		k := []rune(plain.Replace(strings.ToLower(candidate)))
		d := distance(w, k)
		// A third of the letters may differ: more is another word.
		if d <= max(1, max(len(w), len(k))/3) && d < len(k) && (best == "" || d < bestDistance) {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or exchange (Levenshtein).
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			exchange := diagonal
			if x != y {
				exchange++
			}
			diagonal = row[j+1]
			row[j+1] = min(exchange, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func didYouMean(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// choices lists what there is, and the nearest of it.
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

// either is "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// UnknownProject says that a database has no project of that name, and which one was probably meant.
func UnknownProject(name, database string, known []string) error {
	const most = 10
	switch near := Nearest(name, known); {
	case near != "":
		return fmt.Errorf("database %s has no project %q; did you mean %q?", database, name, near)
	case len(known) == 0:
		return fmt.Errorf("database %s has no project %q, nor any other; is it the right one? (--db)", database, name)
	case len(known) > most:
		return fmt.Errorf("database %s has no project %q, but %d others, such as %q", database, name, len(known), known[0])
	}
	return fmt.Errorf("database %s has no project %q, but %q", database, name, known)
}
