package uploader

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// Stats are the numbers of an uploader, since it was made unless they say otherwise.
type Stats struct {
	Synced       int64 // files transferred and recorded
	SyncedBytes  int64 // of those
	FailedTries  int64
	FailedFiles  int64 // that have no tries left
	InvalidDocs  int64 // now; see invalidDocs
	Deferred     int64 // times that a file was left to a later poll as something is held
	Transfers    int64 // that run now
	StalledCalls int64 // of the file system, that were given up and have not returned
	Holding      Holds // now
	Holds        Holds
}

// Stats returns the numbers as they are now.
func (u *Uploader) Stats() Stats {
	s := Stats{
		Synced: u.synced.Load(), SyncedBytes: u.bytes.Load(), FailedTries: u.failedTries.Load(),
		FailedFiles: u.failedFiles.Load(), InvalidDocs: u.invalidDocs.count(), Deferred: u.deferred.Load(),
		Transfers: u.running.Load(),
	}
	for _, staller := range u.stallers() {
		s.StalledCalls += int64(staller.Stalled())
	}
	s.Holding, s.Holds = u.breakers.counts()
	return s
}

const (
	// maxWaiting bounds how many files are remembered as waiting. There can be as many as the backlog has.
	maxWaiting = 500

	// forgetWaitingAfter is how long a file whose wait is over is still listed if nothing happens to it: its
	// document may be gone.
	forgetWaitingAfter = time.Minute
)

// Activity is what is under way, for people. All of it is of this process, since it got the lease.
type Activity struct {
	Transfers []Transfer // the first to be begun first
	Waiting   []Waiting  // the first to be retried first
	Live      int        // files of fresh publishes that wait for a transfer
	Backlog   int        // other files that do
	Held      []Hold
	Away      bool // the site is busy or out of reach
}

// Transfer is a file that is under way.
type Transfer struct {
	ID    uint64 // unique among the transfers of this uploader
	Key   avalon.Key
	Path  string
	Size  int64 // as recorded; [avalon.UnknownSize] if it is not
	Sent  int64 // bytes so far; may go back
	Began time.Time
}

// Waiting is a file that is checked or tried again later.
type Waiting struct {
	Key    avalon.Key
	Path   string
	Size   int64
	Failed bool // a try was spent
	Away   bool // the site is busy or out of reach
	Why    string
	Until  time.Time
}

// SyncedFile is a file that was synced.
type SyncedFile struct {
	Key       avalon.Key
	Direction config.Direction
	Path      string
	Bytes     int64
	Took      time.Duration // how long its transfer took
	Reaction  time.Duration // from when it came to our notice until it was recorded
}

// activity tracks what the transfers do. It costs each file an entry in a small map.
// Its zero value is ready.
type activity struct {
	mu      sync.Mutex
	last    uint64
	running map[uint64]*transfer
	waiting map[fileRef]Waiting
}

// fileRef identifies a file.
type fileRef struct {
	key  avalon.Key
	file avalon.FileKey
}

// transfer is one that runs.
type transfer struct {
	id    uint64
	ref   fileRef
	size  int64
	began time.Time
	sent  atomic.Int64
	err   error // how it ended
}

// begin registers a file whose transfer begins. end must follow.
func (a *activity) begin(t task) *transfer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running, a.waiting = map[uint64]*transfer{}, map[fileRef]Waiting{}
	}
	a.last++
	tr := &transfer{id: a.last, ref: t.ref(), size: t.file.Size, began: time.Now()}
	a.running[tr.id] = tr
	if len(a.waiting) > 0 {
		delete(a.waiting, tr.ref)
	}
	return tr
}

// end registers how a transfer ended, and when the file is processed again; 0 if it is not.
func (a *activity) end(tr *transfer, failed bool, wake time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, tr.id)
	if wake <= 0 || tr.err == nil {
		return
	}
	now := time.Now()
	if len(a.waiting) >= maxWaiting {
		a.forget(now)
	}
	if len(a.waiting) < maxWaiting {
		a.waiting[tr.ref] = Waiting{tr.ref.key, tr.ref.file.Path, tr.size, failed,
			site.ClassOf(tr.err) == site.Transient, truncate(tr.err.Error()), now.Add(wake)}
	}
}

// forget removes files that should have been processed long ago.
func (a *activity) forget(now time.Time) {
	for ref, w := range a.waiting {
		if now.Sub(w.Until) > forgetWaitingAfter {
			delete(a.waiting, ref)
		}
	}
}

func (a *activity) now() (running []Transfer, waiting []Waiting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(time.Now())
	for _, tr := range a.running {
		running = append(running, Transfer{tr.id, tr.ref.key, tr.ref.file.Path, tr.size, tr.sent.Load(), tr.began})
	}
	waiting = slices.Collect(maps.Values(a.waiting))
	slices.SortFunc(running, func(a, b Transfer) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(waiting, func(a, b Waiting) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Path, b.Path))
	})
	return running, waiting
}

// Activity returns what is under way now.
func (u *Uploader) Activity() Activity {
	var a Activity
	a.Transfers, a.Waiting = u.activity.now()
	a.Live, a.Backlog = u.scheduler.planned()
	a.Held, a.Away = u.breakers.list(), u.service.isDown()
	return a
}
