package local

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"sitesync/site"
)

// FuzzOpen opens whatever path in a storage with links of all kinds. What it reads is from inside of the root.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside, filepath.Join(root, "d"), filepath.Join(root, "d", "e")} {
		must(f, os.Mkdir(d, 0o700))
	}
	for _, file := range []string{"a", "d/b", "d/e/c", `back\slash`} {
		must(f, os.WriteFile(filepath.Join(root, file), []byte("inside"), 0o600))
	}
	for _, file := range []string{"a", "secret"} {
		must(f, os.WriteFile(filepath.Join(outside, file), []byte("secret"), 0o600))
	}
	for link, target := range map[string]string{
		"in": "d", "up": "..", "self": "self", "out": outside, "relout": "../outside",
		"d/secret": "../../outside/secret",
		"absin":    filepath.Join(root, "d"), "viaout": "../outside/../root/d", "d/root": "/", "d/e/back": "../..",
		"there": filepath.Join(root, "relout"),
	} {
		must(f, os.Symlink(target, filepath.Join(root, link)))
	}
	must(f, makeFIFO(filepath.Join(root, "fifo")))
	for _, p := range []string{"/a", "/in/b", "/up/outside/a", "/out/secret", "/relout/a", "/d/secret", "/absin/e/c",
		"/viaout/b", "/d/e/back/a", "/there/a", "/self", "/fifo", `\in\b`, `/back\slash`, "/in/../../outside/a"} {
		f.Add(p)
	}
	source := New(Options{})
	f.Fuzz(func(t *testing.T, path string) {
		file, err := source.Open(t.Context(), site.Location{Root: root, Rel: path}, site.OpenOptions{Size: -1})
		if err != nil {
			return
		}
		defer file.Close()
		content, err := io.ReadAll(io.NewSectionReader(file, 0, 100))
		if err != nil || string(content) != "inside" || file.Size() != int64(len(content)) {
			t.Errorf("%q is read as %q, %v", path, content, err)
		}
	})
}

// FuzzPut puts a file at whatever path of a storage with links of all kinds. It is written inside of the root, and to
// no other place than its path says.
func FuzzPut(f *testing.F) {
	dir := f.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside, filepath.Join(root, "d"), filepath.Join(root, "d", "e")} {
		must(f, os.Mkdir(d, 0o700))
	}
	must(f, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	for link, target := range map[string]string{
		"in": "d", "up": "..", "self": "self", "out": outside, "relout": "../outside",
		"d/secret": "../../outside/secret",
		"absin":    filepath.Join(root, "d"), "viaout": "../outside/../root/d", "d/root": "/", "d/e/back": "../..",
		"there": filepath.Join(root, "relout"), "new": "../outside/new",
	} {
		must(f, os.Symlink(target, filepath.Join(root, link)))
	}
	for _, p := range []string{"/a", "/in/b", "/up/outside/a", "/out/secret", "/relout/a", "/d/secret", "/absin/e/c",
		"/viaout/b", "/d/e/back/a", "/there/a", "/self", `\in\b`, `/back\slash`, "/in/../../outside/a", "/new",
		"/new/a",
		"/out", "/d/root/tmp/a", "//out/x", "/./out/./x", "/in/e/f/g/h"} {
		f.Add(p)
	}
	target := newTarget(f, Options{})
	f.Fuzz(func(t *testing.T, path string) {
		in := incoming(root, "", path)
		in.Path = root + path
		_, err := target.Put(t.Context(), in)
		wantOnly(t, outside, map[string]string{"secret": "secret"})
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Fatalf("%q: beside the root there are %v, %v", path, entries, err)
		}
		if err != nil {
			return
		}
		where, err := filepath.EvalSymlinks(filepath.Clean(in.Path))
		if err != nil || !within(where, root) {
			t.Errorf("%q is at %q, %v", path, where, err)
		}
		if content, err := os.ReadFile(where); string(content) != path || err != nil {
			t.Errorf("%q has %q, %v", path, content, err)
		}
	})
}
