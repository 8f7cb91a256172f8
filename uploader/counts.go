package uploader

// Counts are the numbers of an uploader, for metrics. They are since the start unless they say otherwise.
type Counts struct {
	Files       int64 // synced
	Bytes       int64 // synced
	FailedTries int64
	GivenUp     int64 // files that have no tries left
	Documents   int64 // that can't be worked with, now
	Transfers   int64 // that run now
	Holding     Holds // now
	Holds       Holds
}

// Holds counts what holds uploads up.
type Holds struct {
	Site       int64 // the site as a whole
	LocalRoots int64 // a root of the storage each
	Settings   int64 // roots of documents that the settings do not know
}

func (h *Holds) add(t trouble) {
	switch {
	case t.name == theSite:
		h.Site++
	case t.probe == nil:
		h.Settings++
	default:
		h.LocalRoots++
	}
}

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
	c.Holding, c.Holds = u.holds.counts()
	return c
}

// counts tells how many holds there are, and how many there have been.
func (h *holds) counts() (now, begun Holds) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		now.add(held.trouble)
	}
	return now, h.begun
}
