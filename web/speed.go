package web

import (
	"sync"
	"time"

	"sitesync/uploader"
)

const (
	// sampleEvery is the shortest time between two looks at how much of a transfer was sent.
	sampleEvery = time.Second

	// settled is when the speed of a transfer since its begin says something.
	settled = 500 * time.Millisecond
)

// speeds know how fast transfers are, from what earlier looks have seen. Its zero value is ready.
type speeds struct {
	mu   sync.Mutex
	seen map[transferKey]sample
}

type transferKey struct {
	id    uint64
	began time.Time
}

// sample is how a transfer was when it was last looked at.
type sample struct {
	at        time.Time
	sent      int64
	perSecond float64 // 0 if not known yet
}

// of returns the speeds of all transfers that run, bytes a second; 0 where it is not known.
func (s *speeds) of(transfers []uploader.Transfer, now time.Time) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[transferKey]sample, len(transfers))
	out := make([]float64, len(transfers))
	for i, t := range transfers {
		k := transferKey{t.ID, t.Began}
		last, ok := s.seen[k]
		passed := now.Sub(last.at)
		switch {
		case !ok:
			last = sample{at: now, sent: t.Sent}
		case passed >= sampleEvery:
			speed := max(float64(t.Sent-last.sent)/passed.Seconds(), 0)
			if last.perSecond > 0 {
				speed = (last.perSecond + speed) / 2
			}
			last = sample{now, t.Sent, speed}
		}
		seen[k], out[i] = last, last.perSecond
		if age := now.Sub(t.Began); last.perSecond == 0 && age >= settled {
			out[i] = float64(t.Sent) / age.Seconds()
		}
	}
	s.seen = seen
	return out
}
