package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// terminal is where the demo shows itself: a terminal, or anything else that takes text.
type terminal struct {
	out   io.Writer
	fd    int
	live  bool // it can be drawn on
	color bool
}

func openTerminal(out io.Writer) *terminal {
	t := &terminal{out: out}
	if f, ok := out.(*os.File); ok {
		t.fd = int(f.Fd())
		t.live = term.IsTerminal(t.fd) && os.Getenv("TERM") != "dumb"
	}
	t.color = t.live && os.Getenv("NO_COLOR") == "" // https://no-color.org
	return t
}

// size is the width and height in characters.
func (t *terminal) size() (width, height int) {
	if t.live {
		if w, h, err := term.GetSize(t.fd); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 100, 30
}

// display shows the tracker until it is closed; closing it again does nothing.
type display interface{ close() }

func (t *terminal) display(tr *tracker) display {
	if t.live {
		return startLive(t, tr)
	}
	tr.notify = func(e event) { fmt.Fprintln(t.out, eventLine(e)) }
	return plain{}
}

// plain shows events, as they come, a line each.
type plain struct{}

func (plain) close() {}

// Sequences that every terminal of today knows. Between the last two a terminal that can holds back what it
// shows, so that no half picture is seen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearRight  = "\x1b[K"
	clearBelow  = "\x1b[J"
	beginUpdate = "\x1b[?2026h"
	endUpdate   = "\x1b[?2026l"
)

// live draws the tracker over and over on the terminal's other screen.
type live struct {
	terminal *terminal
	tracker  *tracker
	stop     chan struct{}
	stopped  chan struct{}
	once     sync.Once
}

const (
	// redraw is the time between two pictures.
	redraw = 100 * time.Millisecond
	// lastPicture is the height of the one that stays.
	lastPicture = 30
)

func startLive(t *terminal, tr *tracker) *live {
	l := &live{terminal: t, tracker: tr, stop: make(chan struct{}), stopped: make(chan struct{})}
	fmt.Fprint(t.out, enterScreen)
	go func() {
		defer close(l.stopped)
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			l.draw()
			select {
			case <-tick.C:
			case <-l.stop:
				return
			}
		}
	}()
	return l
}

func (l *live) draw() {
	width, height := l.terminal.size()
	lines := render(l.tracker.snapshot(), width, height, l.terminal.color)
	fmt.Fprint(l.terminal.out, beginUpdate+home+strings.Join(lines, clearRight+"\r\n")+clearRight+clearBelow+endUpdate)
}

// close restores the terminal, and leaves the last picture on it.
func (l *live) close() {
	l.once.Do(func() {
		close(l.stop)
		<-l.stopped
		fmt.Fprint(l.terminal.out, leaveScreen)
		width, _ := l.terminal.size()
		picture := strings.Join(render(l.tracker.snapshot(), width, lastPicture, l.terminal.color), "\n")
		fmt.Fprintln(l.terminal.out, strings.TrimRight(picture, "\n"))
	})
}

// steps shows the steps of the start.
type steps struct{ term *terminal }

// do does one step. After a few seconds the hint is given, which may be empty.
func (s *steps) do(what, hint string, step func() error) error {
	const hintAfter = 3 * time.Second
	if hint != "" {
		hint = " (" + hint + ")"
	}
	start := time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	every := 10 * time.Second
	if s.term.live {
		every = time.Second
		fmt.Fprintf(s.term.out, "  %s ...", what)
	} else {
		fmt.Fprintf(s.term.out, "%s ...\n", what)
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			passed := time.Since(start).Round(time.Second)
			line := fmt.Sprintf("%s ... %s", what, passed)
			if passed >= hintAfter {
				line += hint
			}
			if s.term.live {
				width, _ := s.term.size()
				fmt.Fprint(s.term.out, "\r  "+shorten(line, width-3)+clearRight)
			} else {
				fmt.Fprintln(s.term.out, "still "+line)
			}
		}
	}()
	err := step()
	close(done)
	<-ended
	if s.term.live {
		mark := paint(s.term.color, green, "✓")
		if err != nil {
			mark = paint(s.term.color, red, "✗")
		}
		fmt.Fprintf(s.term.out, "\r%s %s, %.1f s%s\n", mark, what, time.Since(start).Seconds(), clearRight)
	}
	return err
}
