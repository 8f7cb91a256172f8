package local

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sitesync/site"
)

func TestOpenSource(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), []byte("12345"), 0o600))
	must(t, os.Mkdir(filepath.Join(root, "folder"), 0o700))
	must(t, os.Symlink("a.ma", filepath.Join(root, "inside.ma")))
	must(t, os.Symlink(filepath.Join(root, "a.ma"), filepath.Join(root, "absolute.ma")))
	must(t, os.Symlink(root, filepath.Join(root, "itself")))
	must(t, os.Symlink(filepath.Join(root, "gone.ma"), filepath.Join(root, "dangling.ma")))
	must(t, os.Symlink(outside, filepath.Join(root, "outside.ma")))
	must(t, makeFIFO(filepath.Join(root, "fifo")))

	for name, test := range map[string]struct {
		location
		size int64
		err  string // "" if it is opened
		want site.Class
	}{
		"there":             {location{root: root, rel: "a.ma"}, 5, "", 0},
		"of unknown size":   {location{root: root, rel: "a.ma"}, -1, "", 0},
		"symlink inside":    {location{root: root, rel: "inside.ma"}, 5, "", 0},
		"absolute symlink":  {location{root: root, rel: "absolute.ma"}, 5, "", 0},
		"through a symlink": {location{root: root, rel: "itself/absolute.ma"}, 5, "", 0},
		"dangling symlink":  {location{root: root, rel: "dangling.ma"}, 5, "is not there", site.NotReady},
		"symlink outside":   {location{root: root, rel: "outside.ma"}, 6, "leads out of the root", site.FileError},
		"not there":         {location{root: root, rel: "b.ma"}, 5, "is not there", site.NotReady},
		"folder not there":  {location{root: root, rel: "itself/no/b.ma"}, 5, "is not there", site.NotReady},
		"project not there": {location{root: root, rel: "no/b.ma"}, 5, "no is not mounted: it is not there",
			site.Unavailable},
		"project empty": {location{root: root, rel: "folder/b.ma"}, 5, "folder is not mounted: it is empty",
			site.Unavailable},
		"project's name": {location{root: root, rel: strings.Repeat("x", 300) + "/b.ma"}, 5, "name too long",
			site.FileError},
		"of another size": {location{root: root, rel: "a.ma"}, 6, "has 5 bytes, 6 were published", site.NotReady},
		"folder":          {location{root: root, rel: "folder"}, 5, "a folder", site.FileError},
		"FIFO":            {location{root: root, rel: "fifo"}, 5, "a FIFO", site.FileError},
		"root not there": {location{root: filepath.Join(root, "no"), rel: "a.ma"}, 5, "no can't be read (open ",
			site.Unavailable},
		"empty mount point":  {location{root: t.TempDir(), rel: "a.ma"}, 5, " is empty", site.Unavailable},
		"file for a folder":  {location{root: root, rel: "a.ma/b.ma"}, 5, "not a directory", site.FileError},
		"root that's a file": {location{root: outside, rel: "a.ma"}, 5, "not mounted", site.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f, info, err := test.open(test.size)
			if err == nil {
				defer f.Close()
				if info.Size() != 5 {
					t.Errorf("%d bytes", info.Size())
				}
			}
			switch {
			case (err == nil) != (test.err == ""):
				t.Errorf("opened with %v", err)
			case err != nil && (!strings.Contains(err.Error(), test.err) || site.ClassOf(err) != test.want):
				t.Errorf("%v of class %s, want %q of class %s", err, site.ClassOf(err), test.err, test.want)
			}
		})
	}
}

// Between the look at a source and its opening anything may take its place.
func TestFIFOTakesTheSourcesPlace(t *testing.T) {
	root := t.TempDir()
	src, file, fifo := location{root: root, rel: "a.ma"}, filepath.Join(root, "file"), filepath.Join(root, "fifo")
	must(t, os.WriteFile(file, []byte("12345"), 0o600))
	must(t, makeFIFO(fifo))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			f, info, err := src.open(5)
			switch {
			case err == nil:
				if f.Close(); !info.Mode().IsRegular() {
					t.Errorf("opened %s", info.Mode())
				}
			case site.ClassOf(err) == site.NotReady, strings.Contains(err.Error(), "not a regular file"):
			default:
				t.Error(err)
			}
		}
	}()
	timeout := time.After(time.Minute)
	for i := 0; ; i++ {
		from := []string{file, fifo}[i%2]
		must(t, os.Rename(from, src.String()))
		select {
		case <-done:
			return
		case <-timeout:
			t.Fatal("opening the source hangs")
		default:
		}
		must(t, os.Rename(src.String(), from))
	}
}

// Whoever may read everything reads this too.
func TestUnreadableSource(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), []byte("12345"), 0o000))
	f, _, err := location{root: root, rel: "a.ma"}.open(5)
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return
	}
	if err == nil || !strings.Contains(err.Error(), "permission denied") || site.ClassOf(err) != site.FileError {
		t.Errorf("opened with %v of class %s", err, site.ClassOf(err))
	}
}

func TestSourceThatLoops(t *testing.T) {
	root := t.TempDir()
	must(t, os.Symlink("a.ma", filepath.Join(root, "a.ma")))
	if _, _, err := (location{root: root, rel: "a.ma"}).open(5); err == nil || site.ClassOf(err) != site.FileError {
		t.Errorf("opened with %v", err)
	}
}

// What can't be read in the middle of it is the storage's trouble if that has gone.
func TestStorageGoesWhileASourceIsLookedFor(t *testing.T) {
	root := t.TempDir()
	src := location{root: root, rel: "a.ma"}
	if err := src.classify(os.ErrPermission); site.ClassOf(err) != site.Unavailable {
		t.Errorf("%v of class %s", err, site.ClassOf(err))
	}
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), nil, 0o600))
	if err := src.classify(os.ErrPermission); site.ClassOf(err) != site.FileError {
		t.Errorf("%v of class %s", err, site.ClassOf(err))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
