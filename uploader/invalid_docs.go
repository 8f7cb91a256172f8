package uploader

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// maxReports bounds how many documents are remembered as logged; beyond it, they are logged again.
const maxReports = 100_000

// invalidDocs logs invalid documents, each once for as long as its problems stay the same.
type invalidDocs struct {
	log *zap.Logger

	mu      sync.Mutex
	seed    maphash.Seed
	reasons map[avalon.Key]uint64 // hash of the reasons
}

// replace says what is wrong with a document now; no reason means that it is fine.
func (r *invalidDocs) replace(key avalon.Key, reasons ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(reasons) == 0 {
		delete(r.reasons, key)
		return
	}
	if r.reasons == nil || len(r.reasons) >= maxReports {
		r.reasons, r.seed = map[avalon.Key]uint64{}, maphash.MakeSeed()
	}
	reason := strings.Join(reasons, "; ")
	sum := maphash.String(r.seed, reason)
	if old, ok := r.reasons[key]; ok && old == sum {
		return
	}
	r.reasons[key] = sum
	if len(reason) > maxErrorText {
		reason = truncate(reason) + " ..."
	}
	r.log.Warn("invalid document; skipped until it is fixed",
		zap.String("project", key.Project), zap.Stringer("representation", key.ID), zap.String("reason", reason))
}

// count returns how many documents are invalid.
func (r *invalidDocs) count() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.reasons))
}

// rejectedFor is how long a file is left alone whose record the database has refused, unless a person changes its
// document. Without, it would be uploaded again with every poll.
const rejectedFor = time.Hour

// rejections remembers the files whose records the database has refused. Its zero value is ready.
type rejections struct {
	mu  sync.Mutex
	all map[avalon.Key]rejection
}

type rejection struct {
	*avalon.RecordError
	until time.Time
}

// add registers a rejection.
func (r *rejections) add(key avalon.Key, err *avalon.RecordError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxReports {
		r.all = map[avalon.Key]rejection{}
	}
	r.all[key] = rejection{err, time.Now().Add(rejectedFor)}
}

// of returns the rejection of a representation, nil if there is none. touched says that a person has changed the
// document, so that it may be tried again.
func (r *rejections) of(key avalon.Key, touched bool) *avalon.RecordError {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.all[key]
	if ok && (touched || time.Now().After(found.until)) {
		delete(r.all, key)
		return nil
	}
	return found.RecordError
}
