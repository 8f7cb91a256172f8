package drive

import (
	"testing"
	"time"
)

func TestBandwidth(t *testing.T) {
	const perSecond = 1000
	var b bandwidth
	start := time.Now()
	for _, step := range []struct {
		at   time.Duration // after the start
		n    int
		want time.Duration
	}{
		{0, 10, 0}, // too short to sleep, but not forgotten
		{0, 490, 500 * time.Millisecond},
		{0, 500, time.Second},
		{600 * time.Millisecond, 100, 500 * time.Millisecond},
		{time.Hour, 500, 500 * time.Millisecond}, // nothing was saved up meanwhile
	} {
		if got := b.reserve(step.n, perSecond, start.Add(step.at)); got != step.want {
			t.Errorf("%d bytes after %s wait %s, want %s", step.n, step.at, got, step.want)
		}
	}
}
