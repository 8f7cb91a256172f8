package registry

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Python installs packages of PyPI, with those that they need, in the cache
// folder. It returns the Python that they are for and the folder for its PYTHONPATH.
func Python(ctx context.Context, packages ...string) (python, dir string, err error) {
	pip, err := findPip(ctx)
	if err != nil {
		return "", "", err
	}
	if pip[0] != "python3" && pip[0] != "python" {
		return "", "", fmt.Errorf("there is %s, but no Python in PATH that has it: install Python 3 with pip "+
			"(Debian's python3-pip)", pip[0])
	}
	version, err := exec.CommandContext(ctx, pip[0], "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", pip[0], err)
	}
	name := "python" + strings.TrimSpace(string(version)) + "-" + strings.ReplaceAll(strings.Join(packages, "-"), "==",
		"-")
	dir, err = Cached(ctx, filepath.Base(name), func(path string) error {
		install := append(pip, "install", "--quiet", "--no-input", "--disable-pip-version-check",
			"--target", path)
		return run(ctx, append(install, packages...)...)
	})
	if err != nil {
		return "", "", fmt.Errorf("install %s of PyPI: %w", strings.Join(packages, ", "), err)
	}
	return pip[0], dir, nil
}
