package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles sitesync into the folder, as the Dockerfile does (statically linked), and returns the
// path of the binary. flags are further flags of go build, such as -race. The working directory must be
// in this module.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "sitesync")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "sitesync")...)
	cmd.Env = os.Environ()
	if len(flags) == 0 {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sitesync: %w\n%s", err, out)
	}
	return binary, nil
}
