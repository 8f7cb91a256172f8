package uploader

import (
	"hash/maphash"
	"strings"
	"sync"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// maxReports bounds how many documents are remembered as told of; beyond it, they are told of again.
const maxReports = 100_000

// invalidDocs tells of documents that can't be worked with, each once for as long as its trouble stays the same.
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
	r.log.Warn("document can't be worked with and is left alone until somebody mends it",
		zap.String("project", key.Project), zap.Stringer("representation", key.ID), zap.String("reason", reason))
}

// count is how many documents can't be worked with.
func (r *invalidDocs) count() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.reasons))
}
