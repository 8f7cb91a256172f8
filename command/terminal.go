package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// sanitize replaces what could control a terminal in a text that others wrote.
func sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// agree returns what so many things do, which begins with a verb in the plural: they "are here", one "is here".
func agree(n int64, does string) string {
	verb, _, _ := strings.Cut(does, " ")
	singular := map[string]string{"are": "is", "have": "has", "wait": "waits", "name": "names"}
	if one := singular[verb]; n == 1 && one != "" {
		return one + does[len(verb):]
	}
	return does
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// colored reports whether an output is a terminal that may have colors.
func colored(out *os.File) bool {
	return isTerminal(out) && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == "" // https://no-color.org
}

// style is a parameter of the escape sequence SGR.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// styledText is text that may have colors.
type styledText struct {
	strings.Builder
	color bool
}

func (t *styledText) style(s style, text string) string {
	if !t.color || s == plain {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func (t *styledText) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// cell is a cell of a table.
type cell struct {
	text  string
	style style
}

// table aligns the first column left, the others right. (A tabwriter would count colors as text.)
func (t *styledText) table(rows [][]cell) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if i == 0 {
				line.WriteString(t.style(c.style, c.text) + pad)
			} else {
				line.WriteString("  " + pad + t.style(c.style, c.text))
			}
		}
		t.line("%s", strings.TrimRight(line.String(), " "))
	}
}

const (
	progressAfter    = 2 * time.Second // less is no wait
	progressInterval = 200 * time.Millisecond
)

// progressPrinter shows at a terminal how far something is that takes long.
type progressPrinter struct {
	line atomic.Value // string
	end  chan struct{}
	wg   sync.WaitGroup
}

// startProgress returns a printer. stop must follow.
func startProgress(out io.Writer, terminal bool) *progressPrinter {
	p := &progressPrinter{end: make(chan struct{})}
	p.set("working ...")
	if !terminal {
		return p
	}
	p.wg.Go(func() {
		clear := ""
		for wait := progressAfter; ; wait = progressInterval {
			select {
			case <-time.After(wait):
				clear = "\r\x1b[K"
				fmt.Fprint(out, clear, p.line.Load())
			case <-p.end:
				fmt.Fprint(out, clear)
				return
			}
		}
	})
	return p
}

// set sets what is shown.
func (p *progressPrinter) set(format string, args ...any) { p.line.Store(fmt.Sprintf(format, args...)) }

// stop removes what was shown.
func (p *progressPrinter) stop() {
	close(p.end)
	p.wg.Wait()
}
