package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// unpack returns the files of an archive by name, and how many bits of each may be executed.
func unpack(t *testing.T, archive string) map[string]file {
	t.Helper()
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]file{}
	add := func(name string, mode os.FileMode, r io.Reader, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file{name, int64(mode.Perm()), content}
	}
	if strings.HasSuffix(archive, ".zip") {
		zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range zr.File {
			r, err := f.Open()
			add(f.Name, 0, r, err)
		}
		return files
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		add(h.Name, h.FileInfo().Mode(), tr, nil)
	}
}

// A release for this system is as its sums say, the same each time, and what is in it runs.
func TestRelease(t *testing.T) {
	var sums [2]string
	var out string
	for i := range sums {
		out = t.TempDir()
		if err := release(out, "v1.2.3", []string{runtime.GOOS + "/" + runtime.GOARCH}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(data)
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 1 {
		t.Fatalf("the sums differ:\n%s\n%s", sums[0], sums[1])
	}
	sum, name, _ := strings.Cut(strings.TrimSpace(sums[0]), "  ")
	data, err := os.ReadFile(filepath.Join(out, name))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
		t.Errorf("%s has the sum %s, not %s", name, got, sum)
	}
	if err := release(out, "v1.2.3", nil); err == nil {
		t.Error("a release was made over another one")
	}

	folder, program := fmt.Sprintf("sitesync_v1.2.3_%s_%s/", runtime.GOOS, runtime.GOARCH), "sitesync"
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	files := unpack(t, filepath.Join(out, name))
	for _, f := range []string{program, "LICENSE", "README.md", "THIRD_PARTY_LICENSES.txt"} {
		if len(files[folder+f].data) == 0 {
			t.Errorf("%s lacks %s", name, f)
		}
	}
	if mode := files[folder+program].mode; runtime.GOOS != "windows" && mode != 0o755 {
		t.Errorf("the program has the mode %o", mode)
	}
	licenses := string(files[folder+"THIRD_PARTY_LICENSES.txt"].data)
	for _, want := range []string{"go.mongodb.org/mongo-driver/v2 v2", "golang.org/x/oauth2 v0", "Go go1.", "Copyright 2009 The Go Authors"} {
		if !strings.Contains(licenses, want) {
			t.Errorf("the licenses lack %s", want)
		}
	}
	if strings.Contains(licenses, "k8s.io/api") {
		t.Error("the licenses have a module that only tests need")
	}

	// An empty folder and no variables are all that the program needs.
	empty, binary := t.TempDir(), filepath.Join(t.TempDir(), program)
	if err := os.WriteFile(binary, files[folder+program].data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--help")
	cmd.Dir, cmd.Env = empty, []string{"NONE=1"}
	if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "--mongo") {
		t.Errorf("%v\n%s", err, text)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["-trimpath"] != "true" || settings["CGO_ENABLED"] != "0" {
		t.Errorf("it was built with %v", settings)
	}
}

// Both kinds of archive have all files, as they were, dated by the commit.
func TestArchives(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	files := []file{{"sitesync", 0o755, []byte("program")}, {"LICENSE", 0o644, bytes.Repeat([]byte("license\n"), 1000)}}
	for ending, pack := range map[string]func(string, []file, time.Time) ([]byte, error){".tar.gz": tarball, ".zip": zipped} {
		data, err := pack("folder", files, at)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "archive"+ending)
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got := unpack(t, name)
		for _, f := range files {
			g, ok := got["folder/"+f.name]
			if !ok || !bytes.Equal(g.data, f.data) || ending != ".zip" && g.mode != f.mode {
				t.Errorf("%s: %s is %d bytes with mode %o", ending, f.name, len(g.data), g.mode)
			}
		}
		again, err := pack("folder", files, at)
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("%s differs from time to time, %v", ending, err)
		}
	}
}

func TestWrongTarget(t *testing.T) {
	if err := release(t.TempDir(), "v1", []string{"linux"}); err == nil || !strings.Contains(err.Error(), "SYSTEM/PROCESSOR") {
		t.Errorf("%v", err)
	}
	if err := release(t.TempDir(), "v 1/2", nil); err == nil {
		t.Error("the version is no name")
	}
}
