// Package docs_test checks that the documentation is true, as far as a program can.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// texts are all texts in the code of the program, those that are put together from several lines as one.
func texts(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() &&
			(strings.HasPrefix(d.Name(), ".") && name != ".." ||
				slices.Contains([]string{"integration", "deploy", "docs", "sitetest"}, d.Name())) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, found := literal(e)
			if found {
				all = append(all, text)
			}
			return !found
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 1000 {
		t.Fatalf("there are only %d texts", len(all))
	}
	return all
}

// literal is the text of a literal, or of several with + between them. What is no literal in between becomes a \x00.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		left, ok := literal(e.X)
		right, also := literal(e.Y)
		switch {
		case ok && also:
			return left + right, true
		case ok:
			return left + "\x00", true
		case also:
			return "\x00" + right, true
		}
	}
	return "", false
}

var (
	verb = regexp.MustCompile(`%(\[\d+\])?[#+0-9.]*[a-zA-Z]`)
	row  = regexp.MustCompile(`(?m)^\| (.+?) \|`)
	span = regexp.MustCompile("`([^`]+)`")
)

// occurs reports whether the parts of a text come one after the other in one that the program has, or the first of them
// at its end and so on, as errors are put together.
func occurs(text string, in []string) bool {
	parts := strings.Split(text, "...")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return slices.ContainsFunc(in, func(known string) bool {
		for _, part := range parts {
			at := strings.Index(known, part)
			if at < 0 {
				return false
			}
			known = known[at+len(part):]
		}
		return true
	})
}

// Whatever the page quotes in the first column of a table is said by the program, or by the system below it.
func TestTroubleshooting(t *testing.T) {
	page, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	known := texts(t)
	for i, text := range known {
		known[i] = verb.ReplaceAllString(strings.ReplaceAll(text, "%%", "%"), "\x00")
	}
	known = append(known, "the source \x00: open \x00: permission denied") // the second half is the system's
	_, tables, _ := strings.Cut(string(page), "## Settings")
	checked := 0
	for _, r := range row.FindAllStringSubmatch(strings.ReplaceAll(tables, "\r\n", "\n"), -1) {
		for _, s := range span.FindAllStringSubmatch(r[1], -1) {
			checked++
			if !occurs(s[1], known) {
				t.Errorf("nothing in the program says %q", s[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d texts were found on the page", checked)
	}
}
