package local

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The kernel's way of opening what is below a root does what os.Root does, which stands in for it where it is missing.
func TestOpenBelow(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "outside"), []byte("outside"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "a", "b", "file"), []byte("inside"), 0o600))
	for name, target := range map[string]string{
		"link": "a/b/file", "folder": "a", "a/up": "../a/b/file", "out": "../outside", "a/out": "../../outside",
		"absolute": filepath.Join(root, "a", "b", "file"), "outer": dir, "loop": "loop", "nowhere": "missing",
		"magic": "/proc/self/fd/0",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	for rel, want := range map[string]bool{
		"a/b/file": true, "link": true, "folder/b/file": true, "a/up": true,
		"out": false, "a/out": false, "absolute": false, "outer/outside": false, "loop": false, "nowhere": false,
		"magic":      false,
		"../outside": false, "a/../../outside": false, "missing": false, "a/b/file/c": false,
	} {
		for way, open := range map[string]func(root, rel string) (*os.File, error){"openBelow": openBelow,
			"openInRoot": openInRoot} {
			f, err := open(root, rel)
			if (err == nil) != want {
				t.Errorf("%s %s: %v", way, rel, err)
			}
			if err != nil {
				continue
			}
			if content, err := io.ReadAll(f); string(content) != "inside" || err != nil {
				t.Errorf("%s %s has %q, %v", way, rel, content, err)
			}
			f.Close()
		}
	}
	for rel, is := range map[string]func(error) bool{"missing": os.IsNotExist, "nowhere": os.IsNotExist} {
		if _, err := openBelow(root, rel); !is(err) {
			t.Errorf("%s: %v", rel, err)
		}
	}
	if _, err := openBelow(filepath.Join(dir, "gone"), "a"); !os.IsNotExist(err) {
		t.Errorf("without a root: %v", err)
	}
}
