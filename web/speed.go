package web

import (
	"sync"
	"time"

	"sitesync/uploader"
)

const (
	// sampleInterval is the minimum interval between two samples of how much of a transfer was sent.
	sampleInterval = time.Second

	// minTransferAge is how old a transfer must be for its average speed to mean something.
	minTransferAge = 500 * time.Millisecond
)

// speeds measure how fast transfers are, by samples. The zero value is ready.
type speeds struct {
	mu      sync.Mutex
	samples map[transferKey]sample
}

// transferKey tells transfers apart, also of uploaders that have run one after the other.
type transferKey struct {
	id    uint64
	began time.Time
}

// sample is the progress of a transfer at one time.
type sample struct {
	at        time.Time
	sent      int64
	perSecond float64 // 0 if not known yet
}

// measure returns the speeds of all transfers that run, in bytes a second; 0 where it is not known.
func (s *speeds) measure(transfers []uploader.Transfer, now time.Time) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := make(map[transferKey]sample, len(transfers))
	out := make([]float64, len(transfers))
	for i, t := range transfers {
		k := transferKey{t.ID, t.Began}
		last, ok := s.samples[k]
		passed := now.Sub(last.at)
		switch {
		case !ok:
			last = sample{at: now, sent: t.Sent}
		case passed >= sampleInterval:
			speed := max(float64(t.Sent-last.sent)/passed.Seconds(), 0)
			if last.perSecond > 0 {
				speed = (last.perSecond + speed) / 2
			}
			last = sample{now, t.Sent, speed}
		}
		samples[k], out[i] = last, last.perSecond
		if age := now.Sub(t.Began); last.perSecond == 0 && age >= minTransferAge {
			out[i] = float64(t.Sent) / age.Seconds()
		}
	}
	s.samples = samples
	return out
}
