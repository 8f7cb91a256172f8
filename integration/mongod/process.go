package mongod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// poll is how often a condition is looked at while waiting for it.
const poll = 2 * time.Millisecond

// errPortTaken says that another process took the port between its choice and
// mongod's bind.
var errPortTaken = errors.New("the port was taken by another process")

// exitNetwork is mongod's exit code when it cannot listen.
const exitNetwork = 48

// process is one run of one mongod.
type process struct {
	cmd     *exec.Cmd
	logPath string
	logFrom int64         // where this run's log starts in the file
	done    chan struct{} // closed once the process has ended and is reaped
}

// startProcess starts mongod with its output appended to logPath.
func startProcess(path string, args []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, args...), logPath: logPath, logFrom: from, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = attributes()

	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the starting thread
		// ends, not the process: keep the thread as long as mongod runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is read from ProcessState
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// listening waits until mongod says in its log that it takes connections. The log
// is asked rather than the port because another process might answer there.
func (p *process) listening(ctx context.Context) error {
	for {
		log, err := p.log()
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte(`"id":23016,`)) { // "Waiting for connections"
			return nil
		}
		select {
		case <-p.done:
			if p.cmd.ProcessState.ExitCode() == exitNetwork {
				return errPortTaken
			}
			log, _ := p.log()
			return fmt.Errorf("mongod ended while starting: %v; the end of its log:\n%s", p.cmd.ProcessState,
				tail(log, 2000))
		default:
		}
		if err := pause(ctx, poll); err != nil {
			return fmt.Errorf("mongod does not take connections: %w; the end of its log:\n%s", err, tail(log, 2000))
		}
	}
}

// log returns what this run has logged so far.
func (p *process) log() ([]byte, error) {
	f, err := os.Open(p.logPath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(p.logFrom, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// running reports whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends s; a process that has ended already is not an error.
func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to mongod (pid %d): %w", s, p.cmd.Process.Pid, err)
	}
	return nil
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	<-p.done
	return nil
}

// tail returns the last n bytes of a text, from the start of a line if it can.
func tail(text []byte, n int) string {
	text = bytes.TrimSpace(text)
	if len(text) <= n {
		return string(text)
	}
	text = text[len(text)-n:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return string(text)
}

// pause waits between two looks at a condition, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
