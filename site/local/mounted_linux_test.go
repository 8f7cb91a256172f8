package local

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sitesync/site"
)

// A project folder with other accents than in the document is not taken for missing.
func TestFileMissingInAProjectOfAnotherForm(t *testing.T) {
	root := t.TempDir()
	writeBelow(t, root, "e\u0301/a.ma")
	if _, _, err := (location{root: root, rel: "é/b.ma"}).open(5); site.ClassOf(err) != site.NotReady {
		t.Errorf("%v", err)
	}
}

// What storages answer that fail, or that have gone, is theirs only if a folder on the way fails too.
func TestWhoFails(t *testing.T) {
	root := t.TempDir()
	writeBelow(t, root, "show/a.ma")
	s := location{root: root, rel: "show/a.ma"}
	for number, class := range map[syscall.Errno]site.Class{
		syscall.EIO: site.FileError, syscall.EACCES: site.FileError, syscall.ESTALE: site.NotReady,
		syscall.ENOENT: site.NotReady,
	} {
		why := &os.PathError{Op: "read", Path: s.String(), Err: number}
		if err := s.classify(why); site.ClassOf(err) != class {
			t.Errorf("%v while all is well: %v", number, err)
		}
		gone := location{root: root, rel: "gone/a.ma"}
		if err := gone.classify(why); site.ClassOf(err) != site.Unavailable {
			t.Errorf("%v while the project is away: %v", number, err)
		}
	}
}

// A link from an allowed folder leads nowhere else.
func TestLinksOfLinks(t *testing.T) {
	root, allowed, outside := t.TempDir(), t.TempDir(), t.TempDir()
	writeBelow(t, allowed, "a.ma")
	writeBelow(t, outside, "a.ma")
	must(t, os.Symlink(allowed, filepath.Join(root, "show")))
	must(t, os.Symlink(filepath.Join(outside, "a.ma"), filepath.Join(allowed, "out.ma")))
	must(t, os.Symlink("../"+filepath.Base(outside)+"/a.ma", filepath.Join(allowed, "up.ma")))
	for rel, class := range map[string]site.Class{"show/out.ma": site.FileError, "show/up.ma": site.FileError} {
		s := location{root: root, rel: rel, links: []string{allowed}}
		if _, _, err := s.open(5); err == nil || site.ClassOf(err) != class ||
			!strings.Contains(err.Error(), "local_root_links") {
			t.Errorf("%s: %v", rel, err)
		}
	}
	f, _, err := location{root: root, rel: "show/a.ma", links: []string{allowed}}.open(5)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
