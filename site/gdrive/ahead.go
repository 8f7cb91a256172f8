package gdrive

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"sitesync/site"
)

const (
	// aheadLimit is up to which size content is asked for before a file is opened, bytes: no more than fits into the
	// buffers of a connection, so that it takes no memory here.
	aheadLimit = 1 << 20

	// maxUnread is how many files in a row may not be read after all, until nothing is asked for in advance any more.
	maxUnread = 3

	// aheadPatience is how long it waits for the file to be opened.
	aheadPatience = 30 * time.Second
)

// readAhead asks for the content of files that are about to be opened, so that it comes while others are written: of a
// small file the way to Drive and back takes most of the time. It does so while Drive has set no limit to requests, for
// one file for each that is read.
type readAhead struct {
	most     int // files
	patience time.Duration
	ctx      context.Context // for as long as the site is open
	cancel   context.CancelFunc

	unread atomic.Int64 // files in a row that were not read after all, as their content is there already

	mu     sync.Mutex
	begun  map[string]*opening // by id
	folder string              // that next is about
	next   []string            // ids of files that will be opened
}

func newReadAhead(most int) *readAhead {
	a := &readAhead{most: max(most, 1), patience: aheadPatience, begun: map[string]*opening{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// pays reports whether files are read once they are opened.
func (a *readAhead) pays() bool { return a.unread.Load() < maxUnread }

// ended says whether a file was read that was opened for that.
func (a *readAhead) ended(read bool) {
	if read {
		a.unread.Store(0)
	} else {
		a.unread.Add(1)
	}
}

// take returns the request for the content of a file that is being opened; nil if there is none.
func (a *readAhead) take(id string) *opening {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.begun[id]
	delete(a.begun, id)
	if o != nil && o.expiry.Stop() {
		return o
	}
	return nil // or it is being given up
}

// goOn begins with what comes after a file that was opened.
func (a *readAhead) goOn(s *Site, after metadata, siblings func() []site.Location) {
	if _, limit := s.pacer.Stats(); siblings == nil || !a.pays() || !math.IsInf(limit, 1) || s.pacer.Paused() > 0 {
		return
	}
	a.mu.Lock()
	full, known := len(a.begun) >= a.most, a.folder == after.parent && len(a.next) > 0
	a.mu.Unlock()
	if full {
		return
	}
	var next []string
	if !known { // asking takes time in proportion to their number
		for _, other := range siblings() {
			next = append(next, other.ID)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !known {
		a.folder, a.next = after.parent, next
	}
	for len(a.begun) < a.most && len(a.next) > 0 && a.ctx.Err() == nil {
		id := a.next[0]
		a.next = a.next[1:]
		if m, ok := s.known.unopened(id); ok && m.size > 0 && m.size <= aheadLimit && a.begun[id] == nil {
			o := s.begin(a.ctx, id, 0, m.size, m.size)
			o.expiry = time.AfterFunc(a.patience, func() { a.giveUp(id, o) })
			a.begun[id] = o
		}
	}
}

// giveUp ends a request that nobody takes.
func (a *readAhead) giveUp(id string, o *opening) {
	a.mu.Lock()
	if a.begun[id] == o {
		delete(a.begun, id)
	}
	a.mu.Unlock()
	o.drop()
}

// close ends all requests.
func (a *readAhead) close() {
	a.cancel()
	a.mu.Lock()
	begun := a.begun
	a.begun = map[string]*opening{}
	a.mu.Unlock()
	for _, o := range begun {
		o.expiry.Stop()
		o.drop()
	}
}
