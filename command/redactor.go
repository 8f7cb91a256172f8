package command

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redactor replaces names: by project-1 and so on.
type redactor struct {
	replacements map[string]string
	count        map[string]int // by kind
}

// add adds a name of a kind, and returns its replacement.
func (r *redactor) add(kind, name string) string {
	if name == "" {
		return ""
	}
	if r.replacements == nil {
		r.replacements, r.count = map[string]string{}, map[string]int{}
	}
	if r.replacements[name] == "" {
		r.count[kind]++
		r.replacements[name] = fmt.Sprintf("%s-%d", kind, r.count[kind])
	}
	return r.replacements[name]
}

// host adds the name of a host, also without its port.
func (r *redactor) host(name string) {
	r.add("host", name)
	if host, _, ok := strings.Cut(name, ":"); ok {
		r.add("host", host)
	}
}

// What looks like a path or a mail address that is not known: in quotation marks, or up to the next space.
var (
	quotedPath = regexp.MustCompile(`"(?:[A-Za-z]:)?[^"]*[/\\][^"]*"`)
	barePath   = regexp.MustCompile(`(^|[\s"'(=])((?:[A-Za-z]:)?[/\\][^\s"'):;,]+)`)
	mail       = regexp.MustCompile(`[\w.+-]+@[\w-]+\.[\w.-]*\w`)
)

// redact replaces all names in a text.
func (r *redactor) redact(text string) string {
	known := make([]string, 0, len(r.replacements))
	for name := range r.replacements {
		known = append(known, name)
	}
	// A path before the project that is named in it.
	slices.SortFunc(known, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	for _, name := range known {
		text = replaceWord(text, name, r.replacements[name])
	}
	text = mail.ReplaceAllStringFunc(text, func(s string) string { return r.add("account", s) })
	text = quotedPath.ReplaceAllStringFunc(text, func(s string) string { return `"` + r.add("path", s) + `"` })
	return barePath.ReplaceAllStringFunc(text, func(s string) string {
		parts := barePath.FindStringSubmatch(s)
		return parts[1] + r.add("path", parts[2])
	})
}

// replaceWord replaces a name where it is not part of a longer word.
func replaceWord(text, name, with string) string {
	isWord := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' }
	first, _ := utf8.DecodeRuneInString(name)
	last, _ := utf8.DecodeLastRuneInString(name)
	var out strings.Builder
	for done := 0; ; {
		at := strings.Index(text[done:], name)
		if at < 0 {
			out.WriteString(text[done:])
			return out.String()
		}
		at += done
		end := at + len(name)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		out.WriteString(text[done:at])
		if isWord(first) && isWord(before) || isWord(last) && isWord(after) {
			out.WriteString(name)
		} else {
			out.WriteString(with)
		}
		done = end
	}
}
