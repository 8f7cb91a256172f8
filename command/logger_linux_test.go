package command

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sitesync/config"
)

// terminal opens a terminal: what is written to tty can be read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}

// Colors are for terminals: in a file or a pipe they are garbage.
func TestLogColors(t *testing.T) {
	log := func(out *os.File, format string) {
		t.Helper()
		logger, err := newLogger(&config.Config{LogFormat: format, LogLevel: "info"}, out)
		if err != nil {
			t.Fatal(err)
		}
		logger.Warn("the message")
	}
	onTerminal := func(format string) string {
		t.Helper()
		screen, tty := terminal(t)
		log(tty, format)
		line, err := bufio.NewReader(screen).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	inFile := func(format string) string {
		t.Helper()
		f, err := os.CreateTemp(t.TempDir(), "log")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		log(f, format)
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const escape = "\x1b["
	for _, test := range []struct {
		name, term, noColor string
		line                func(format string) string
		colors              map[string]bool // by format
	}{
		{"terminal", "xterm", "", onTerminal, map[string]bool{"auto": true, "console": true, "json": false}},
		{"file", "xterm", "", inFile, map[string]bool{"auto": false, "console": false, "json": false}},
		{"NO_COLOR", "xterm", "1", onTerminal, map[string]bool{"auto": false, "console": false}},
		{"dumb terminal", "dumb", "", onTerminal, map[string]bool{"auto": false, "console": false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TERM", test.term)
			t.Setenv("NO_COLOR", test.noColor)
			for format, want := range test.colors {
				line := test.line(format)
				if !strings.Contains(line, "the message") || strings.Contains(line, escape) != want {
					t.Errorf("%s: %q, colors wanted: %t", format, line, want)
				}
			}
		})
	}
}
