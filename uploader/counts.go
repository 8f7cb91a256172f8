package uploader

import "sitesync/site"

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

// Holds counts what holds uploads up, by kind of target.
type Holds struct {
	Site           int64 // the site as a whole
	RemoteRoots    int64 // one root of several on the site each
	LocalRoots     int64 // a root of the storage each
	ProjectFolders int64 // a folder below one each
	Settings       int64 // roots of documents that the settings do not know
	LargeFiles     int64 // files larger than the room that is left
	NewFiles       int64 // what would be created where no more may be
}

func (h *Holds) add(k TargetKind) {
	switch k {
	case SiteTarget:
		h.Site++
	case RemoteRoot:
		h.RemoteRoots++
	case LocalRoot:
		h.LocalRoots++
	case ProjectFolder:
		h.ProjectFolders++
	case Settings:
		h.Settings++
	case LargeFiles:
		h.LargeFiles++
	case NewFiles:
		h.NewFiles++
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
	if staller, ok := u.Source.(site.Staller); ok {
		c.HungCalls = int64(staller.Stalled())
	}
	c.Holding, c.Holds = u.holds.counts()
	return c
}

// counts tells how many holds there are, and how many there have been.
func (h *holds) counts() (now, begun Holds) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		now.add(held.Kind)
	}
	return now, h.begun
}
