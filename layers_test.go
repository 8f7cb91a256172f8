package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// layers say which packages of this module each one may import. Tests may import what they need. docs/architecture.md
// draws it.
var layers = map[string][]string{
	".": {"command"},
	"command": {"avalon", "config", "daemon", "duration", "explain", "mongodb", "site", "site/registry", "state",
		"uploader"},
	"daemon": {"avalon", "config", "explain", "mongodb", "site", "site/pacer", "site/registry", "state", "uploader",
		"watcher", "web"},
	"config":         {"duration"},
	"duration":       {},
	"cond":           {},
	"mongodb":        {"config"},
	"avalon":         {},
	"watcher":        {"avalon", "cond"},
	"uploader":       {"avalon", "cond", "config", "site", "watcher"},
	"site":           {"duration"},
	"site/sitetest":  {"site"},
	"site/pacer":     {},
	"site/transport": {"site"},
	"site/gdrive":    {"cond", "site", "site/pacer", "site/transport"},
	"site/local":     {"cond", "site"},
	"site/registry":  {"config", "site", "site/gdrive", "site/local", "site/pacer"},
	"state":          {"avalon", "site"}, // for the route of a lease, and the journal of a site
	"explain":        {"avalon", "config", "duration", "site", "state", "uploader"},
	"web":            {"avalon", "config", "duration", "explain", "site", "state", "uploader", "watcher"},

	"integration/registry": {},
	"integration/certs":    {},
	"integration/mongod":   {"integration/certs", "integration/registry"},
	"integration/drive":    {"integration/certs"},
	"integration/studio":   {}, // not even avalon: a mistake in its model could hide by being on both sides
	"integration/process":  {},
	"integration/testenv":  {"integration/process", "integration/drive", "integration/mongod", "integration/studio"},
	"integration/browser":  {"integration/registry"},
	"integration/screenshots": {"integration/browser", "integration/process", "integration/drive",
		"integration/testenv", "integration/studio"},
	"integration/bench": {"integration/process", "integration/drive", "integration/testenv", "integration/studio",
		"avalon", "watcher"}, // polls are measured without all else
	"integration/chaos": {"integration/process", "integration/drive", "integration/mongod", "integration/testenv",
		"integration/studio"},
	"integration/demo": {"integration/process", "integration/drive", "integration/testenv", "integration/studio"},
}

// owners say which packages of the product may import a foreign one, or what is below it.
var owners = map[string][]string{
	"go.mongodb.org/mongo-driver": {"avalon", "command", "daemon", "mongodb", "state"},
	// config checks the connection string
	"go.mongodb.org/mongo-driver/v2/mongo/options": {"avalon", "command", "config", "mongodb", "state"},
	"google.golang.org/api":                        {"site/gdrive"},
	"golang.org/x/oauth2":                          {"site/gdrive"},
	"github.com/alecthomas/kong":                   {"command"},
	"github.com/prometheus":                        {"web"},
}

// The root package has main.go alone, which is a page.
func TestRootIsMain(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if !slices.Equal(files, []string{"main.go"}) {
		t.Errorf("the root package has %v; a command belongs into command/, all else into a package of its own", files)
	}
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 120 {
		t.Errorf("main.go has %d lines, 120 are a page", lines)
	}
}

// The architecture names every package of the product.
func TestArchitectureNamesPackages(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		name := "| `" + pkg + "` |"
		if pkg != "." && !strings.HasPrefix(pkg, "integration/") && !strings.Contains(string(page), name) {
			t.Errorf("docs/architecture.md does not say what package %s is", pkg)
		}
	}
}

// maxColumns is how long a line of Go may be; a tab counts as four.
const maxColumns = 120

func TestLinesAreShort(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := os.ReadFile(name)
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), "\r\n")
			if n := utf8.RuneCountInString(line); n > maxColumns {
				t.Errorf("%s:%d has %d columns", name, number, n)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// maxLevels is how many packages of the product may stand on each other, main included.
const maxLevels = 9

// The packages of the product import each other only downward, over few levels.
func TestLevels(t *testing.T) {
	levels := map[string]int{}
	var level func(pkg string, above []string) int
	level = func(pkg string, above []string) int {
		if slices.Contains(above, pkg) {
			t.Fatalf("packages import each other in a circle: %v", append(above, pkg))
		}
		if levels[pkg] == 0 {
			lowest := 0
			for _, below := range layers[pkg] {
				lowest = max(lowest, level(below, append(above, pkg)))
			}
			levels[pkg] = lowest + 1
		}
		return levels[pkg]
	}
	if n := level(".", nil); n > maxLevels {
		t.Errorf("the program stands on %d levels, %d are few: %v", n, maxLevels, levels)
	}
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]int{}
	for _, line := range regexp.MustCompile(`(?m)^    (\d)  (.*)$`).FindAllStringSubmatch(string(page), -1) {
		for _, pkg := range strings.Split(line[2], ", ") {
			drawn[strings.Replace(pkg, "main", ".", 1)], _ = strconv.Atoi(line[1])
		}
	}
	for pkg := range layers {
		if !strings.HasPrefix(pkg, "integration/") && drawn[pkg] != level(pkg, nil) {
			t.Errorf("docs/architecture.md draws package %s on level %d, it is on %d", pkg, drawn[pkg], level(pkg, nil))
		}
	}
}

func TestLayers(t *testing.T) {
	const module = "sitesync"
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(name))
		allowed, known := layers[pkg]
		if !known && !seen[pkg] {
			t.Errorf("package %s has no layer: say in this test and in docs/architecture.md what it may import", pkg)
		}
		seen[pkg] = true
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			own, internal := strings.CutPrefix(imported, module+"/")
			switch {
			case internal && known && !slices.Contains(allowed, own):
				t.Errorf("%s imports %s, which its layer may not", name, own)
			case !internal && !strings.HasPrefix(pkg, "integration/") && !mayImport(pkg, imported):
				t.Errorf("%s imports %s, which belongs to another package", name, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mayImport goes by the longest entry of owners that fits.
func mayImport(pkg, imported string) bool {
	for p := imported; p != "."; p = path.Dir(p) {
		if who, owned := owners[p]; owned {
			return slices.Contains(who, pkg)
		}
	}
	return true
}
