package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"sitesync/site"
)

// A storage may neither answer nor fail: a hard NFS mount waits for its server for ever, and a call of the file system
// that waits can't be ended. So every call is made in a goroutine of its own, and given up.
const (
	// slowCall is how long a call may take before its transfer does not count as busy any more: another one begins in
	// its place.
	slowCall = time.Second

	// hungCall is how long a call may take at all. A disk that was asleep needs some 10 s.
	hungCall = 15 * time.Second

	// restHung is the wait before a file is tried again one of whose calls hangs, while its storage answers.
	restHung = 10 * time.Second

	// ownHang is after how long that counts against the file even if no other file of the storage was read. It is
	// longer than NFS remembers what there is in a folder, so a storage that answers by then works.
	ownHang = 10 * time.Minute

	// maxHungCalls bounds the calls of one root that were given up and have not returned, each a thread. With more of
	// them the root is held even if it answers otherwise.
	maxHungCalls = 64

	// maxCalls bounds the calls of all roots, as the Go runtime ends a process with 10,000 threads.
	maxCalls = 2000
)

// fileCalls makes calls of the file system that may never return.
type fileCalls struct {
	slots   *semaphore.Weighted
	timeout time.Duration // hungCall

	slow     func(root string, n int) // called with how many more calls take long; fewer, if it is negative
	returned func(root string)        // called when a call returns that was given up
	before   func(root, path string)  // begins each call; may hang

	avoidStalled bool // nothing is asked of a root one of whose calls hangs

	mu    sync.Mutex
	hung  map[string]map[string]*hungCalls // that were given up and have not returned, by root and path
	works map[string]time.Time             // by root: when the last call began that has read or written something
}

// hungCalls are those for one path.
type hungCalls struct {
	n     int
	since time.Time // when the first of them began
}

func newFileCalls() *fileCalls {
	return &fileCalls{slots: semaphore.NewWeighted(maxCalls), timeout: hungCall, slow: func(string, int) {},
		returned: func(string) {}, before: func(string, string) {}, hung: map[string]map[string]*hungCalls{},
		works: map[string]time.Time{}}
}

// answer makes a call for a path of a root. If that does not return in time, or ctx ends first, the error is of class
// [site.Unavailable], or the context's; what comes of the call later is dropped.
func answer[T any](ctx context.Context, c *fileCalls, root, path string, call func() (T, error), drop func(T)) (T,
	error) {
	return answerPatiently(ctx, c, patience{c.timeout, slowCall, c.slow}, root, path, call, drop)
}

// patience is how long a call may take.
type patience struct {
	timeout time.Duration            // at all
	slow    time.Duration            // before its transfer does not count as busy any more, less than timeout
	onSlow  func(root string, n int) // as slow of fileCalls
}

// answerPatiently is answer with its own patience.
func answerPatiently[T any](ctx context.Context, c *fileCalls, p patience, root, path string,
	call func() (T, error), drop func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	stall := &site.StallError{Root: root, Path: path, Timeout: p.timeout, Began: time.Now()}
	if since, ok := c.stalls(root, path); ok { // no second call of one that hangs
		stall.Began, stall.Repeated = since, true
		return none, site.UnavailableIn(site.OneRoot, stall)
	}
	if !c.slots.TryAcquire(1) {
		waiting, cancel := context.WithTimeout(ctx, p.timeout)
		err := c.slots.Acquire(waiting, 1)
		cancel()
		switch {
		case ctx.Err() != nil:
			return none, ctx.Err()
		case err != nil:
			return none, site.UnavailableIn(site.OneRoot, stall)
		}
	}
	type outcome struct {
		value T
		err   error
	}
	done, abandoned := make(chan outcome), make(chan struct{})
	go func() {
		defer c.slots.Release(1)
		c.before(root, path)
		value, err := call()
		select {
		case done <- outcome{value, err}:
		case <-abandoned:
			if err == nil && drop != nil {
				drop(value)
			}
			c.isBack(root, path)
		}
	}()
	abandon := func(why error) (T, error) {
		c.isGone(stall)
		close(abandoned)
		return none, why
	}
	timer := time.NewTimer(p.slow)
	defer timer.Stop()
	for slow := false; ; slow = true {
		select {
		case o := <-done:
			return o.value, o.err
		case <-ctx.Done():
			return abandon(ctx.Err())
		case <-timer.C:
			if slow {
				return abandon(site.UnavailableIn(site.OneRoot, stall))
			}
			p.onSlow(root, 1)
			defer p.onSlow(root, -1)
			timer.Reset(p.timeout - p.slow)
		}
	}
}

// does is answer for a call without a value.
func (c *fileCalls) does(ctx context.Context, root, path string, call func() error) error {
	_, err := answer(ctx, c, root, path, func() (struct{}, error) { return struct{}{}, call() }, nil)
	return err
}

// isGone registers a call that was given up.
func (c *fileCalls) isGone(e *site.StallError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung[e.Root] == nil {
		c.hung[e.Root] = map[string]*hungCalls{}
	}
	if c.hung[e.Root][e.Path] == nil {
		c.hung[e.Root][e.Path] = &hungCalls{since: e.Began}
	}
	c.hung[e.Root][e.Path].n++
}

// isBack registers that one has returned after all.
func (c *fileCalls) isBack(root, path string) {
	c.mu.Lock()
	calls := c.hung[root]
	if calls[path].n--; calls[path].n == 0 {
		delete(calls, path)
	}
	// The storage answers again: the others have their time to return too.
	for _, other := range calls {
		other.since = time.Now()
	}
	c.mu.Unlock()
	c.returned(root)
}

// stalls reports whether a call for a path hangs, and since when.
func (c *fileCalls) stalls(root, path string) (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.avoidStalled {
		for _, calls := range c.hung[root] {
			return calls.since, true
		}
	}
	if calls := c.hung[root][path]; calls != nil {
		return calls.since, true
	}
	return time.Time{}, false
}

// count is how many calls were given up and have not returned.
func (c *fileCalls) count() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, paths := range c.hung {
		for _, calls := range paths {
			n += calls.n
		}
	}
	return n
}

// lastWorked is when the last call began that has shown that a root works.
func (c *fileCalls) lastWorked(root string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.works[root]
}

// worked registers that a file of a root was read, or written to the disk, by a call that began then.
func (c *fileCalls) worked(root string, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if began.After(c.works[root]) {
		c.works[root] = began
	}
}

// whose is an error of a call, for whom it concerns: one file that hangs and not its storage, as others of the root
// were read meanwhile or it has answered for long, counts against that file. What the system remembers of a storage
// is no sign, as NFS does for a minute.
func (c *fileCalls) whose(err error) error {
	stall := new(site.StallError)
	if !errors.As(err, &stall) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := time.Since(stall.Began)
	answers := c.works[stall.Root].After(stall.Began) || stall.Repeated && asked > ownHang
	switch {
	case len(c.hung[stall.Root]) < maxHungCalls && asked >= c.timeout && answers:
		return site.Classed(site.FileError, fmt.Errorf("%w; other files of it are read or written meanwhile", stall))
	case stall.Repeated: // its storage answers, or it would be held
		return &site.Error{Class: site.Unavailable, Scope: site.OneFile, RetryAfter: restHung, Err: stall}
	}
	return err
}

// mounted returns an error if a root is not mounted, or does not answer.
func (c *fileCalls) mounted(ctx context.Context, root string) error {
	c.mu.Lock()
	hung := len(c.hung[root])
	c.mu.Unlock()
	if hung >= maxHungCalls {
		return fmt.Errorf("the storage does not answer: %d calls for files of %s have not returned; look at the "+
			"mount and its server", hung, root)
	}
	return c.does(ctx, root, root, func() error { return mounted(root) })
}
