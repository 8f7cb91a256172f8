// Command release builds what is handed out: an archive for each system, with the licenses of all that is in it, and
// their SHA-256 sums. The same commit and the same Go give the same bytes.
//
//	go run ./deploy/release --out dist
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const allTargets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64"

func main() {
	out := flag.String("out", "dist", "folder of the archives; it is made, and must not have any in it")
	targets := flag.String("targets", allTargets, "systems to build for")
	version := flag.String("version", "", "version in the archives' names; default: what git describe says")
	flag.Parse()
	if err := release(*out, *version, strings.Split(*targets, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// file is what goes into an archive.
type file struct {
	name string
	mode int64
	data []byte
}

func release(out, version string, targets []string) error {
	root, err := output(nil, "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	if version == "" {
		if version, err = output(nil, "git", "-C", root, "describe", "--tags", "--always", "--dirty"); err != nil {
			return fmt.Errorf("%w; give --version where there is no git", err)
		}
	}
	if strings.ContainsAny(version, "/\\ ") {
		return fmt.Errorf("the version is %q but must do for the name of a file", version)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if old, err := filepath.Glob(filepath.Join(out, "sitesync_*")); err != nil || len(old) > 0 {
		return errors.Join(err, fmt.Errorf("there is a release in %s already; remove it, or name another folder by --out", out))
	}
	published := commitTime(root)
	var sums strings.Builder
	for _, target := range targets {
		system, processor, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("target %q must be SYSTEM/PROCESSOR, such as linux/amd64", target)
		}
		files, err := contents(root, system, processor)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		name := fmt.Sprintf("sitesync_%s_%s_%s", version, system, processor)
		pack, ending := tarball, ".tar.gz"
		if system == "windows" {
			pack, ending = zipped, ".zip"
		}
		data, err := pack(name, files, published)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		name += ending
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
		fmt.Printf("%s  %.1f MB\n", filepath.Join(out, name), float64(len(data))/1e6)
	}
	fmt.Println("built with", runtime.Version())
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// contents builds the program for a system, as the Dockerfile does, and collects what belongs to it.
func contents(root, system, processor string) ([]file, error) {
	dir, err := os.MkdirTemp("", "sitesync-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := "sitesync"
	if system == "windows" {
		program += ".exe"
	}
	env := []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + processor}
	binary := filepath.Join(dir, program)
	if _, err := output(env, "go", "build", "-C", root, "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w", "-o", binary, "."); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	files := []file{{program, 0o755, data}}
	for _, name := range []string{"LICENSE", "README.md"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, 0o644, data})
	}
	if data, err = licenses(root, env); err != nil {
		return nil, err
	}
	return append(files, file{"THIRD_PARTY_LICENSES.txt", 0o644, data}), nil
}

// module is one that the program is made of.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// licenses are those of all modules that the program is made of, and of Go's own libraries.
func licenses(root string, env []string) ([]byte, error) {
	listed, err := output(env, "go", "list", "-C", root, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
	if err != nil {
		return nil, err
	}
	paths := strings.Fields(listed)
	slices.Sort(paths)
	described, err := output(env, "go", append([]string{"list", "-C", root, "-m", "-json=Path,Version,Dir"}, slices.Compact(paths)...)...)
	if err != nil {
		return nil, err
	}
	goroot, err := output(env, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	modules := []module{{Path: "Go", Version: runtime.Version(), Dir: goroot}}
	for in := json.NewDecoder(strings.NewReader(described)); ; {
		var m module
		if err := in.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	var text bytes.Buffer
	fmt.Fprint(&text, "sitesync is made of these modules, whose licenses follow.\n\n")
	for _, m := range modules {
		fmt.Fprintf(&text, "%s %s\n", m.Path, m.Version)
	}
	for _, m := range modules {
		found, err := licenseFiles(m.Dir)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no license is found in %s %s", m.Path, m.Version)
		}
		for _, name := range found {
			data, err := os.ReadFile(filepath.Join(m.Dir, name))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&text, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, name, bytes.TrimSpace(data))
		}
	}
	return text.Bytes(), nil
}

// licenseFiles are the names of files in a module's folder that say what its license is, or that it demands to be
// handed on.
func licenseFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		for _, word := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS", "THIRD-PARTY-NOTICES"} {
			if !e.IsDir() && strings.HasPrefix(upper, word) && !strings.HasSuffix(upper, ".GO") {
				found = append(found, e.Name())
				break
			}
		}
	}
	return found, nil
}

// commitTime is what all files in the archives are dated, so that they don't differ from build to build.
func commitTime(root string) time.Time {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text, _ = output(nil, "git", "-C", root, "log", "-1", "--format=%ct") // else the time of no commit
	}
	seconds, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(cmp.Or(seconds, 315_619_200), 0).UTC() // 1980-01-02; zip knows nothing before 1980
}

func tarball(folder string, files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	tw := tar.NewWriter(zw)
	for _, f := range files {
		h := &tar.Header{Name: folder + "/" + f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: at, Format: tar.FormatPAX}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func zipped(folder string, files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	zw := zip.NewWriter(&out)
	for _, f := range files {
		w, err := zw.CreateHeader(&zip.FileHeader{Name: folder + "/" + f.name, Method: zip.Deflate, Modified: at})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// output runs a command with further variables and returns what it writes, without spaces around it.
func output(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
