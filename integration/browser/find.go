package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"

	"sitesync/integration/registry"
)

// PathVariable is the environment variable that names the Chromium to use.
const PathVariable = "SITESYNC_CHROMIUM"

// names of the program, as distributions have it.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// bundle carries Chromium for Linux on x86-64, with the libraries and the font that servers lack. It needs glibc 2.34.
var bundle = registry.Package{Name: "@sparticuz/chromium", Version: "153.0.0",
	SHA256: "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"}

// Chromium is a Chromium that runs on this machine.
type Chromium struct {
	Path string
	Env  []string // what it needs in its environment, KEY=VALUE
}

// Find looks for Chromium: at $SITESYNC_CHROMIUM, in PATH, and in the user's cache folder, into which it fetches one if
// need be (Linux on x86-64). As root on Debian or Ubuntu it installs one where that fails. It is safe to call from
// several processes at once.
func Find(ctx context.Context) (Chromium, error) {
	if path := os.Getenv(PathVariable); path != "" {
		found := Chromium{Path: path}
		if err := found.check(ctx); err != nil {
			return found, fmt.Errorf("$%s: %w: let it name the executable of Chromium, or unset it", PathVariable, err)
		}
		return found, nil
	}
	found, errInPath := inPath(ctx)
	if errInPath == nil || ctx.Err() != nil {
		return found, errInPath
	}
	found, errCached := cached(ctx)
	if errCached == nil || ctx.Err() != nil {
		return found, errCached
	}
	errApt := registry.Apt(ctx, "chromium")
	if errApt == nil {
		return inPath(ctx)
	}
	return found, fmt.Errorf("there is no Chromium, which is needed to look at the page: %w: apt install chromium, "+
		"or set $%s to its path", errors.Join(errInPath, errCached, errApt), PathVariable)
}

// inPath finds one that starts: Ubuntu's program of that name only suggests another package.
func inPath(ctx context.Context) (Chromium, error) {
	var tried []error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found := Chromium{Path: path}
		if err := found.check(ctx); err == nil || ctx.Err() != nil {
			return found, err
		} else {
			tried = append(tried, err)
		}
	}
	if tried == nil {
		return Chromium{}, errors.New("there is none in PATH")
	}
	return Chromium{}, errors.Join(tried...)
}

// cached returns the Chromium of the cache folder, which it fills first if need be.
func cached(ctx context.Context) (Chromium, error) {
	dir, err := registry.Cached(ctx, "chromium-"+bundle.Version, func(dir string) error { return unpack(ctx, dir) })
	if err != nil {
		return Chromium{}, err
	}
	found := Chromium{Path: filepath.Join(dir, "chromium"), Env: []string{
		"LD_LIBRARY_PATH=" + filepath.Join(dir, "lib"),
		"FONTCONFIG_FILE=" + filepath.Join(dir, "fonts.conf"),
	}}
	return found, found.check(ctx)
}

// unpack fetches the bundle and puts what is of use to dir.
func unpack(ctx context.Context, dir string) error {
	packed := dir + ".packed"
	if err := bundle.FromNPM(ctx, packed); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, put := range map[string]func(content io.Reader) error{
		"chromium.br":   func(content io.Reader) error { return writeProgram(filepath.Join(dir, "chromium"), content) },
		"al2023.tar.br": func(content io.Reader) error { return registry.Untar(content, dir) }, // lib
		"fonts.tar.br":  func(content io.Reader) error { return registry.Untar(content, dir) }, // fonts
	} {
		f, err := os.Open(filepath.Join(packed, "package", "bin", name))
		if err != nil {
			return err
		}
		if err := errors.Join(put(brotli.NewReader(f)), f.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
	}
	// Its own configuration names folders elsewhere. Where its folder will be is said relative to this file.
	conf := `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
`
	return os.WriteFile(filepath.Join(dir, "fonts.conf"), []byte(conf), 0o644)
}

func writeProgram(path string, content io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// check runs it: whether it starts at all depends on the shared libraries of the machine.
func (c Chromium) check(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.Path, "--version")
	cmd.Env = append(os.Environ(), c.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s does not start: %w: %s", c.Path, err, strings.TrimSpace(string(out)))
	}
	return nil
}
