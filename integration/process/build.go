package process

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles sitesync into the folder, with the race detector if the caller has it, and returns the path of the
// binary. The working directory must be in this module.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "sitesync")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := append([]string{"build", "-o", binary}, buildFlags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "sitesync")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sitesync: %w\n%s", err, out)
	}
	return binary, nil
}
