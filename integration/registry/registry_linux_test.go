package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCachedMakesOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	broken := errors.New("broken")
	if _, err := Cached(t.Context(), "thing", func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("half"), 0o600), broken)
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			path, err := Cached(t.Context(), "thing", func(path string) error {
				made.Add(1)
				return os.WriteFile(path, []byte("whole"), 0o600)
			})
			if content, _ := os.ReadFile(path); err != nil || string(content) != "whole" {
				t.Errorf("%q, %v", content, err)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
}

// What is not what this source was written for is not used.
func TestOtherContentIsNotUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unpacked")
	err := Package{Name: "thing", Version: "1", SHA256: strings.Repeat("0", 64)}.unpacked(dir, func(temp string) error {
		return os.WriteFile(filepath.Join(temp, "thing-1.whl"), []byte("another"), 0o600)
	}, func(string, string) error { t.Error("it is unpacked"); return nil })
	if err == nil || !strings.Contains(err.Error(), "not used") || exists(dir) {
		t.Errorf("%v", err)
	}
}

func TestUntarStaysInItsFolder(t *testing.T) {
	for name, fits := range map[string]bool{"lib/a": true, "../a": false, "/a": false, "lib/../../a": false} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: 1}),
			func() error { _, err := w.Write([]byte("x")); return err }(), w.Close()); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		err := Untar(&archive, dir)
		if (err == nil) != fits {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); fits && (err != nil || info.Mode().Perm()&0o100 == 0) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// The error names what is missing and cannot be installed.
func TestWithoutPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, _, python := Python(t.Context(), "google-api-python-client")
	for _, err := range []error{node.FromPyPI(t.Context(), filepath.Join(t.TempDir(), "node")), python} {
		if err == nil || !strings.Contains(err.Error(), "install Python 3 with pip") {
			t.Error(err)
		}
	}
}
