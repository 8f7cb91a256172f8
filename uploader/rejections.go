package uploader

import (
	"sync"
	"time"

	"sitesync/avalon"
)

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
