package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence   = regexp.MustCompile("(?ms)^( *)```.*?^ *```$")
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

// pages are all pages of the repository, by their path from its root, without what is in code blocks.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "third_party_licenses") {
			return fs.SkipDir // the latter is left by a release
		}
		if d.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel("..", name)
		found[filepath.ToSlash(rel)] = fence.ReplaceAllString(strings.ReplaceAll(string(data), "\r\n", "\n"), "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// anchors are what links to a page can name after #, made of the headings as on GitHub.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		text := link.ReplaceAllStringFunc(h[1], func(l string) string { return l[1:strings.Index(l, "]")] })
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, text)] = true
	}
	return all
}

// Every link to something of the repository leads somewhere, and every page can be found from the first one.
func TestLinks(t *testing.T) {
	all := pages(t)
	linked := map[string]bool{"README.md": true}
	for name, page := range all {
		for _, l := range link.FindAllStringSubmatch(page, -1) {
			u, err := url.Parse(l[1])
			if err != nil {
				t.Errorf("%s: %s: %v", name, l[1], err)
				continue
			}
			if u.Scheme != "" {
				if u.Scheme != "https" {
					t.Errorf("%s: %s is no https", name, l[1])
				}
				continue
			}
			target := name
			if u.Path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), u.Path))
			}
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, l[1])
				continue
			}
			linked[target] = true
			if u.Fragment != "" && !anchors(all[target])[u.Fragment] {
				t.Errorf("%s links to %s, but %s has no such heading", name, l[1], target)
			}
		}
	}
	for name := range all {
		if !linked[name] {
			t.Errorf("no page links to %s", name)
		}
	}
	if len(all) < 10 {
		t.Errorf("there are only %d pages", len(all))
	}
}
