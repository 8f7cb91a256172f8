package web

import (
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

// Snapshot is the state of sitesync at one moment. The zero value is one that has just started.
type Snapshot struct {
	Idle     bool // remote_site is empty, so nothing is synced
	Stopping bool
	Majority string // what the replica set lacks for confirming writes, without names of hosts; empty if nothing
	Lease    state.LeaseState

	// How publishes are found.
	Stream  watcher.State
	Streams watcher.StreamCounts
	Polling bool // the fallback poll is used
	Polls   watcher.PollCounts
	Queue   Queue

	Uploader uploader.Stats
	Activity uploader.Activity
	Paused   uploader.Paused
	Site     site.Stats
}

// Queue counts the keys of representations that wait.
type Queue struct {
	Live, Backlog int // to be processed, by lane
	Delayed       int // until later: after a failed try, or as a source is not there yet
}

// standby reports whether another process holds the lease.
func (s *Snapshot) standby() bool { return !s.Lease.Held && s.Lease.Holder != nil }

// polls reports whether publishes are found by the poll.
func (s *Snapshot) polls() bool { return s.Polling && !s.Polls.Failing }
