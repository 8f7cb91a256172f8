package web

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/config"
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
	Direction        config.Direction
	Path             string // of the last file
	Files            int64
	Bytes            int64
	Fastest, Slowest time.Duration // reactions
	At               time.Time     // of the last file
}

// minute is what was synced in one minute.
type minute struct {
	at       int64 // minutes since 1970
	up, down amount
}

// amount is a number of files, and of their bytes.
type amount struct{ files, bytes int64 }

// of is the part of a direction.
func (m *minute) of(d config.Direction) *amount {
	if d == config.Down {
		return &m.down
	}
	return &m.up
}

// add adds a file.
func (h *history) add(f uploader.SyncedFile, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.minute(now.Unix() / 60).of(f.Direction)
	n.files++
	n.bytes += f.Bytes

	group := syncedGroup{Key: f.Key, Direction: f.Direction, Fastest: f.Reaction, Slowest: f.Reaction}
	for i := len(h.recent) - 1; i >= max(0, len(h.recent)-maxInterleaved); i-- {
		if r := h.recent[i]; r.Key == f.Key && r.Direction == f.Direction && now.Sub(r.At) < groupWithin {
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

// chart is the last hour as two rows of bars. What was downloaded stands on what was uploaded.
type chart struct {
	Files, Bytes bars
}

// bars are a row of bars.
type bars struct {
	Up, Down       string // paths of an SVG, chartMinutes*10 wide and chartHeight high
	Max            int64  // in a minute, both ways together
	SumUp, SumDown int64
}

// Sum is what was synced both ways.
func (b bars) Sum() int64 { return b.SumUp + b.SumDown }

const chartHeight = 60

func newChart(hour [chartMinutes]minute) chart {
	return chart{
		Files: newBars(hour, func(a amount) int64 { return a.files }),
		Bytes: newBars(hour, func(a amount) int64 { return a.bytes }),
	}
}

// newBars draws a row of bars. What is not 0 is high enough to be seen.
func newBars(hour [chartMinutes]minute, count func(amount) int64) (b bars) {
	for _, m := range hour {
		up, down := count(m.up), count(m.down)
		b.Max, b.SumUp, b.SumDown = max(b.Max, up+down), b.SumUp+up, b.SumDown+down
	}
	const lowest = 2.0
	height := func(n int64) float64 {
		if n == 0 {
			return 0
		}
		return max(float64(n)/float64(b.Max)*chartHeight, lowest)
	}
	bar := func(i int, from, h float64) string {
		if h == 0 {
			return ""
		}
		return fmt.Sprintf("M%d %.4gv-%.1fh8v%.1fz", i*10+1, chartHeight-from, h, h)
	}
	for i, m := range hour {
		up, down := height(count(m.up)), height(count(m.down))
		if down > 0 {
			up = min(up, chartHeight-lowest) // leaves place for what stands on it
		}
		up = math.Round(up*10) / 10
		b.Up += bar(i, 0, up)
		b.Down += bar(i, up, min(down, chartHeight-up))
	}
	return b
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
	direction config.Direction
	id        uint64
	began     time.Time
}

// sample is the progress of a transfer at one time.
type sample struct {
	at        time.Time
	sent      int64
	perSecond float64 // 0 if not known yet
}

// measure sets the speeds of all transfers that run, where they are known.
func (s *speeds) measure(transfers []transferRow, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := make(map[transferKey]sample, len(transfers))
	for i := range transfers {
		t := &transfers[i]
		k := transferKey{t.Direction, t.ID, t.Began}
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
		samples[k], t.Speed = last, last.perSecond
		if age := now.Sub(t.Began); last.perSecond == 0 && age >= minTransferAge {
			t.Speed = float64(t.Sent) / age.Seconds()
		}
	}
	s.samples = samples
}
