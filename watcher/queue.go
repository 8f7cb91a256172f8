package watcher

import (
	"container/list"
	"context"
	"time"

	"sitesync/avalon"
	"sitesync/cond"
)

// Lane is one of the queue's two classes of urgency.
type Lane int

// The lanes. What somebody has just done is not to wait behind a backlog.
const (
	Live    Lane = iota // brought by the change stream, or looked at again after a delay
	Backlog             // found by the poll
	lanes
)

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

	mu      cond.Mutex
	order   [lanes]*list.List
	queued  map[avalon.Key]*list.Element // the key's place, which holds an *Item, in its lane
	working map[avalon.Key]*Item         // the item to hand out again when it is done, if any
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
		order:    [lanes]*list.List{list.New(), list.New()},
		queued:   map[avalon.Key]*list.Element{},
		working:  map[avalon.Key]*Item{},
		delayed:  map[avalon.Key]delay{},
	}
}

// Add puts a key into a lane. A key that waits in the backlog moves up if it is added as live, whether
// there is room or not. It reports false if there was no room for a new key.
func (q *Queue) Add(key avalon.Key, lane Lane) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(key, lane)
}

// AddWait is Add, but waits for room. The error is the context's.
func (q *Queue) AddWait(ctx context.Context, key avalon.Key, lane Lane) error {
	return q.mu.Wait(ctx, func() bool { return q.add(key, lane) })
}

// AddAfter adds a key to a lane after a delay, unless it is added sooner, which ends the wait. Of two delays
// the shorter one counts.
func (q *Queue) AddAfter(key avalon.Key, lane Lane, after time.Duration) {
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
		if q.delayed[key].due.Equal(due) { // else it has been replaced or ended meanwhile
			delete(q.delayed, key)
			q.add(key, lane) // where there is no room, the poll finds it again
		}
	})}
}

// Get waits for a key in the lane and hands it out. The caller must call Done with it. The error is the
// context's.
func (q *Queue) Get(ctx context.Context, lane Lane) (item Item, err error) {
	err = q.mu.Wait(ctx, func() bool {
		first := q.order[lane].Front()
		if first == nil {
			return false
		}
		item = *q.order[lane].Remove(first).(*Item)
		delete(q.queued, item.Key)
		q.working[item.Key] = nil
		q.mu.Notify()
		return true
	})
	return item, err
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
	return q.order[lane].Len()
}

// Delayed is how many keys wait for their time.
func (q *Queue) Delayed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.delayed)
}

// Idle reports that no key is queued, delayed or being looked at.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queued)+len(q.delayed)+len(q.working) == 0
}

// Close ends all delays and refuses every key from now on. What is queued is still handed out.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, d := range q.delayed {
		d.timer.Stop()
	}
	clear(q.delayed)
}

// add is Add with the lock held.
func (q *Queue) add(key avalon.Key, lane Lane) bool {
	if q.closed {
		return false
	}
	again, busy := q.working[key]
	place := q.queued[key]
	switch {
	case busy && again != nil:
		again.Lane = min(again.Lane, lane)
	case busy:
		q.working[key] = &Item{Key: key, Lane: lane, Seen: time.Now()}
	case place != nil:
		if it := place.Value.(*Item); lane < it.Lane {
			q.order[it.Lane].Remove(place)
			it.Lane = lane
			q.push(it)
		}
	case q.order[lane].Len() >= q.capacity:
		return false
	default:
		q.push(&Item{Key: key, Lane: lane, Seen: time.Now()})
	}
	if d, ok := q.delayed[key]; ok {
		d.timer.Stop()
		delete(q.delayed, key)
	}
	return true
}

// push puts an item at the end of its lane, with the lock held.
func (q *Queue) push(it *Item) {
	q.queued[it.Key] = q.order[it.Lane].PushBack(it)
	q.mu.Notify()
}
