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
	Paused     []pauseStatus   `json:"paused"`
	Projects   []projectStatus `json:"projects"`
	Total      fileStats       `json:"total"`
}

// leaseHolder is the process that syncs.
type leaseHolder struct {
	Runs   bool       `json:"runs"`
	Host   string     `json:"host,omitempty"` // of the last one, if none runs
	PID    int        `json:"pid,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Stream string     `json:"stream,omitempty"` // open, closed or not available
	Held   []string   `json:"held"`             // what holds uploads up
	Error  string     `json:"error,omitempty"`  // why this could not be read
}

// pauseStatus is a [state.Pause] for scripts.
type pauseStatus struct {
	Project string    `json:"project,omitempty"` // none: all of the site
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why,omitempty"`
}

type projectStatus struct {
	Project string `json:"project"`
	fileStats
	FailedFiles []failedFile `json:"failed_files,omitempty"`
	Unfit       []unfit      `json:"unfit,omitempty"` // files that are held, as the settings do not fit them
	Error       string       `json:"error,omitempty"` // why the project could not be read
}

// unfit are files that the settings do not fit, as seen from this machine.
type unfit struct {
	Files  int64  `json:"files"`
	Reason string `json:"reason"`
}

// fileStats is an [avalon.Stats] for scripts.
type fileStats struct {
	Pending  fileCount  `json:"pending"`
	Waiting  fileCount  `json:"waiting"`
	Paused   fileCount  `json:"paused"` // by a field of their records
	Failed   fileCount  `json:"failed"`
	Synced   fileCount  `json:"synced"`
	Absent   fileCount  `json:"absent"`
	Unusable fileCount  `json:"unusable"`
	Oldest   *time.Time `json:"oldest,omitempty"`
}

type fileCount struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

func fileStatsOf(t avalon.Stats) fileStats {
	out := fileStats{Pending: fileCount(t.Pending), Waiting: fileCount(t.BackingOff), Paused: fileCount(t.Paused),
		Failed: fileCount(t.Failed), Synced: fileCount(t.Synced), Absent: fileCount(t.SourceMissing),
		Unusable: fileCount(t.Invalid)}
	if !t.Oldest.IsZero() {
		out.Oldest = &t.Oldest
	}
	return out
}

type failedFile struct {
	Representation string     `json:"representation"`
	Path           string     `json:"path"`
	Tries          int        `json:"tries"`
	Error          string     `json:"error"`
	LastFailed     *time.Time `json:"last_failed,omitempty"`
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
	if info.Expired {
		return h
	}
	since := info.Holder.Since.UTC()
	h.Runs, h.Since, h.Stream = true, &since, info.Status.Stream
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
