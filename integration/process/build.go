package process

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles sitesync into the folder and returns the path of the binary. flags are further flags of go build, such
// as -race. With the flags that the caller was built with, all is compiled already but for the program itself. The
// working directory must be in this module.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "sitesync")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "sitesync")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sitesync: %w\n%s", err, out)
	}
	return binary, nil
}
