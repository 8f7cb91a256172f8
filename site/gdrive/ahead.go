package gdrive

import (
	"context"
	"maps"
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

	// maxOpened bounds the files that are remembered to be open already.
	maxOpened = 10_000

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
	begun  map[string]*opening  // by id
	opened map[string]time.Time // files, lately, by id
	tidied time.Time            // when opened was
	folder string               // that next is about
	next   []string             // ids of files that will be opened
}

func newReadAhead(most int) *readAhead {
	a := &readAhead{most: max(most, 1), patience: aheadPatience, begun: map[string]*opening{},
		opened: map[string]time.Time{}}
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

// take says that a file is opened, and returns the request for its content; nil if there is none.
func (a *readAhead) take(id string) *opening {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.tidied) > a.patience {
		a.tidied = time.Now()
		maps.DeleteFunc(a.opened, func(_ string, at time.Time) bool { return time.Since(at) >= a.patience })
	}
	if len(a.opened) < maxOpened {
		a.opened[id] = time.Now()
	}
	o := a.begun[id]
	delete(a.begun, id)
	if o != nil && o.expiry.Stop() {
		return o
	}
	return nil // or it is being given up
}

// goOn begins with what comes after a file that was opened: others of its folder whose metadata is known, and then what
// is read next elsewhere.
func (a *readAhead) goOn(s *Site, after metadata, o site.OpenOptions) {
	if _, limit := s.pacer.Stats(); !a.pays() || !math.IsInf(limit, 1) || s.pacer.Paused() > 0 {
		return
	}
	a.mu.Lock()
	full, known := len(a.begun) >= a.most, a.folder == after.parent && len(a.next) > 0
	a.mu.Unlock()
	if full {
		return
	}
	var next []string
	if !known && o.Siblings != nil { // asking takes time in proportion to their number
		for _, other := range o.Siblings() {
			next = append(next, other.ID)
		}
	}
	a.mu.Lock()
	if !known {
		a.folder, a.next = after.parent, next
	}
	for len(a.begun) < a.most && len(a.next) > 0 {
		id := a.next[0]
		a.next = a.next[1:]
		if m, ok := s.known.unopened(id, -1); ok {
			a.begin(s, id, m.size, true)
		}
	}
	full = len(a.begun) >= a.most
	a.mu.Unlock()
	if full || o.Next == nil {
		return
	}
	elsewhere := o.Next()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range elsewhere {
		if len(a.begun) < a.most && f.ID != "" {
			m, known := s.known.unopened(f.ID, f.Size)
			a.begin(s, f.ID, max(f.Size, m.size), known)
		}
	}
}

// begin asks for a file that was not opened yet. a.mu must be held.
func (a *readAhead) begin(s *Site, id string, size int64, known bool) {
	if size <= 0 || size > aheadLimit || a.begun[id] != nil || time.Since(a.opened[id]) < a.patience ||
		a.ctx.Err() != nil {
		return
	}
	begin := s.beginUnknown
	if known {
		begin = s.begin
	}
	o := begin(a.ctx, id, size)
	o.expiry = time.AfterFunc(a.patience, func() { a.giveUp(id, o) })
	a.begun[id] = o
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
