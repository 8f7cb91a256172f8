package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bare makes this process one on a machine that has only what is in the folder returned, its PATH.
func bare(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	t.Setenv(PathVariable, "")
	t.Setenv("PATH", bin)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return bin
}

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// What Ubuntu has by that name only says that another package has to be installed.
func TestFindPassesOverWhatDoesNotStart(t *testing.T) {
	bin := bare(t)
	script(t, filepath.Join(bin, "chromium-browser"), "echo requires the chromium snap; exit 10")
	if _, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), "requires the chromium snap") ||
		!strings.Contains(err.Error(), "apt install chromium") || !strings.Contains(err.Error(), PathVariable) {
		t.Errorf("the error does not say what was found and what to install: %v", err)
	}
	good := filepath.Join(bin, "google-chrome")
	script(t, good, "echo Chromium 1")
	if found, err := Find(t.Context()); err != nil || found.Path != good {
		t.Errorf("%+v, %v, want %s", found, err, good)
	}
}

func TestFindNeedsWhatTheVariableNames(t *testing.T) {
	bin := bare(t)
	script(t, filepath.Join(bin, "chromium"), "echo Chromium 1")
	missing := filepath.Join(bin, "missing")
	t.Setenv(PathVariable, missing)
	if _, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), missing) ||
		!strings.Contains(err.Error(), "unset it") {
		t.Errorf("a file that is missing: %v", err)
	}
	other := filepath.Join(bin, "other")
	script(t, other, "echo Chromium 1")
	t.Setenv(PathVariable, other)
	if found, err := Find(t.Context()); err != nil || found.Path != other {
		t.Errorf("%+v, %v, want %s", found, err, other)
	}
}
