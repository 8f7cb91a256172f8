package drive

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// LogEntry is what the server remembers of a request. It holds no secret:
// neither tokens nor session URIs.
type LogEntry struct {
	Time     time.Time     `json:"time"`
	Kind     string        `json:"kind"`
	Status   int           `json:"status"` // 0: no answer was sent
	Account  string        `json:"account,omitempty"`
	Target   string        `json:"target,omitempty"` // file id, q, or name
	Received int64         `json:"received"`         // bytes of the request's body
	Sent     int64         `json:"sent"`             // bytes of the answer's body
	Duration time.Duration `json:"duration"`
	Reason   string        `json:"reason,omitempty"` // Google's reason of an error
	Fault    string        `json:"fault,omitempty"`  // the effect of the fault that hit it
}

// recorder counts requests by kind and keeps the last ones.
type recorder struct {
	received atomic.Int64 // bytes of all requests' bodies

	mu     sync.Mutex
	counts map[string]int
	log    []LogEntry // a ring once it is full
	next   int
	size   int
}

func newRecorder(size int) *recorder {
	return &recorder{counts: map[string]int{}, size: size}
}

func (r *recorder) count(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[kind]++
}

func (r *recorder) add(e LogEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.log) < r.size {
		r.log = append(r.log, e)
		return
	}
	r.log[r.next] = e
	r.next = (r.next + 1) % r.size
}

// Calls returns how many requests of each kind arrived since the start or the
// last ResetCalls, also those that a fault or a limit refused.
func (s *Server) Calls() map[string]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return maps.Clone(s.calls.counts)
}

// Received returns how many bytes of requests' bodies have arrived since the start, those of requests under way
// included.
func (s *Server) Received() int64 { return s.calls.received.Load() }

// TotalCalls returns how many requests arrived, those for tokens not counted.
func (s *Server) TotalCalls() int {
	total := 0
	for kind, n := range s.Calls() {
		if kind != "token" {
			total += n
		}
	}
	return total
}

// ResetCalls sets the counts to zero and forgets the log.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.counts = map[string]int{}
	s.calls.log, s.calls.next = nil, 0
}

// Log returns the last finished requests, oldest first.
func (s *Server) Log() []LogEntry {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	out := make([]LogEntry, 0, len(s.calls.log))
	out = append(out, s.calls.log[s.calls.next:]...)
	return append(out, s.calls.log[:s.calls.next]...)
}
