package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Apt installs packages of Debian or Ubuntu, if this is root on such a machine.
func Apt(ctx context.Context, packages ...string) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return errors.New("there is no apt-get to install it")
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root can: apt-get install %s", strings.Join(packages, " "))
	}
	unlock, err := lock(ctx, filepath.Join(os.TempDir(), "sitesync-apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	install := append([]string{"env", "DEBIAN_FRONTEND=noninteractive", apt, "-qq", "-o", "DPkg::Lock::Timeout=300",
		"install", "--no-install-recommends", "-y"}, packages...)
	if run(ctx, install...) == nil {
		return nil
	}
	// The lists of packages are old, or there are none yet.
	if err := run(ctx, apt, "-qq", "update"); err != nil {
		return err
	}
	return run(ctx, install...)
}
