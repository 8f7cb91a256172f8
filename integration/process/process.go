package process

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

// Options are the settings of a sitesync process.
type Options struct {
	Binary   string // see Build
	Presets  string // folder of the two files
	Mongo    string // connection string
	Database string
	State    string    // sitesync's own database; "" for the default
	Args     []string  // further arguments, after "run"; without --listen among them nothing is served
	Env      []string  // further variables, NAME=VALUE
	Log      io.Writer // receives a copy of the log; may be nil
}

// Line is one line of the log.
type Line struct {
	Level   string
	Message string
	Fields  map[string]any // all of the line
}

// Float returns a number, 0 if there is no such field.
func (l Line) Float(field string) float64 {
	f, _ := l.Fields[field].(float64)
	return f
}

// Text returns a string, "" if there is no such field.
func (l Line) Text(field string) string {
	s, _ := l.Fields[field].(string)
	return s
}

// Message matches lines that contain the text in their message.
func Message(text string) func(Line) bool {
	return func(l Line) bool { return strings.Contains(l.Message, text) }
}

// Process is a running sitesync.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error       // of Wait, once exited is closed
	ended  atomic.Bool // by Stop or Kill, or Exit has returned its status

	mu      sync.Mutex
	changed chan struct{}
	lines   []Line
	raw     strings.Builder
}

// Start starts "sitesync run".
func Start(o Options) (*Process, error) {
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
	p := &Process{cmd: cmd, exited: make(chan struct{}), changed: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the starting thread ends, not the process: keep the thread
		// as long as sitesync runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			defer close(p.exited)
			p.read(stderr, o.Log)
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start sitesync: %w", err)
	}
	return p, nil
}

// read reads the log until its end.
func (p *Process) read(r io.Reader, copy io.Writer) {
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
			p.mu.Lock()
			p.lines = append(p.lines, l)
			p.raw.WriteString(text)
			close(p.changed)
			p.changed = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Lines returns the log lines so far that match.
func (p *Process) Lines(match func(Line) bool) []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Line
	for _, l := range p.lines {
		if match(l) {
			out = append(out, l)
		}
	}
	return out
}

// Wait waits for a log line that matches; one that was logged before counts.
func (p *Process) Wait(ctx context.Context, match func(Line) bool) (Line, error) {
	for seen := 0; ; {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for _, l := range lines[seen:] {
			if match(l) {
				return l, nil
			}
		}
		seen = len(lines)
		select {
		case <-changed:
		case <-p.exited:
			if p.mu.Lock(); len(p.lines) == seen {
				p.mu.Unlock()
				return Line{}, fmt.Errorf("sitesync ended (%v) without the expected log line:\n%s", p.err, p.Tail(20))
			}
			p.mu.Unlock()
		case <-ctx.Done():
			return Line{}, fmt.Errorf("sitesync has not logged the expected line: %w\n%s", context.Cause(ctx),
				p.Tail(20))
		}
	}
}

// Tail returns the last n lines of the log, for errors.
func (p *Process) Tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, l := range p.lines[max(0, len(p.lines)-n):] {
		fmt.Fprintln(&b, l.Level, l.Message, l.Fields)
	}
	return b.String()
}

// Raw returns the log as it was written.
func (p *Process) Raw() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw.String()
}

// Exit waits until sitesync has ended and returns its exit status.
func (p *Process) Exit(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
		p.ended.Store(true)
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("sitesync still runs: %w\n%s", context.Cause(ctx), p.Tail(20))
	}
}

// CPU is the user and system time that the process has used. It waits for its end.
func (p *Process) CPU() time.Duration {
	<-p.exited
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Stop stops sitesync by SIGTERM, as container runtimes do. It returns an error if sitesync has to be killed after
// stopTimeout, if its exit status is not 0, or if it had ended before without a call of Exit. Calling it again does
// nothing.
func (p *Process) Stop() error {
	if p.ended.Swap(true) {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("sitesync had ended before: %s\n%s", p.cmd.ProcessState, p.Tail(20))
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("sitesync still ran %s after SIGTERM:\n%s", stopTimeout, p.Tail(20))
	}
	if p.err != nil {
		return fmt.Errorf("sitesync: %w\n%s", p.err, p.Tail(20))
	}
	return nil
}

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill kills sitesync and waits for its end.
func (p *Process) Kill() {
	p.ended.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}
