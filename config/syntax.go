package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// withoutTrailingCommas replaces each comma before a closing bracket by a blank, which keeps all offsets. Pype's loader
// accepts such commas.
func withoutTrailingCommas(data []byte) []byte {
	out := bytes.Clone(data)
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case c == ',' && !inString:
			// A comma with nothing before it is an error of another kind.
			before, after := bytes.TrimRight(data[:i], blanks), bytes.TrimLeft(data[i+1:], blanks)
			if len(before) > 0 && !bytes.ContainsAny(before[len(before)-1:], "{[,:") &&
				len(after) > 0 && bytes.ContainsAny(after[:1], "}]") {
				out[i] = ' '
			}
		}
	}
	return out
}

const blanks = " \t\r\n" // of JSON

// notUTF8 says what a file is that is not UTF-8, and what to do about it.
func notUTF8(data []byte) string {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "is UTF-16 text, as some editors on Windows write it, not UTF-8; save it as UTF-8"
	}
	line, _ := position(data, max(0, bytes.IndexRune(data, utf8.RuneError))) // matches any invalid byte
	return fmt.Sprintf("is not UTF-8 text (the first invalid byte is in line %d); save it as UTF-8", line)
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

// syntaxHint says what is wrong at the offset where data stops being JSON, by an error of package json, and how to fix
// it. It shows nothing of the data that could be a secret.
func syntaxHint(data []byte, err error) (at int, hint string) {
	at, early := syntaxOffset(data, err), endsEarly(err)
	if at > 0 && at < len(data) && data[at-1] == '-' && data[at] == '-' { // the first could have begun a number
		at--
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return 0, "the file is empty; write {} for no settings"
	}
	opening, inside := unclosed(data[:at])
	inString := inside && data[opening] == '"'
	rest := data[at:]
	r, _ := utf8.DecodeRune(rest)
	before := bytes.TrimRight(data[:at], blanks)
	switch {
	case early && inString:
		return opening, "the quote that opens here is never closed"
	case early && inside:
		line, _ := position(data, opening)
		return at, fmt.Sprintf("the text ends too early: the %c in line %d is never closed", data[opening], line)
	case early:
		return at, "the text ends too early"
	case inString && strings.Contains(err.Error(), "in string escape code"):
		return at, `a single backslash in a string; write / or \\ for the backslash of a Windows path`
	case inString && r == '\n', inString && r == '\r':
		return at, "the line ends within a string; a closing quote is missing"
	case inString && r == '\t':
		return at, `a tab within a string; write \t or spaces`
	case inString:
		return at, fmt.Sprintf("the control character %U within a string; remove it", r)
	case comment.Match(rest):
		return at, "JSON has no comments; remove this one"
	case strings.ContainsRune("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b", r):
		return at, fmt.Sprintf("the curly quote %c, which a word processor writes; write \"", r)
	case r == '\'' || r == '`':
		return at, fmt.Sprintf("the quote %c; write double quotes, \"", r)
	case r == ':' && !inside && bytes.HasPrefix(bytes.TrimSpace(data), []byte(`"`)): // "key": ...
		return at, "the braces around everything are missing; write { before the first line and } after the last one"
	case len(before) == 0:
	case r == '"' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '{' || r == '[':
		switch {
		case !inside:
			return at, "there is more text after the end, which is the closing brace before it; remove one or the other"
		case bytes.ContainsAny(before[len(before)-1:], ",{[:"):
			return at, literalHint(rest)
		}
		if strings.Contains(err.Error(), "after object key") && !strings.Contains(err.Error(), "key:value") {
			return at, "a colon is missing before it"
		}
		return at, "a comma is missing before it"
	case r == ',':
		return at, "there is a comma too many; remove it"
	case !inside:
		return at, "there is more text after the end; remove it, or a closing brace too many before it"
	case r == '}' || r == ']':
		return at, fmt.Sprintf("%c comes too early: a value, or another closing bracket, is missing before it", r)
	case r == '=':
		return at, `write : between a key and its value`
	}
	return at, err.Error()
}

// comment matches the beginning of a comment in other languages.
var comment = regexp.MustCompile(`^(//|/\*|#|--|;|<!--)`)

var bareWord = regexp.MustCompile(`^[\pL\pN_.]*`)

// literalHint says how to fix a word that is none of JSON's.
func literalHint(text []byte) string {
	switch word := string(bareWord.Find(text)); word {
	case "True", "False":
		return fmt.Sprintf("%s, as Python writes it; write %s", word, strings.ToLower(word))
	case "None":
		return "None, as Python writes it; write null"
	}
	return "what begins here is not a JSON value; text and keys must be in double quotes"
}

// unclosed is the offset of the last quote or bracket that is still open at the end of the text; false if none is.
func unclosed(text []byte) (offset int, found bool) {
	var open []int
	for i := 0; i < len(text); i++ {
		inString := len(open) > 0 && text[open[len(open)-1]] == '"'
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case inString && c == '"', !inString && (c == '}' || c == ']'):
			open = open[:max(0, len(open)-1)]
		case !inString && (c == '"' || c == '{' || c == '['):
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return 0, false
	}
	return open[len(open)-1], true
}
