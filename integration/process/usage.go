package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrNoUsage means that this system does not report the usage of a process.
var ErrNoUsage = errors.New("the usage of a running process is known on Linux only")

// tick is the unit of times in /proc; it is the same on all of Linux.
const tick = 10 * time.Millisecond

// Usage is what a running process uses.
type Usage struct {
	CPU            time.Duration // user and system time so far
	Resident, Peak int64         // resident memory now and its maximum so far, bytes
}

// Usage returns the usage of sitesync while it runs.
func (p *Process) Usage() (u Usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if errors.Is(err, os.ErrNotExist) {
		return u, ErrNoUsage
	}
	if err != nil {
		return u, err
	}
	// After the name, which is in parentheses, utime and stime are the 12th and 13th field; see proc(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * tick
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &u.Resident, "VmHWM": &u.Peak}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return u, err
		}
		*into = kib << 10
	}
	return u, nil
}
