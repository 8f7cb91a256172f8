package command

import (
	"slices"
	"time"

	"sitesync/avalon"
	"sitesync/explain"
	"sitesync/state"
)

// status is the result of sitesync status. Its JSON is for scripts: fields may be added, but none changes or goes.
type status struct {
	At         time.Time       `json:"at"`
	ActiveSite string          `json:"active_site"`
	RemoteSite string          `json:"remote_site"` // "": nothing is synced
	Sitesync   leaseHolder     `json:"sitesync"`
	Paused     []state.Pause   `json:"paused"`
	Projects   []projectStatus `json:"projects"`
	Total      avalon.Stats    `json:"total"`
}

// leaseHolder is the process that syncs.
type leaseHolder struct {
	Runs   bool      `json:"runs"`
	Host   string    `json:"host,omitempty"` // of the last one, if none runs
	PID    int       `json:"pid,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Stream string    `json:"stream,omitempty"` // open, closed or not available
	Held   []string  `json:"held"`             // what holds uploads up
	Error  string    `json:"error,omitempty"`  // why this could not be read
}

type projectStatus struct {
	Project string `json:"project"`
	avalon.Stats
	FailedFiles []failedFile `json:"failed_files,omitempty"`
	Unfit       []unfit      `json:"unfit,omitempty"` // files that are held, as the settings do not fit them
	Error       string       `json:"error,omitempty"` // why the project could not be read
}

// unfit are files that the settings do not fit, as seen from this machine.
type unfit struct {
	Files  int64  `json:"files"`
	Reason string `json:"reason"`
}

type failedFile struct {
	Representation string    `json:"representation"`
	Path           string    `json:"path"`
	Tries          int       `json:"tries"`
	Error          string    `json:"error"`
	LastFailed     time.Time `json:"last_failed,omitzero"`
}

// leaseHolderOf is the process that holds the lease, or was the last one.
func leaseHolderOf(info *state.LeaseInfo, err error) leaseHolder {
	h := leaseHolder{Held: []string{}}
	if err != nil {
		h.Error = err.Error()
	}
	if info == nil {
		return h
	}
	h.Host, h.PID = info.Holder.Host, info.Holder.PID
	if !info.Active() {
		return h
	}
	h.Runs, h.Since, h.Stream = true, info.Holder.Since.UTC(), info.Status.Stream
	for _, hold := range explain.Holds(info.Status) {
		h.Held = append(h.Held, hold.String())
	}
	return h
}

// incomplete reports whether something could not be read.
func (s *status) incomplete() bool {
	return s.Sitesync.Error != "" ||
		slices.ContainsFunc(s.Projects, func(p projectStatus) bool { return p.Error != "" })
}
