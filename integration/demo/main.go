package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

const description = `Shows sitesync at work on this machine: a real MongoDB, an emulated Google Drive, and a studio
that publishes single files, image sequences and big caches. One upload fails, is explained, and fixed. All MD5s are
compared in the end. sitesync's page can be opened meanwhile.

Examples:
  go run ./integration/demo
  go run ./integration/demo --forever --latency 100ms
  go run ./integration/demo --duration 10s | cat

Ctrl-C ends it early: what is published is synced first; a second Ctrl-C ends it at once.`

// settings are the command line.
type settings struct {
	Duration time.Duration `default:"30s" help:"How long the studio publishes, 1s or more."`
	Forever  bool          `help:"Publish until Ctrl-C."`
	Rate     float64       `default:"3" placeholder:"N" help:"Publishes per second, 0.1 to 100; default 3."`
	Latency  time.Duration `default:"0s" help:"Time that the emulated Drive takes for each request, 0s to 10s."`
	Frames   int           `default:"100" placeholder:"N" help:"Frames of an image sequence, 1 to 1000; default 100."`
	Cache    int64         `default:"200" placeholder:"MIB" help:"Size of the big cache, 1 to 500 MiB; default 200."`
}

// Validate is called by kong.
func (s settings) Validate() error {
	for _, check := range []struct {
		ok   bool
		text string
	}{
		{s.Duration >= time.Second, "--duration must be 1s or more"},
		{s.Rate >= 0.1 && s.Rate <= 100, "--rate must be 0.1 to 100 publishes per second"},
		{s.Latency >= 0 && s.Latency <= 10*time.Second, "--latency must be 0s to 10s"},
		{s.Frames >= 1 && s.Frames <= 1000, "--frames must be 1 to 1000"},
		{s.Cache >= 1 && s.Cache <= 500, "--cache must be 1 to 500 MiB"},
	} {
		if !check.ok {
			return errors.New(check.text)
		}
	}
	return nil
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("demo"), kong.Description(description))
	ctx, finish, stop := interrupts()
	err := run(ctx, finish, s, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errInterrupted = errors.New("interrupted")

// interrupts returns two contexts: finish ends with the first signal, ctx with the second. Both clean up, so no signal
// ends the process directly, nor does writing to a closed pipe.
func interrupts() (ctx, finish context.Context, stop func()) {
	ctx, abort := context.WithCancelCause(context.Background())
	finish, end := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if finish.Err() != nil || s == syscall.SIGHUP || s == syscall.SIGPIPE {
				abort(errInterrupted)
			}
			end(errInterrupted)
		}
	}()
	return ctx, finish, func() { signal.Stop(signals); close(signals); abort(nil); end(nil) }
}

// run is the demo. Publishing ends early when finish ends, all when ctx does. The error says that something is not
// synced, or not correct.
func run(ctx, finish context.Context, s settings, out io.Writer) (err error) {
	term := openTerminal(out)
	env, err := setUp(finish, s, term)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()

	fmt.Fprintf(term.out, "  sitesync's page: %s\n", env.Page())
	tracker := newTracker(s, env.Drive.TotalCalls)
	display := term.display(tracker)
	defer display.close()
	r := &runner{settings: s, env: env, tracker: tracker}
	if err := r.run(ctx, finish); err != nil {
		return err
	}
	if err := r.compareAll(ctx); err != nil {
		return err
	}
	tracker.enter(finished)
	display.close()
	return term.summary(tracker.snapshot())
}
