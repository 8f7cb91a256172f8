package uploader

import (
	"sitesync/site"
)

// Stats are the numbers of an uploader, since it was made unless they say otherwise.
type Stats struct {
	Synced       int64 // files uploaded and recorded
	SyncedBytes  int64 // of those
	FailedTries  int64
	FailedFiles  int64 // that have no tries left
	InvalidDocs  int64 // now; see invalidDocs
	Deferred     int64 // times that a file was left to a later poll as something is held
	Transfers    int64 // that run now
	StalledCalls int64 // of the file system, that were given up and have not returned
	Holding      Holds // now
	Holds        Holds
}

// Holds is a number of holds by the kind of their target.
type Holds map[TargetKind]int

// Stats returns the numbers as they are now.
func (u *Uploader) Stats() Stats {
	s := Stats{
		Synced: u.synced.Load(), SyncedBytes: u.bytes.Load(), FailedTries: u.failedTries.Load(),
		FailedFiles: u.failedFiles.Load(), InvalidDocs: u.reports.count(), Deferred: u.deferred.Load(),
		Transfers: u.running.Load(),
	}
	if staller, ok := u.Source.(site.Staller); ok {
		s.StalledCalls = int64(staller.Stalled())
	}
	s.Holding, s.Holds = u.holds.counts()
	return s
}
