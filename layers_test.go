package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers say which packages of this module each one may import. Tests may import what they need. docs/architecture.md
// draws it.
var layers = map[string][]string{
	".":             {"avalon", "config", "uploader", "explain", "site/gdrive", "state", "watcher", "web"},
	"config":        {},
	"avalon":        {},
	"watcher":       {"avalon"},
	"uploader":      {"avalon", "config", "site", "watcher"},
	"site":          {},
	"site/sitetest": {"site"},
	"site/gdrive":   {"site"},
	"explain":       {"avalon", "config", "uploader", "site", "state"},
	"state":                 {"site"}, // for the interface that it has to satisfy
	"web":           {},

	"deploy/release": {},

	"integration/registry": {},
	"integration/mongod":   {"integration/registry"},
	"integration/drive":    {},
	"integration/studio":   {}, // not even avalon: a mistake in its model could hide by being on both sides
	"integration/daemon":   {},
	"integration/stage":    {"integration/daemon", "integration/drive", "integration/mongod", "integration/studio"},
	"integration/browser":  {"integration/registry"},
	"integration/pictures": {"integration/browser", "integration/daemon", "integration/drive", "integration/stage", "integration/studio"},
	"integration/bench": {"integration/daemon", "integration/drive", "integration/stage", "integration/studio",
		"avalon", "watcher"}, // polls are measured without all else
	"integration/chaos": {"integration/daemon", "integration/drive", "integration/mongod", "integration/stage", "integration/studio"},
	"integration/demo":  {"integration/daemon", "integration/drive", "integration/stage", "integration/studio"},
}

// owners say which packages of the product may import a foreign one, or what is below it.
var owners = map[string][]string{
	"go.mongodb.org/mongo-driver":                  {".", "avalon", "state"},
	"go.mongodb.org/mongo-driver/v2/mongo/options": {".", "avalon", "config", "state"}, // config checks the connection string
	"google.golang.org/api":                        {"site/gdrive"},
	"golang.org/x/oauth2":                          {"site/gdrive"},
	"github.com/alecthomas/kong":                   {"."},
	"github.com/prometheus":                        {"web"},
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
