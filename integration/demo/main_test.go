package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sitesync/integration/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a demo that has everything, in a few seconds.
var small = settings{Duration: 4 * time.Second, Rate: 5, Frames: 20, Cache: 8}

// temporary has the demo use a temporary folder of the test, which must be empty in the end.
func temporary(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(dir, "sitesync*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestDemo(t *testing.T) {
	temporary(t)
	var out strings.Builder
	if err := run(t.Context(), t.Context(), small, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	numbers := regexp.MustCompile(`published +(\d+) representations in .*\n` +
		`synced +(\d+) representations, (\d+) files.*\n` +
		`compared +(\d+) MD5s.*; 0 wrong\n`).FindStringSubmatch(out.String())
	if numbers == nil {
		t.Fatalf("there is no summary:\n%s", out.String())
	}
	// Few are published on a machine that is busy, but everything is there.
	if n, _ := strconv.Atoi(numbers[1]); n < 8 || numbers[1] != numbers[2] || numbers[3] != numbers[4] {
		t.Errorf("published, synced, files and files compared are %v", numbers[1:])
	}
	for _, want := range []string{"20 files", "8.0 MiB", "render  ", "try 1 of 3: ", "try 3 of 3: ",
		"is not a regular file but a folder",
		"sitesync's page: http://127.0.0.1:", "sitesync explain: Do: ", "EXPLAINED", "\n  Do: ", "  repaired ",
		"  after the repair "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

// A first Ctrl-C: what is published is synced and summed up.
func TestFinish(t *testing.T) {
	temporary(t)
	finish, end := context.WithCancelCause(t.Context())
	s := small
	s.Forever = true
	out := &testenv.TriggerWriter{Text: "published ", Trigger: func() { end(errInterrupted) }}
	if err := run(t.Context(), finish, s, out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "Everything that was published is synced") {
		t.Errorf("there is no summary:\n%s", out.String())
	}
}

// A second Ctrl-C: an end at once, but everything is cleaned up.
func TestAbort(t *testing.T) {
	for name, at := range map[string]string{"starting": "starting a MongoDB", "publishing": "  published "} {
		t.Run(name, func(t *testing.T) {
			temporary(t)
			ctx, abort := context.WithCancelCause(t.Context())
			s := small
			s.Forever = true
			out := &testenv.TriggerWriter{Text: at, Trigger: func() { abort(errInterrupted) }}
			if err := run(ctx, ctx, s, out); !errors.Is(err, errInterrupted) {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// What is done for people on a terminal is undone.
func TestLiveRestoresTheTerminal(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b := newTracker(small, func() int { return 0 })
	d := startLive(&terminal{out: out, fd: int(out.Fd()), live: true}, b)
	d.close()
	d.close()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	drawn, after, ok := strings.Cut(string(text), leaveScreen)
	if !ok || !strings.HasPrefix(drawn, enterScreen) || !strings.HasSuffix(drawn, endUpdate) ||
		strings.Contains(after, "\x1b") {
		t.Errorf("written is %q", text)
	}
}
