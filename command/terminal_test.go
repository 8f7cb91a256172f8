package command

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Progress is shown at a terminal only, and only if it takes long. In the end nothing of it is left.
func TestProgress(t *testing.T) {
	for _, test := range []struct {
		terminal bool
		takes    time.Duration
		want     string
	}{
		{true, progressAfter - 1, ""},
		{true, progressAfter + 1, "\r\x1b[Kreading the projects, 3 of 12 done ...\r\x1b[K"},
		{false, time.Hour, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			p := startProgress(&out, test.terminal)
			p.set("reading the projects, %d of %d done ...", 3, 12)
			time.Sleep(test.takes)
			p.stop()
			if got := out.String(); got != test.want {
				t.Errorf("terminal %v, %v: it says %q", test.terminal, test.takes, got)
			}
		})
	}
}

// One file is, several are.
func TestAgree(t *testing.T) {
	t.Parallel()
	for does, want := range map[string]string{
		"are here already": "is here already", "have failed": "has failed", "had been asked for": "had been asked for",
		"wait": "waits", "are": "is",
	} {
		if got := agree(1, does); got != want {
			t.Errorf("one %q, want %q", got, want)
		}
		if got := agree(2, does); got != does {
			t.Errorf("two %q, want %q", got, does)
		}
	}
}
