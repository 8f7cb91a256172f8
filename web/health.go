package web

import (
	"context"
	"net/http"
	"time"

	"sitesync/uploader"
	"sitesync/watcher"
)

// health is the answer of /healthz.
type health struct {
	Status string         `json:"status"` // ok, held, paused, standby or idle
	Holder *holder        `json:"holder,omitempty"`
	Held   map[string]int `json:"held,omitempty"` // holds by kind; the log says why
	Paused *paused        `json:"paused,omitempty"`
}

// holder is the process that a standby waits for.
type holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// paused is what people have paused.
type paused struct {
	Site     bool `json:"site,omitempty"`
	Projects int  `json:"projects,omitempty"`
}

func healthOf(s Snapshot) health {
	switch {
	case s.Idle:
		return health{Status: "idle"}
	case s.standby():
		h := health{Status: "standby"}
		if l := s.Lease.Holder; l.Host != "" {
			h.Holder = &holder{l.Host, l.PID, l.Since.UTC()}
		}
		return h
	}
	h := health{Status: "ok"}
	for kind, n := range s.Uploader.Holding {
		if h.Held == nil {
			h.Status, h.Held = "held", map[string]int{}
		}
		h.Held[heldKey(kind)] = n
	}
	if s.Paused.Site || len(s.Paused.Projects) > 0 {
		h.Paused = &paused{s.Paused.Site, len(s.Paused.Projects)}
	}
	if s.Paused.Site {
		h.Status = "paused"
	}
	return h
}

// heldKey is the key of a kind of holds: the kind, in the plural if there can be several of it.
func heldKey(kind uploader.TargetKind) string {
	switch kind {
	case uploader.RemoteRoot, uploader.LocalRoot, uploader.ProjectFolder:
		return string(kind) + "s"
	}
	return string(kind)
}

// healthz answers for as long as the process works. A restart would fix nothing of what it reports.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, healthOf(s.Snapshot()))
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why not
	Held    []string `json:"held,omitempty"`    // what is held; all else goes on
}

// maxHeld bounds the names of what is held.
const maxHeld = 20

// notReady says what keeps sitesync from working; for a standby, from taking over.
func notReady(s Snapshot, databaseAnswers bool) []string {
	if s.Stopping {
		return []string{"sitesync is stopping"}
	}
	if s.Idle {
		return nil // there is nothing to do
	}
	var reasons []string
	if !databaseAnswers {
		reasons = append(reasons, "the database does not answer")
	}
	if s.Majority != "" {
		reasons = append(reasons, s.Majority)
	}
	if s.standby() {
		return reasons // it watches nothing yet
	}
	if !s.Lease.Held {
		reasons = append(reasons, "the lease is not held")
	}
	if s.Stream != watcher.StreamOpen && !s.polls() {
		reasons = append(reasons, "publishes are not seen: the change stream is not open, and the poll is off or fails")
	}
	return reasons
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	snapshot := s.Snapshot()
	reasons := notReady(snapshot, snapshot.Idle || s.ping())
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	answer := readiness{Ready: len(reasons) == 0, Reasons: reasons}
	for _, h := range headOf(snapshot.Activity.Held, maxHeld).Rows {
		answer.Held = append(answer.Held, h.Subject())
	}
	writeJSON(w, status, answer)
}

// ping reports whether the database answers. The error is not served: it may name servers, and the log has it.
func (s *Server) ping() bool {
	_, err, _ := s.pings.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
		defer cancel()
		return nil, s.Ping(ctx)
	})
	return err == nil
}
