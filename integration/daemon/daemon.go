package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stopTimeout is how long sitesync may take to stop.
const stopTimeout = 10 * time.Second

// Options say how sitesync is started.
type Options struct {
	Binary   string // see Build
	Presets  string // folder of the two files
	Mongo    string // connection string
	Database string
	State    string    // sitesync's own database; "" for the default
	Args     []string  // further arguments, after "run"; without --listen among them nothing is served
	Env      []string  // further variables, NAME=VALUE
	Log      io.Writer // gets a copy of the log; may be nil
}

// Line is one line of the log.
type Line struct {
	Level   string
	Message string
	Fields  map[string]any // all of the line
}

// Float returns a field that is a number, 0 if there is none.
func (l Line) Float(field string) float64 {
	f, _ := l.Fields[field].(float64)
	return f
}

// Text returns a field that is a text, "" if there is none.
func (l Line) Text(field string) string {
	s, _ := l.Fields[field].(string)
	return s
}

// Message matches lines that contain the text in their message.
func Message(text string) func(Line) bool {
	return func(l Line) bool { return strings.Contains(l.Message, text) }
}

// Daemon is a running sitesync.
type Daemon struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error       // of Wait, once exited is closed
	ended  atomic.Bool // by us, or its end was asked for by Exit

	mu      sync.Mutex
	changed chan struct{}
	lines   []Line
	raw     strings.Builder
}

// Start starts "sitesync run".
func Start(o Options) (*Daemon, error) {
	args := []string{"run", "--presets", o.Presets, "--db", o.Database, "--log-format", "json", "--listen", "off"}
	if o.State != "" {
		args = append(args, "--state-db", o.State)
	}
	args = append(args, o.Args...) // of a flag that is given twice the last counts
	cmd := exec.Command(o.Binary, args...)
	cmd.Env = append(os.Environ(), "SITESYNC_MONGO="+o.Mongo)
	cmd.Env = append(cmd.Env, o.Env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = attributes()
	d := &Daemon{cmd: cmd, exited: make(chan struct{}), changed: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the starting thread ends, not the process: keep the thread
		// as long as sitesync runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			defer close(d.exited)
			d.read(stderr, o.Log)
			d.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start sitesync: %w", err)
	}
	return d, nil
}

// read takes in the log until its end.
func (d *Daemon) read(r io.Reader, copy io.Writer) {
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			if copy != nil {
				fmt.Fprint(copy, text)
			}
			l := Line{Message: strings.TrimSpace(text)}
			if json.Unmarshal([]byte(text), &l.Fields) == nil {
				l.Level, l.Message = l.Text("level"), l.Text("msg")
			}
			d.mu.Lock()
			d.lines = append(d.lines, l)
			d.raw.WriteString(text)
			close(d.changed)
			d.changed = make(chan struct{})
			d.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Lines returns the log lines so far that match.
func (d *Daemon) Lines(match func(Line) bool) []Line {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Line
	for _, l := range d.lines {
		if match(l) {
			out = append(out, l)
		}
	}
	return out
}

// Wait waits for a log line that matches, one that was there already included.
func (d *Daemon) Wait(ctx context.Context, match func(Line) bool) (Line, error) {
	for seen := 0; ; {
		d.mu.Lock()
		lines, changed := d.lines, d.changed
		d.mu.Unlock()
		for _, l := range lines[seen:] {
			if match(l) {
				return l, nil
			}
		}
		seen = len(lines)
		select {
		case <-changed:
		case <-d.exited:
			if d.mu.Lock(); len(d.lines) == seen {
				d.mu.Unlock()
				return Line{}, fmt.Errorf("sitesync ended (%v) without the expected line in its log:\n%s", d.err, d.Tail(20))
			}
			d.mu.Unlock()
		case <-ctx.Done():
			return Line{}, fmt.Errorf("no such line in the log of sitesync: %w\n%s", context.Cause(ctx), d.Tail(20))
		}
	}
}

// Tail returns the last n lines of the log, for errors.
func (d *Daemon) Tail(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for _, l := range d.lines[max(0, len(d.lines)-n):] {
		fmt.Fprintln(&b, l.Level, l.Message, l.Fields)
	}
	return b.String()
}

// Raw returns all that it has written, as it has written it.
func (d *Daemon) Raw() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.raw.String()
}

// Exit waits until the process has ended by itself and returns its exit status.
func (d *Daemon) Exit(ctx context.Context) (int, error) {
	select {
	case <-d.exited:
		d.ended.Store(true)
		return d.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("sitesync still runs: %w\n%s", context.Cause(ctx), d.Tail(20))
	}
}

// CPU is the processor time that the process has taken in all, user and system. It must have ended.
func (d *Daemon) CPU() time.Duration {
	<-d.exited
	return d.cmd.ProcessState.UserTime() + d.cmd.ProcessState.SystemTime()
}

// Stop stops it as a container runtime does, by SIGTERM. The error tells if that takes too long, in which
// case it is killed, if it ends with another status than 0, or if it had ended by itself and nobody has
// noticed by Exit. Stopping it again does nothing.
func (d *Daemon) Stop() error {
	if d.ended.Swap(true) {
		return nil
	}
	select {
	case <-d.exited:
		return fmt.Errorf("sitesync has ended by itself: %s\n%s", d.cmd.ProcessState, d.Tail(20))
	default:
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.exited:
	case <-time.After(stopTimeout):
		d.Kill()
		return fmt.Errorf("sitesync was still there %s after SIGTERM:\n%s", stopTimeout, d.Tail(20))
	}
	if d.err != nil {
		return fmt.Errorf("sitesync: %w\n%s", d.err, d.Tail(20))
	}
	return nil
}

// Signal sends it a signal.
func (d *Daemon) Signal(s os.Signal) error { return d.cmd.Process.Signal(s) }

// Kill ends it at once, as a power cut would, and returns when it is gone.
func (d *Daemon) Kill() {
	d.ended.Store(true)
	_ = d.cmd.Process.Kill() // it may be gone already
	<-d.exited
}
