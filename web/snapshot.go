package web

import "time"

// Snapshot is how sitesync is at one moment. The zero value is one that has just started. Counts are since the start.
type Snapshot struct {
	Idle     bool // remote_site is empty, so nothing is synced
	Stopping bool
	Majority string // what the replica set lacks for confirming writes, without names of hosts; empty if nothing

	Lease    Lease
	Watcher  Watcher
	Queue    Queue
	Uploader Uploader
	Paused   Paused
	Drive    Drive
}

// Lease says which of several sitesyncs on one database and remote site does the work.
type Lease struct {
	Held    bool // by this one
	Standby bool // this one waits for it

	// The holder, if it is another one and known.
	Host  string
	PID   int
	Since time.Time
}

// Watcher is how publishes are found.
type Watcher struct {
	Stream string           // state of the change stream, "closed" (or empty), "open" or "not available"
	Opened int64            // change streams
	Lost   map[string]int64 // change streams, by reason; the reasons must be few

	Polls         bool // the fallback poll is used
	PollFailing   bool // the last one that has ended failed
	PollRuns      int64
	PollFailures  int64
	PollSucceeded time.Time // when the last good one ended; zero if none has
}

// streamOpen is the state in which publishes are seen within milliseconds.
const streamOpen = "open"

// Queue is how many keys of representations wait.
type Queue struct {
	Live, Backlog int // to be looked at, by lane
	Delayed       int // for a later time: a failed try, or a source that is not there yet
}

// Uploader is what is uploaded.
type Uploader struct {
	Files       int64 // synced
	Bytes       int64 // synced
	FailedTries int64
	GivenUp     int64    // files that have failed retry_cnt times
	Documents   int64    // that can't be worked with, at the moment
	Transfers   int64    // that run at the moment
	HungCalls   int64    // of the studio's storage, that have not returned
	Holding     Holds    // at the moment
	Holds       Holds    // since the start
	Held        []string // what Holding counts, by name
}

// Holds counts what uploads are held by.
type Holds struct {
	Site           int64 // all uploads: credentials, quota, the only root on Drive
	RemoteRoots    int64 // one root of several on Drive each
	LocalRoots     int64 // a root of the studio's storage each
	ProjectFolders int64 // a folder below one each
	Settings       int64 // roots of documents that the settings don't know
	LargeFiles     int64 // files larger than the room that is left
	NewFiles       int64 // what would be created where no more may be
}

// Paused is what people have paused.
type Paused struct {
	Site     bool
	Projects int
}

// Drive is what is asked of Google Drive.
type Drive struct {
	Requests  map[Request]int64
	Throttled int64   // answers that said that we are too fast
	Limit     float64 // requests a second that we allow ourselves; infinite if Drive has set no limit so far
}

// Request is a class of requests. There must be few.
type Request struct {
	Kind    string // such as "files.list"
	Outcome string // such as "ok"
}
