package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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

	// restHung is how long a file rests one of whose calls hangs, while its storage seems to be well.
	restHung = 10 * time.Second

	// ownHang is after how long that is the file's own trouble even if no other file of the storage was read. It is longer
	// than NFS remembers what there is in a folder, so that a storage that answers by then is well.
	ownHang = 10 * time.Minute

	// mostHungCalls bounds the calls of one root that were given up and have not returned, each a thread. With more of
	// them the root is held even if it answers otherwise.
	mostHungCalls = 64

	// mostCalls bounds the calls of all roots, as the Go runtime ends a process with 10,000 threads.
	mostCalls = 2000
)

// hangError says that a call of the file system was given up.
type hangError struct {
	root, path string
	patience   time.Duration
	began      time.Time
	again      bool // it was given up before, and not made again
}

func (e *hangError) Error() string {
	return fmt.Sprintf("the storage does not answer: a call for %s has not returned for %s; look at the mount of %s and its server",
		e.path, e.patience, e.root)
}

// fileCalls makes calls of the file system that may never return.
type fileCalls struct {
	slots    *semaphore.Weighted
	patience time.Duration // hungCall

	slow     func(root string, n int) // told of so many more calls that take long; fewer, if it is negative
	returned func(root string)        // told when a call returns that was given up
	before   func(root, path string)  // for tests: begins each call; may hang

	mu    sync.Mutex
	hung  map[string]map[string]hungCalls // that were given up and have not returned, by root and path
	works map[string]time.Time            // by root: when the last call began that has read something
}

// hungCalls are those for one path.
type hungCalls struct {
	n     int
	since time.Time // when the first of them began
}

func newFileCalls() *fileCalls {
	return &fileCalls{slots: semaphore.NewWeighted(mostCalls), patience: hungCall, slow: func(string, int) {}, returned: func(string) {},
		before: func(string, string) {}, hung: map[string]map[string]hungCalls{}, works: map[string]time.Time{}}
}

// answer makes a call for a path of a root. If that does not return in time, or ctx ends first, the error is of class
// [site.Unavailable], or the context's; what comes of the call later is dropped.
func answer[T any](ctx context.Context, c *fileCalls, root, path string, call func() (T, error), drop func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	hangs := &hangError{root: root, path: path, patience: c.patience, began: time.Now()}
	if since, ok := c.hangs(root, path); ok { // no second call of those that hang
		hangs.began, hangs.again = since, true
		return none, site.Classed(site.Unavailable, hangs)
	}
	if !c.slots.TryAcquire(1) {
		waiting, cancel := context.WithTimeout(ctx, c.patience)
		err := c.slots.Acquire(waiting, 1)
		cancel()
		switch {
		case ctx.Err() != nil:
			return none, ctx.Err()
		case err != nil:
			return none, site.Classed(site.Unavailable, hangs)
		}
	}
	type outcome struct {
		value T
		err   error
	}
	var mu sync.Mutex
	givenUp := false
	done := make(chan outcome, 1)
	go func() {
		defer c.slots.Release(1)
		c.before(root, path)
		value, err := call()
		mu.Lock()
		defer mu.Unlock()
		if !givenUp {
			done <- outcome{value, err}
			return
		}
		if err == nil && drop != nil {
			drop(value)
		}
		c.isBack(root, path)
	}()
	giveUp := func(why error) (T, error) {
		mu.Lock()
		defer mu.Unlock()
		select {
		case o := <-done:
			return o.value, o.err
		default:
		}
		givenUp = true
		c.isGone(hangs)
		return none, why
	}
	timer := time.NewTimer(slowCall)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return giveUp(ctx.Err())
	case <-timer.C:
	}
	c.slow(root, 1)
	defer c.slow(root, -1)
	timer.Reset(c.patience - slowCall)
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return giveUp(ctx.Err())
	case <-timer.C:
		return giveUp(site.Classed(site.Unavailable, hangs))
	}
}

// does is answer for a call without a value.
func (c *fileCalls) does(ctx context.Context, root, path string, call func() error) error {
	_, err := answer(ctx, c, root, path, func() (struct{}, error) { return struct{}{}, call() }, nil)
	return err
}

// isGone takes note of a call that was given up.
func (c *fileCalls) isGone(e *hangError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung[e.root] == nil {
		c.hung[e.root] = map[string]hungCalls{}
	}
	calls := c.hung[e.root][e.path]
	if calls.n++; calls.n == 1 {
		calls.since = e.began
	}
	c.hung[e.root][e.path] = calls
}

// isBack takes note of one that has returned after all.
func (c *fileCalls) isBack(root, path string) {
	c.mu.Lock()
	calls := c.hung[root][path]
	if calls.n--; calls.n > 0 {
		c.hung[root][path] = calls
	} else if delete(c.hung[root], path); len(c.hung[root]) == 0 {
		delete(c.hung, root)
	}
	// The storage answers again: the others have their time to return too.
	for other, calls := range c.hung[root] {
		calls.since = time.Now()
		c.hung[root][other] = calls
	}
	c.mu.Unlock()
	c.returned(root)
}

// hangs reports whether a call for a path hangs, and since when.
func (c *fileCalls) hangs(root, path string) (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, ok := c.hung[root][path]
	return calls.since, ok
}

// hangsAt returns an error if a call for anything of a root hangs.
func (c *fileCalls) hangsAt(root string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, calls := range c.hung[root] {
		return site.Classed(site.Unavailable, &hangError{root: root, path: path, patience: c.patience, began: calls.since, again: true})
	}
	return nil
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

// read takes note that a file of a root was read, by a call that began then.
func (c *fileCalls) read(root string, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if began.After(c.works[root]) {
		c.works[root] = began
	}
}

// isFiles reports whether it is one file that hangs and not its storage: others were read meanwhile, or the storage has
// answered for long. What the system remembers of a storage is no sign, as NFS does for a minute.
func (c *fileCalls) isFiles(e *hangError) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.hung[e.root]) < mostHungCalls && time.Since(e.began) >= c.patience && (c.works[e.root].After(e.began) || e.again && time.Since(e.began) > ownHang)
}

// mounted tells whether a root is there and answers.
func (c *fileCalls) mounted(ctx context.Context, root string) error {
	c.mu.Lock()
	hung := len(c.hung[root])
	c.mu.Unlock()
	if hung >= mostHungCalls {
		return fmt.Errorf("the storage does not answer: %d calls for files of %s have not returned; look at the mount and its server", hung, root)
	}
	return c.does(ctx, root, root, func() error { return mounted(root) })
}

// guardedFile reads a source by calls that are given up.
type guardedFile struct {
	ctx        context.Context
	calls      *fileCalls
	root, path string
	file       *os.File

	mu     sync.Mutex
	spare  []byte // buffer of an earlier read
	failed error  // of the first read that the file system refused
}

// ReadAt is part of [io.ReaderAt]. It reads into a buffer of its own: a call that was given up may still write into it.
func (g *guardedFile) ReadAt(p []byte, off int64) (int, error) {
	buf := g.buffer(len(p))
	began := time.Now()
	n, err := answer(g.ctx, g.calls, g.root, g.path, func() (int, error) { return g.file.ReadAt(buf, off) }, nil)
	if err != nil && err != io.EOF {
		g.fail(err)
		return 0, err // buf may still be in use
	}
	copy(p, buf[:n])
	g.mu.Lock()
	g.spare = buf
	g.mu.Unlock()
	if n > 0 {
		g.calls.read(g.root, began)
	}
	return n, err
}

// fail takes note of why the file can't be read. A call that was given up is told of otherwise.
func (g *guardedFile) fail(err error) {
	var hangs *hangError
	if errors.As(err, &hangs) || g.ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = err
	}
}

// failure is why the file could not be read, nil if it could.
func (g *guardedFile) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

func (g *guardedFile) buffer(n int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	buf := g.spare
	g.spare = nil
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	return buf[:n]
}

// Close closes the file, without waiting for it longer than for any other call.
func (g *guardedFile) Close() {
	if _, hangs := g.calls.hangs(g.root, g.path); hangs {
		go g.file.Close() //nolint:errcheck // it was only read
		return
	}
	_ = g.calls.does(context.WithoutCancel(g.ctx), g.root, g.path, g.file.Close)
}
