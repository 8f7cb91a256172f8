package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// withoutTrailingCommas replaces each comma that only a closing bracket follows by a blank, so that every offset stays
// what it is. Pype's loader takes such commas too.
func withoutTrailingCommas(data []byte) []byte {
	var out []byte
	for i, c := range outsideStrings(data) {
		if c != ',' {
			continue
		}
		rest := bytes.TrimLeft(data[i+1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '}' && rest[0] != ']' {
			continue
		}
		// A comma with nothing before it is a slip of another kind.
		before := bytes.TrimRight(data[:i], " \t\r\n")
		if len(before) == 0 || bytes.IndexByte([]byte("{[,:"), before[len(before)-1]) >= 0 {
			continue
		}
		if out == nil {
			out = bytes.Clone(data)
		}
		out[i] = ' '
	}
	if out == nil {
		return data
	}
	return out
}

// outsideStrings yields the bytes that are in no string, each with its offset.
func outsideStrings(data []byte) func(yield func(int, byte) bool) {
	return func(yield func(int, byte) bool) {
		inString := false
		for i := 0; i < len(data); i++ {
			switch c := data[i]; {
			case inString && c == '\\':
				i++
			case c == '"':
				inString = !inString
			case !inString && !yield(i, c):
				return
			}
		}
	}
}

// notUTF8 says what a file is that is not UTF-8, and what to do about it.
func notUTF8(data []byte) string {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "is UTF-16 text, as some editors on Windows write it, not UTF-8; save it as UTF-8"
	}
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return fmt.Sprintf("is not UTF-8 text (the first other byte is in line %d); save it as UTF-8", 1+bytes.Count(data[:at], []byte("\n")))
}

// position is the line and the column, both from 1, of an offset.
func position(data []byte, at int) (line, column int) {
	before := data[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// syntaxOffset is where data stops being JSON, by an error of package json.
func syntaxOffset(data []byte, err error) int {
	var syntax *json.SyntaxError
	// Offset counts the bytes read, the wrong one included, if there is one.
	if errors.As(err, &syntax) && syntax.Offset <= int64(len(data)) && !endsEarly(err) {
		return max(0, int(syntax.Offset)-1)
	}
	return len(data)
}

func endsEarly(err error) bool { return strings.Contains(err.Error(), "unexpected end") }

// syntaxHint says what is wrong where data stops being JSON, by an error of package json, and what to do about it. It
// repeats nothing of the data that could be a secret. The offset it returns is where that is.
func syntaxHint(data []byte, err error) (at int, hint string) {
	at, early := syntaxOffset(data, err), endsEarly(err)
	if at > 0 && at < len(data) && data[at-1] == '-' && data[at] == '-' { // the first could have begun a number
		at--
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return 0, "the file is empty; write {} for no settings"
	}
	if open := unclosedString(data, at); open >= 0 && early {
		return open, "the quote that opens here is never closed"
	}
	if early {
		return at, fmt.Sprintf("the text ends too early: a closing bracket is missing, of the %s", unclosedBracket(data))
	}
	rest := data[at:]
	r, _ := utf8.DecodeRune(rest)
	before := bytes.TrimRight(data[:at], " \t\r\n")
	inString := unclosedString(data, at) >= 0
	switch {
	case inString && strings.Contains(err.Error(), "in string escape code"):
		return at, `a single backslash in a string; write / or \\ for the backslash of a Windows path`
	case inString && r == '\n', inString && r == '\r':
		return at, "the line ends within a string; a closing quote is missing"
	case inString && r == '\t':
		return at, `a tab within a string; write \t, or blanks`
	case inString:
		return at, fmt.Sprintf("the control character %U within a string; remove it", r)
	case isComment(rest):
		return at, "JSON has no comments; remove this one"
	case strings.ContainsRune("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b", r):
		return at, fmt.Sprintf("the curly quote %c, which a word processor writes; write \"", r)
	case r == '\'' || r == '`':
		return at, fmt.Sprintf("the quote %c; write double quotes, \"", r)
	case lacksBraces(data, at):
		return at, "the braces around everything are missing; write { before the first line and } after the last one"
	case len(before) == 0:
	case r == '"' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '{' || r == '[':
		switch last := before[len(before)-1]; {
		case depth(before) == 0:
			return at, "there is more text after the end, which is the closing brace before it; remove one or the other"
		case last == ',' || last == '{' || last == '[' || last == ':':
			return at, literalHint(rest)
		}
		if strings.Contains(err.Error(), "after object key") && !strings.Contains(err.Error(), "key:value") {
			return at, "a colon is missing before it"
		}
		return at, "a comma is missing before it"
	case r == ',':
		return at, "a comma too many; remove it"
	case depth(before) == 0:
		return at, "there is more text after the end; remove it, or a closing brace too many before it"
	case r == '}' || r == ']':
		return at, fmt.Sprintf("%c comes too early: a value, or another closing bracket, is missing before it", r)
	case r == '=':
		return at, `write : between a key and its value`
	}
	return at, err.Error()
}

// isComment reports whether a comment begins here, as people know them from other languages.
func isComment(text []byte) bool {
	for _, mark := range []string{"//", "/*", "#", "--", ";", "<!--"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// lacksBraces reports whether the text goes on where it should have ended, as an object without its braces would:
// "key": ...
func lacksBraces(data []byte, at int) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte(`"`)) && data[at] == ':' && depth(data[:at]) == 0
}

// literalHint says what is wrong with a word that is none of JSON's.
func literalHint(text []byte) string {
	end := bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' })
	if end < 0 {
		end = len(text)
	}
	switch word := string(text[:min(end, 20)]); word {
	case "True", "False":
		return fmt.Sprintf("%s, as Python writes it; write %s", word, strings.ToLower(word))
	case "None":
		return "None, as Python writes it; write null"
	}
	return "what begins here is no value of JSON; a text, and each key, must stand in double quotes"
}

// unclosedString is the offset of the quote that opens the string which at is in; -1 if that is in none.
func unclosedString(data []byte, at int) int {
	open := -1
	for i := 0; i < at && i < len(data); i++ {
		switch {
		case open >= 0 && data[i] == '\\':
			i++
		case data[i] == '"' && open >= 0:
			open = -1
		case data[i] == '"':
			open = i
		}
	}
	return open
}

// unclosedBracket describes the innermost bracket that is never closed.
func unclosedBracket(data []byte) string {
	var open []int
	for i, c := range outsideStrings(data) {
		switch c {
		case '{', '[':
			open = append(open, i)
		case '}', ']':
			open = open[:max(0, len(open)-1)]
		}
	}
	if len(open) == 0 {
		return "file"
	}
	last := open[len(open)-1]
	line, _ := position(data, last)
	return fmt.Sprintf("%c in line %d", data[last], line)
}

// depth is how many brackets are open at the end of the text.
func depth(text []byte) (n int) {
	for _, c := range outsideStrings(text) {
		switch c {
		case '{', '[':
			n++
		case '}', ']':
			n--
		}
	}
	return n
}
