package web

import (
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/uploader"
)

const (
	// mostRecent is how many representations are remembered as just synced.
	mostRecent = 50

	// together is the longest time between two files of a representation that are shown in one line.
	together = time.Minute

	// chartMinutes is how long the chart is.
	chartMinutes = 60
)

// history remembers what was synced: the last representations, and how much it was in each minute of the last hour. It
// costs a file an addition; texts are made when somebody looks. Its zero value is ready.
type history struct {
	mu      sync.Mutex
	recent  []synced // the last one last
	minutes [chartMinutes + 1]minute
}

// synced is a representation of which files were synced.
type synced struct {
	Key   avalon.Key
	Path  string // of the last file
	Files int64  // of the same representation, at about the same time
	Bytes int64
	First time.Duration // reaction of the fastest file
	Last  time.Duration // reaction of the slowest file
	At    time.Time
}

// minute is what was synced in one minute.
type minute struct {
	at           int64 // minutes since 1970
	files, bytes int64
}

// add takes note of a file.
func (h *history) add(f uploader.SyncedFile, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.minute(now.Unix() / 60)
	m.files++
	m.bytes += f.Bytes

	entry := synced{Key: f.Key, First: f.Reaction, Last: f.Reaction}
	// A sequence comes one file after the other, mixed with a few other representations.
	for i := len(h.recent) - 1; i >= max(0, len(h.recent)-8); i-- {
		if r := &h.recent[i]; r.Key == f.Key && now.Sub(r.At) < together {
			entry = *r
			h.recent = append(h.recent[:i], h.recent[i+1:]...)
			break
		}
	}
	entry.Files++
	entry.Bytes += f.Bytes
	entry.First, entry.Last = min(entry.First, f.Reaction), max(entry.Last, f.Reaction)
	entry.Path, entry.At = f.Path, now
	if len(h.recent) == mostRecent {
		h.recent = append(h.recent[:0], h.recent[1:]...)
	}
	h.recent = append(h.recent, entry)
}

// minute is the place of a minute, emptied of an earlier hour.
func (h *history) minute(at int64) *minute {
	m := &h.minutes[at%int64(len(h.minutes))]
	if m.at != at {
		*m = minute{at: at}
	}
	return m
}

// last returns what was synced last, the last one first.
func (h *history) last(most int) []synced {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []synced
	for i := len(h.recent) - 1; i >= 0 && len(out) < most; i-- {
		out = append(out, h.recent[i])
	}
	return out
}

// hour returns what was synced in each of the last minutes, this one last.
func (h *history) hour(now time.Time) (hour [chartMinutes]minute) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range hour {
		at := now.Unix()/60 - int64(len(hour)-1-i)
		hour[i] = minute{at: at}
		if m := h.minutes[at%int64(len(h.minutes))]; m.at == at {
			hour[i] = m
		}
	}
	return hour
}
