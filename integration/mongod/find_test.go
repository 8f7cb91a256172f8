package mongod_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sitesync/integration/mongod"
)

// nothing makes this process one on a machine where no mongod is.
func nothing(t *testing.T) {
	t.Setenv(mongod.PathVariable, "")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error does not say %q: %v", word, err)
		}
	}
}

func TestFindNeedsWhatTheVariableNames(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.WriteFile(plain, []byte("not executable"), 0o644))
	for name, path := range map[string]string{
		"missing":        filepath.Join(t.TempDir(), "mongod"),
		"not executable": plain,
		"another program": func() string {
			self, err := os.Executable()
			must(t, err)
			return self
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			nothing(t)
			t.Setenv(mongod.PathVariable, path)
			_, err := mongod.Find(t.Context())
			wantError(t, err, "$"+mongod.PathVariable, path, "unset it")
		})
	}
}

func TestFindWithoutPythonSaysWhatToInstall(t *testing.T) {
	nothing(t)
	_, err := mongod.Find(t.Context())
	wantError(t, err, "install MongoDB", mongod.PathVariable)
	_, err = mongod.Start(t.Context(), mongod.Options{})
	wantError(t, err, "install MongoDB")
}

func TestFindPrefersTheVariableThenThePath(t *testing.T) {
	real, err := mongod.Find(t.Context())
	must(t, err)
	nothing(t)

	bin := t.TempDir()
	inPath := filepath.Join(bin, "mongod")
	must(t, os.Symlink(real, inPath))
	t.Setenv("PATH", bin)
	if got, err := mongod.Find(t.Context()); err != nil || got != inPath {
		t.Errorf("with mongod in PATH: %q, %v; want %q", got, err, inPath)
	}
	t.Setenv(mongod.PathVariable, real)
	if got, err := mongod.Find(t.Context()); err != nil || got != real {
		t.Errorf("with the variable: %q, %v; want %q", got, err, real)
	}
}
