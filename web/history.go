package web

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/uploader"
)

const (
	// maxRecent is how many representations are remembered as just synced.
	maxRecent = 50

	// groupWithin is the maximum time between two files of a representation that are shown as one line, and
	// maxInterleaved how many representations may be synced at the same time.
	groupWithin    = time.Minute
	maxInterleaved = 8

	// chartMinutes is how long the chart is.
	chartMinutes = 60
)

// history remembers what was synced: the last representations, and the totals of each minute of the last hour. Adding a
// file is cheap; texts are made when a page is open. Its zero value is ready.
type history struct {
	mu      sync.Mutex
	recent  []syncedGroup // the last one last
	minutes [chartMinutes + 1]minute
}

// syncedGroup is files of a representation that were synced at about the same time.
type syncedGroup struct {
	Key              avalon.Key
	Path             string // of the last file
	Files            int64
	Bytes            int64
	Fastest, Slowest time.Duration // reactions
	At               time.Time     // of the last file
}

// minute is what was synced in one minute.
type minute struct {
	at           int64 // minutes since 1970
	files, bytes int64
}

// add adds a file.
func (h *history) add(f uploader.SyncedFile, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.minute(now.Unix() / 60)
	m.files++
	m.bytes += f.Bytes

	group := syncedGroup{Key: f.Key, Fastest: f.Reaction, Slowest: f.Reaction}
	for i := len(h.recent) - 1; i >= max(0, len(h.recent)-maxInterleaved); i-- {
		if r := h.recent[i]; r.Key == f.Key && now.Sub(r.At) < groupWithin {
			group = r
			h.recent = slices.Delete(h.recent, i, i+1)
			break
		}
	}
	group.Files++
	group.Bytes += f.Bytes
	group.Fastest, group.Slowest = min(group.Fastest, f.Reaction), max(group.Slowest, f.Reaction)
	group.Path, group.At = f.Path, now
	if len(h.recent) == maxRecent {
		h.recent = slices.Delete(h.recent, 0, 1)
	}
	h.recent = append(h.recent, group)
}

// minute returns the entry of a minute, cleared of an earlier hour.
func (h *history) minute(at int64) *minute {
	m := &h.minutes[at%int64(len(h.minutes))]
	if m.at != at {
		*m = minute{at: at}
	}
	return m
}

// last returns at most limit groups, the last one first.
func (h *history) last(limit int) []syncedGroup {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := slices.Clone(h.recent[max(0, len(h.recent)-limit):])
	slices.Reverse(last)
	return last
}

// hour returns what was synced in each of the last minutes, this one last.
func (h *history) hour(now time.Time) (hour [chartMinutes]minute) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range hour {
		hour[i] = *h.minute(now.Unix()/60 - int64(len(hour)-1-i))
	}
	return hour
}

// chart is the last hour as two rows of bars.
type chart struct {
	Files, Bytes       string // paths of an SVG, chartMinutes*10 wide and chartHeight high
	MaxFiles, MaxBytes int64  // in a minute
	SumFiles, SumBytes int64
}

const chartHeight = 60

func newChart(hour [chartMinutes]minute) (c chart) {
	c.Files, c.MaxFiles, c.SumFiles = bars(hour, func(m minute) int64 { return m.files })
	c.Bytes, c.MaxBytes, c.SumBytes = bars(hour, func(m minute) int64 { return m.bytes })
	return c
}

// bars draws a row of bars, each high enough to be seen, and returns the highest number and the sum of all.
func bars(hour [chartMinutes]minute, count func(minute) int64) (path string, highest, sum int64) {
	for _, m := range hour {
		highest, sum = max(highest, count(m)), sum+count(m)
	}
	for i, m := range hour {
		if n := count(m); n > 0 {
			h := max(float64(n)/float64(highest)*chartHeight, 2)
			path += fmt.Sprintf("M%d %dv-%.1fh8v%.1fz", i*10+1, chartHeight, h, h)
		}
	}
	return path, highest, sum
}

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
