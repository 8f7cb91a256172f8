package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What people write into the preset files is read as Pype reads it, or refused with the line and the fix.
func TestSyntax(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       string // of the error, after "config.json: "; "" if it is read
	}{
		{"as it should be", `{"retry_cnt": 3}`, ""},
		{"comma at the end of an object", "{\n  \"retry_cnt\": 3,\n}", ""},
		{"commas at the ends of all", "{\"a\": {\"b\": [1, 2 ,\n],\r\n\t},}", ""},
		{"brackets and commas in strings", `{"a": ",}", "b": "\",]", "c": "{[",}`, ""},
		{"only a comma", `{,}`, "line 1, column 2: not valid JSON: there is a comma too many; remove it"},
		{"two commas", "{\"a\": 1,,}", "line 1, column 9: not valid JSON: there is a comma too many; remove it"},
		{"two commas between", "{\"a\": 1,\n, \"b\": 2}",
			"line 2, column 1: not valid JSON: there is a comma too many; remove it"},
		{"comma after the end", "{\"a\": 1},\n",
			"line 1, column 9: not valid JSON: there is a comma too many; remove it"},
		{"comment of C", "{\n  // three\n}", "line 2, column 3: not valid JSON: JSON has no comments; remove this one"},
		{"comment of C++ after a value", "{\n  \"retry_cnt\": 3, /* as at home */\n}",
			"line 2, column 19: not valid JSON: JSON has no comments; remove this one"},
		{"comment of Python", "{\n\n  \"retry_cnt\": 3 # three\n}",
			"line 3, column 18: not valid JSON: JSON has no comments; remove this one"},
		{"comment of SQL", "-- the presets\n{}",
			"line 1, column 1: not valid JSON: JSON has no comments; remove this one"},
		{"comment behind a comma at the end", "{\"a\": 1, -- one\n}",
			"line 1, column 10: not valid JSON: JSON has no comments; remove this one"},
		{"comment at the end", "{}\n// the end",
			"line 2, column 1: not valid JSON: JSON has no comments; remove this one"},
		{"no outer braces", "\"retry_cnt\": 3,\n\"loop_delay\": 60", "line 1, column 12: not valid JSON: " +
			"the braces around everything are missing; write { before the first line and } after the last one"},
		{"no closing brace", "{\"a\": {\n\"b\": 1}\n",
			"line 3, column 1: not valid JSON: the text ends too early: the { in line 1 is never closed"},
		{"no opening brace", "\"a\": 1}", "line 1, column 4: not valid JSON: " +
			"the braces around everything are missing; write { before the first line and } after the last one"},
		{"a brace too many", "{\"a\": 1}}", "line 1, column 9: not valid JSON: there is more text after the end; " +
			"remove it, or a closing brace too many before it"},
		{"two objects", "{\"a\": 1}\n{}", "line 2, column 1: not valid JSON: there is more text after the end, which " +
			"is the closing brace before it; remove one or the other"},
		{"wrong bracket", `{"a": [1, 2}`, "line 1, column 12: not valid JSON: } comes too early: a value, or another " +
			"closing bracket, is missing before it"},
		{"curly quotes", "{\n\u201cretry_cnt\u201d: 3}",
			"line 2, column 1: not valid JSON: the curly quote \u201c, which a word processor writes; write \""},
		{"German quotes", "{\"a\": \u201eb\u201c}",
			"line 1, column 7: not valid JSON: the curly quote \u201e, which a word processor writes; write \""},
		{"single quotes", `{'a': 1}`, `line 1, column 2: not valid JSON: the quote '; write double quotes, "`},
		{"no quotes", `{a: 1}`, "line 1, column 2: not valid JSON: what begins here is not a JSON value; text and " +
			"keys must be in double quotes"},
		{"Python", `{"a": True}`, "line 1, column 7: not valid JSON: True, as Python writes it; write true"},
		{"nothing of Python", `{"a": None}`, "line 1, column 7: not valid JSON: None, as Python writes it; write null"},
		{"no comma", `{"é": 1 "b": 2}`, "line 1, column 9: not valid JSON: a comma is missing before it"},
		{"no colon", `{"a" 1}`, "line 1, column 6: not valid JSON: a colon is missing before it"},
		{"equals sign", `{"a" = 1}`, "line 1, column 6: not valid JSON: write : between a key and its value"},
		{"no value", `{"a": }`, "line 1, column 7: not valid JSON: } comes too early: a value, or another closing " +
			"bracket, is missing before it"},
		{"backslash", `{"a": "C:\secret"}`, `line 1, column 11: not valid JSON: a single backslash in a string; ` +
			`write / or \\ for the backslash of a Windows path`},
		{"line within a string", "{\"a\": \"b\n}",
			"line 1, column 9: not valid JSON: the line ends within a string; a closing quote is missing"},
		{"tab within a string", "{\"a\": \"b\tc\"}",
			`line 1, column 9: not valid JSON: a tab within a string; write \t or spaces`},
		{"NUL within a string", "{\"a\": \"b\x00c\"}",
			"line 1, column 9: not valid JSON: the control character U+0000 within a string; remove it"},
		{"open string", "{\n\"a\": \"b}", "line 2, column 6: not valid JSON: the quote that opens here is never " +
			"closed"},
		{"nothing", " \n", "line 1, column 1: not valid JSON: the file is empty; write {} for no settings"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "is UTF-16 text, as some editors on Windows write it, not UTF-8; save it as " +
			"UTF-8"},
		{"Latin-1", "{\n\"a\": \"\xe9\"}", "is not UTF-8 text (the first invalid byte is in line 2); save it as UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &problems{}
			_, ok := parseFile(configFile, []byte(test.text), r)
			var got string
			for _, err := range r.errs {
				got += strings.TrimPrefix(err.Error(), "config.json: ")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if ok != (test.want == "") {
				t.Errorf("read: %t", ok)
			}
		})
	}
}

func TestTrailingCommasLoseNothing(t *testing.T) {
	r := &problems{}
	o, ok := parseFile(configFile, []byte("{\"a\": \"x,}\", \"b\": {\"c\": 1,},\n\"a\": \"y\",}"), r)
	if !ok || !slices.Equal(o.keys, []string{"a", "b"}) || text(o.values["a"]) != "y" {
		t.Errorf("read %v, %s", o.keys, o.values["a"])
	}
	want := []string{"config.json: a is given twice, again in line 2; the last one counts"}
	if diff := cmp.Diff(want, r.warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func FuzzSyntax(f *testing.F) {
	for _, text := range []string{"", "{}", `{"a": [1,],}`, "{\"a\": \"b\n", `"a": 1`, "{//", "{\"a\" 1", `{"a":"\`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &problems{}
		if _, ok := parseFile(configFile, data, r); ok == (len(r.errs) > 0) {
			t.Errorf("read: %t, errors %v", ok, r.errs)
		}
		for _, err := range r.errs {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("not one line: %q", err)
			}
		}
	})
}
