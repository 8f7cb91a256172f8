package site

import (
	"fmt"
	"time"

	"sitesync/duration"
)

// clockTolerance is how far clocks may be apart before that is reported. Google accepts signatures by a clock that is
// some minutes off, and an answer, which has the time of its beginning, may be on its way for seconds.
const clockTolerance = time.Minute

// ClocksDiffer reports whether two clocks differ so much that one should be set.
func ClocksDiffer(ahead time.Duration) bool { return ahead.Abs() >= clockTolerance }

// ClockTrouble says how wrong the clock of this machine is, which is that far ahead of another one (negative: behind),
// and what to do. It is empty if the clock is right.
func ClockTrouble(ahead time.Duration, other string) string {
	return ClockOf("this machine", ahead, other)
}

// ClockOf is ClockTrouble for another machine. It is rounded to minutes, so that the text stays the same.
func ClockOf(machine string, ahead time.Duration, other string) string {
	if !ClocksDiffer(ahead) {
		return ""
	}
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	apart := duration.Exact(ahead.Abs().Round(time.Minute))
	return fmt.Sprintf("the clock of %s is %s %s %s; set it right, best by NTP", machine, apart, way, other)
}
