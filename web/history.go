package web

import (
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
		at := now.Unix()/60 - int64(len(hour)-1-i)
		hour[i] = *h.minute(at)
	}
	return hour
}
