package duration_test

import (
	"testing"
	"time"

	"sitesync/duration"
)

func TestExact(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Minute: "10m",
		time.Hour: "1h", time.Hour + 30*time.Minute: "1h30m", 24 * time.Hour: "24h", time.Hour + time.Second: "1h0m1s",
	} {
		if got := duration.Exact(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestRough(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 59*time.Second + 1: "59 s", time.Minute: "1 min", time.Hour - 1: "59 min",
		time.Hour: "1 h", 48*time.Hour - 1: "47 h", 48 * time.Hour: "2 days", 1000 * 24 * time.Hour: "1000 days",
	} {
		if got := duration.Rough(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
