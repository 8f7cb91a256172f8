// Package duration writes durations for people.
package duration

import (
	"fmt"
	"regexp"
	"time"
)

// Exact is a duration without the zeros at its end, as the settings take it: 24h, not 24h0m0s.
func Exact(d time.Duration) string {
	return zeros.ReplaceAllString(d.String(), "$1$2")
}

var zeros = regexp.MustCompile(`(h)0m0s$|(m)0s$`)

// Rough is a duration in one unit, rounded down: 59 s, 3 min, 47 h, 3 days. One below 0 counts as 0.
func Rough(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/day)
}
