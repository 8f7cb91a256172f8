package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// rcloneFlags are the fastest settings of rclone for new files on Drive: no listing of the destination, no pacing
// beyond Drive's own, and large chunks.
func rcloneFlags(transfers int) []string {
	n := strconv.Itoa(transfers)
	return []string{"copy", "--no-traverse", "--no-check-dest", "--transfers", n, "--checkers", n,
		"--drive-pacer-min-sleep", "1ms", "--drive-pacer-burst", "1000", "--drive-chunk-size", "64M", "--files-from",
		"LIST"}
}

// installed returns a tool; missing says how to install it.
func installed(name string, upload func(context.Context, job) (outcome, error)) tool {
	t := tool{name: name, upload: upload}
	if _, err := exec.LookPath(name); err != nil {
		t.missing = fmt.Sprintf("%[1]s is not installed: apt install %[1]s", name)
	}
	return t
}

// version is the first line of the tool's --version.
func (t tool) version(ctx context.Context) string {
	if t.missing != "" {
		return t.missing
	}
	out, err := exec.CommandContext(ctx, t.name, "--version").Output()
	if err != nil {
		return t.name + " of unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// runRclone has rclone copy the files of a batch.
func (b *bench) runRclone(ctx context.Context, j job) (out outcome, err error) {
	list := filepath.Join(b.dir, "list")
	if err := os.WriteFile(list, []byte(strings.Join(j.batch.files, "\n")+"\n"), 0o600); err != nil {
		return out, err
	}
	args := rcloneFlags(j.transfers)
	args[len(args)-1] = list
	args = append(args, "--config", filepath.Join(b.dir, "none.conf"), "--cache-dir", filepath.Join(b.dir, "cache"),
		"--ca-cert", filepath.Join(b.dir, "ca.pem"), "--drive-service-account-file", filepath.Join(b.dir, "key.json"),
		"--drive-team-drive", b.env.Show.ID, "--drive-scope", "drive", b.storage, ":drive:"+j.root)
	cmd := exec.CommandContext(ctx, "rclone", args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+b.proxy.URL, "NO_PROXY=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b.env.Drive.ResetCalls()
	if err := cmd.Run(); err != nil {
		return out, fmt.Errorf("rclone %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	first, last, calls := b.seen()
	out = outcome{files: len(j.batch.files), calls: calls, seconds: last.Sub(first).Seconds(),
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	out.bytes, err = b.check(j)
	return out, err
}
