package uploader

import (
	"maps"

	"sitesync/site"
)

// Counts are the numbers of an uploader, for metrics. They are since the start unless they say otherwise.
type Counts struct {
	Files       int64 // synced
	Bytes       int64 // synced
	FailedTries int64
	GivenUp     int64 // files that have no tries left
	Documents   int64 // that can't be worked with, now
	Transfers   int64 // that run now
	HungCalls   int64 // of the file system, that were given up and have not returned
	Holding     Holds // now
	Holds       Holds
}

// Holds is a number of holds by the kind of their target.
type Holds map[TargetKind]int

// Counts returns the numbers as they are now.
func (u *Uploader) Counts() Counts {
	c := Counts{
		Files:       u.synced.Load(),
		Bytes:       u.bytes.Load(),
		FailedTries: u.failed.Load(),
		GivenUp:     u.givenUp.Load(),
		Documents:   u.reports.count(),
		Transfers:   u.running.Load(),
	}
	if staller, ok := u.Source.(site.Staller); ok {
		c.HungCalls = int64(staller.Stalled())
	}
	c.Holding, c.Holds = u.holds.counts()
	return c
}

// counts returns how many holds there are, and how many there have been.
func (h *breakers) counts() (now, begun Holds) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.kinds), maps.Clone(h.begun)
}
