package watcher

import (
	"context"
	"sync"
	"time"

	"sitesync/avalon"
)

// Lane is one of the queue's two classes of urgency.
type Lane int

// The lanes. What somebody has just done is not to wait behind a backlog.
const (
	Live    Lane = iota // brought by the change stream, or looked at again after a delay
	Backlog             // found by the poll
	lanes
)

// String names the lane for logs.
func (l Lane) String() string {
	if l == Live {
		return "live"
	}
	return "backlog"
}

// Item is a key to look at.
type Item struct {
	Key  avalon.Key
	Lane Lane
	Seen time.Time // when the key was first added since it was last done
}

// Queue holds keys that someone should look at, each at most once, with the semantics of a Kubernetes work
// queue: a key added while it is queued is handed out once; added while somebody looks at it, it is handed
// out once more afterwards. Keys are handed out in the order they came, a lane at a time.
//
// Its memory is bounded. The poll waits for room in its lane; keys from the stream that find no room in
// theirs are refused, and the poll finds them later.
type Queue struct {
	capacity int

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that somebody may wait for
	queued  map[avalon.Key]*Item
	order   [lanes][]avalon.Key
	working map[avalon.Key]*Item // the item to hand out again when it is done, if any
	delayed map[avalon.Key]delay
	closed  bool
}

// delay is a pending add.
type delay struct {
	timer *time.Timer
	due   time.Time
}

// NewQueue returns an empty queue with room for capacity keys in each lane, and as many delayed ones.
func NewQueue(capacity int) *Queue {
	return &Queue{
		capacity: capacity,
		changed:  make(chan struct{}),
		queued:   map[avalon.Key]*Item{},
		working:  map[avalon.Key]*Item{},
		delayed:  map[avalon.Key]delay{},
	}
}

// Add puts a key into a lane. A key that waits in the backlog moves up if it is added as live. It reports
// false if there was no room.
func (q *Queue) Add(key avalon.Key, lane Lane) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(key, lane)
}

// AddWait is Add, but waits for room.
func (q *Queue) AddWait(ctx context.Context, key avalon.Key, lane Lane) error {
	return q.wait(ctx, func() bool { return q.add(key, lane) || q.closed })
}

// AddAfter adds a key to the live lane after a delay, unless it is added sooner, which ends the wait. Of
// two delays the shorter one counts.
func (q *Queue) AddAfter(key avalon.Key, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := time.Now().Add(after)
	old, waiting := q.delayed[key]
	switch {
	case q.closed, !waiting && len(q.delayed) >= q.capacity, waiting && !due.Before(old.due):
		return // where there was no room, the poll finds it again
	case waiting:
		old.timer.Stop()
	}
	q.delayed[key] = delay{due: due, timer: time.AfterFunc(after, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.delayed[key].due.Equal(due) {
			q.add(key, Live)
		}
	})}
}

// Get waits for a key in the lane and hands it out. The caller must call Done with it. It returns the
// context's error when that ends first.
func (q *Queue) Get(ctx context.Context, lane Lane) (Item, error) {
	var item *Item
	err := q.wait(ctx, func() bool {
		for len(q.order[lane]) > 0 && item == nil {
			key := q.order[lane][0]
			q.order[lane] = q.order[lane][1:]
			// A key that moved up to the other lane is still named in this one.
			if it := q.queued[key]; it != nil && it.Lane == lane {
				item = it
				delete(q.queued, key)
				q.working[key] = nil
				q.notify()
			}
		}
		return item != nil
	})
	if err != nil {
		return Item{}, err
	}
	return *item, nil
}

// Done says that the caller has looked at the key.
func (q *Queue) Done(key avalon.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := q.working[key]
	delete(q.working, key)
	if again != nil {
		q.push(again)
	}
}

// Len is how many keys wait in the lane.
func (q *Queue) Len(lane Lane) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, it := range q.queued {
		if it.Lane == lane {
			n++
		}
	}
	return n
}

// Close stops all delays. Keys are still handed out.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for key, d := range q.delayed {
		d.timer.Stop()
		delete(q.delayed, key)
	}
	q.notify()
}

// add is Add with the lock held.
func (q *Queue) add(key avalon.Key, lane Lane) bool {
	if q.closed {
		return false
	}
	if d, ok := q.delayed[key]; ok {
		d.timer.Stop()
		delete(q.delayed, key)
	}
	if again, busy := q.working[key]; busy {
		if again == nil {
			q.working[key] = &Item{Key: key, Lane: lane, Seen: time.Now()}
		} else {
			again.Lane = min(again.Lane, lane)
		}
		return true
	}
	if it := q.queued[key]; it != nil {
		if lane < it.Lane {
			it.Lane = lane
			q.order[lane] = append(q.order[lane], key)
			q.notify()
		}
		return true
	}
	if len(q.order[lane]) >= q.capacity {
		return false
	}
	q.push(&Item{Key: key, Lane: lane, Seen: time.Now()})
	return true
}

func (q *Queue) push(it *Item) {
	q.queued[it.Key] = it
	q.order[it.Lane] = append(q.order[it.Lane], it.Key)
	q.notify()
}

func (q *Queue) notify() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// wait calls try with the lock held, now and after every change, until it succeeds or ctx ends.
func (q *Queue) wait(ctx context.Context, try func() bool) error {
	for {
		q.mu.Lock()
		ok, changed := try(), q.changed
		q.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
