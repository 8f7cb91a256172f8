package site

import (
	"testing"
	"time"
)

func TestClockTrouble(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		0:                               "",
		59 * time.Second:                "",
		-59 * time.Second:               "",
		time.Minute:                     "the clock of this machine is 1m ahead of google's; set it right, best by NTP",
		-7*time.Minute - 20*time.Second: "the clock of this machine is 7m behind google's; set it right, best by NTP",
		2*time.Hour + 3*time.Second:     "the clock of this machine is 2h ahead of google's; set it right, best by NTP",
		-25*time.Hour - 10*time.Minute: "the clock of this machine is 25h10m behind google's; " +
			"set it right, best by NTP",
		time.Duration(-1 << 63): "the clock of this machine is 2562047h47m behind google's; " +
			"set it right, best by NTP",
	} {
		if got := ClockTrouble(ahead, "google's"); got != want {
			t.Errorf("%v: %q, want %q", ahead, got, want)
		}
	}
}
