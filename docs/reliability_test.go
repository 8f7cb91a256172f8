package docs_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// Each test that the page names is there, in the package that it names.
func TestReliability(t *testing.T) {
	there := map[string][]string{} // by package
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != ".." {
			return err
		}
		if strings.HasSuffix(name, "_test.go") {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			folder := filepath.Base(filepath.Dir(name))
			for _, f := range testFunc.FindAllStringSubmatch(string(data), -1) {
				there[folder] = append(there[folder], f[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(?:([a-z]+)\\.)?((?:Test|Fuzz)\\w*)(\\.\\.\\.)?`")
	checked := 0
	for _, n := range named.FindAllStringSubmatch(string(page), -1) {
		checked++
		if !slices.ContainsFunc(there[cmp.Or(n[1], "integration")], func(test string) bool {
			return test == n[2] || n[3] != "" && strings.HasPrefix(test, n[2])
		}) {
			t.Errorf("there is no test %s", strings.Trim(n[0], "`"))
		}
	}
	if checked < 100 {
		t.Errorf("only %d tests were found on the page", checked)
	}
}
