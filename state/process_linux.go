package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// thisSystem names what process ids are valid in: this boot of this machine, and this namespace of processes, as
// each container has one of its own. It is "" if that is not known.
func thisSystem() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, err2 := os.Readlink("/proc/self/ns/pid")
	if err != nil || err2 != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + namespace
}

// startOf is the start time of a process, which distinguishes processes of one id. It is "" if it is not known.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name of the program may have anything in it; what counts comes after it. See proc_pid_stat(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19] // starttime
}

// hasEnded reports whether the process of that id and start is known to have ended. That /proc does not show it is not
// enough, as processes of other users can be hidden there.
func hasEnded(pid int, started string) bool {
	if now := startOf(pid); now != "" {
		return now != started
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
