package local

import (
	"context"
	"os"
	"sync"
	"time"
)

const (
	// abandonedAfter is how old a partial file gets that nobody continues.
	abandonedAfter = 24 * time.Hour

	// sweepEvery is how long a folder is not looked at again that was swept.
	sweepEvery = time.Hour

	// maxSwept bounds how many folders are remembered.
	maxSwept = 10_000

	// sweepQueue bounds how many folders wait to be swept; for one more there is another time.
	sweepQueue = 1000
)

// folderKey is a folder below a root.
type folderKey struct{ root, rel string }

// sweeper removes abandoned partial files from the folders that are written to: a folder is looked at when a file was
// put there, and a day after a partial file was left there. All is done by one goroutine, apart from the transfers.
type sweeper struct {
	sweep func(ctx context.Context, at folderKey)

	mu      sync.Mutex
	swept   map[folderKey]time.Time // when
	leaving map[folderKey]time.Time // when to look at those again in which a partial file was left
	queue   chan folderKey          // nil until something is to be done
	cancel  context.CancelFunc
	done    chan struct{}
}

// visited registers that a file was put into a folder.
func (s *sweeper) visited(at folderKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for left, due := range s.leaving {
		if !due.After(now) && s.enqueue(left) {
			delete(s.leaving, left)
		}
	}
	if last, ok := s.swept[at]; ok && now.Sub(last) < sweepEvery {
		return
	}
	if s.swept == nil || len(s.swept) >= maxSwept {
		s.swept = map[folderKey]time.Time{}
	}
	if s.enqueue(at) {
		s.swept[at] = now
	}
}

// left registers that a partial file was left in a folder.
func (s *sweeper) left(at folderKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving == nil || len(s.leaving) >= maxSwept {
		s.leaving = map[folderKey]time.Time{}
	}
	s.leaving[at] = time.Now().Add(abandonedAfter + sweepEvery)
}

// enqueue has a folder swept, and reports whether there is room in the queue. s.mu must be held.
func (s *sweeper) enqueue(at folderKey) bool {
	if s.queue == nil {
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		s.queue, s.done = make(chan folderKey, sweepQueue), make(chan struct{})
		go s.run(ctx)
	}
	select {
	case s.queue <- at:
		return true
	default:
		return false
	}
}

func (s *sweeper) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-s.queue:
			s.sweep(ctx, at)
		}
	}
}

// stop ends the sweeping.
func (s *sweeper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue != nil {
		s.cancel()
		<-s.done
	}
}

// sweep removes the abandoned partial files of a folder.
func (s *Site) sweep(ctx context.Context, at folderKey) {
	l := location{at.root, at.rel, s.links}
	path := "partial files in " + l.String()
	folder, err := answer(ctx, s.calls, at.root, path, l.openFolder, func(r *os.Root) { r.Close() })
	if err != nil {
		return
	}
	defer folder.Close()
	_ = s.eachPartial(ctx, at.root, path, folder, func(name string) {
		info, err := folder.Lstat(name)
		if err == nil && time.Since(info.ModTime()) > abandonedAfter && ctx.Err() == nil {
			s.removeAbandoned(folder, name)
		}
	})
}
