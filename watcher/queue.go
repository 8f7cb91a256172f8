// Package watcher finds work: a change stream that reacts within milliseconds, a slower poll that catches
// whatever the stream missed, and the queue of keys that both feed. It never decides whether a file is to
// be uploaded and knows nothing of sites; a key only says "look at this representation".
package watcher

import (
	"container/list"
	"context"
	"time"

	"sitesync/avalon"
	"sitesync/cond"
)

// Lane is one of the queue's two priorities.
type Lane int

// The lanes. A publish, or what a person has just changed, does not wait behind a backlog.
const (
	Live    Lane = iota // from the change stream, or due again after a delay
	Backlog             // found by a poll
	lanes
)

// Item is a key to look at.
type Item struct {
	Key        avalon.Key
	Lane       Lane
	EnqueuedAt time.Time // when the key was first added since it was last done
}

// Queue holds keys, each at most once, with the semantics of a Kubernetes work queue: a key that is added while it is
// queued is handed out once; one that is added while it is processed is handed out once more afterwards. Each lane is
// first in, first out.
//
// Its memory is bounded. The poller waits for room in its lane; keys from the stream that find no room in theirs are
// rejected, and a poll finds them later.
type Queue struct {
	capacity int

	mu         cond.Mutex
	order      [lanes]*list.List
	queued     map[avalon.Key]*list.Element // the key's place in its lane, which holds an *Item
	processing map[avalon.Key]*Item         // the item to hand out again when the key is done; nil if there is none
	delayed    map[avalon.Key]delay
	closed     bool
}

// delay is a pending add.
type delay struct {
	timer *time.Timer
	due   time.Time
}

// NewQueue returns an empty queue with room for capacity keys in each lane, and for as many delayed ones.
func NewQueue(capacity int) *Queue {
	return &Queue{
		capacity:   capacity,
		order:      [lanes]*list.List{list.New(), list.New()},
		queued:     map[avalon.Key]*list.Element{},
		processing: map[avalon.Key]*Item{},
		delayed:    map[avalon.Key]delay{},
	}
}

// Add puts a key into a lane. A key in the backlog moves to the live lane if it is added there, even if that is full.
// It reports false if there is no room for a new key.
func (q *Queue) Add(key avalon.Key, lane Lane) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(key, lane)
}

// AddBlocking is Add, but waits for room. The error is that of ctx.
func (q *Queue) AddBlocking(ctx context.Context, key avalon.Key, lane Lane) error {
	return q.mu.Wait(ctx, func() bool { return q.add(key, lane) })
}

// AddAfter adds a key to a lane after a delay, unless it is added sooner, which cancels the delay. Of two delays the
// shorter one counts. If there is no room, the key is left to the next poll.
func (q *Queue) AddAfter(key avalon.Key, lane Lane, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := time.Now().Add(after)
	old, waiting := q.delayed[key]
	switch {
	case q.closed, !waiting && len(q.delayed) >= q.capacity, waiting && !due.Before(old.due):
		return
	case waiting:
		old.timer.Stop()
	}
	q.delayed[key] = delay{due: due, timer: time.AfterFunc(after, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.delayed[key].due.Equal(due) { // else it was replaced or canceled meanwhile
			delete(q.delayed, key)
			q.add(key, lane)
		}
	})}
}

// Get waits for a key in the lane and hands it out. The caller must call Done with it. The error is that of ctx.
func (q *Queue) Get(ctx context.Context, lane Lane) (Item, error) {
	batch, err := q.GetBatch(ctx, lane, 1)
	if err != nil {
		return Item{}, err
	}
	return batch[0], nil
}

// GetBatch is Get for all keys that there are in the lane, but not more than limit.
func (q *Queue) GetBatch(ctx context.Context, lane Lane, limit int) (batch []Item, err error) {
	err = q.mu.Wait(ctx, func() bool {
		for order := q.order[lane]; order.Len() > 0 && len(batch) < limit; {
			item := *order.Remove(order.Front()).(*Item)
			delete(q.queued, item.Key)
			q.processing[item.Key] = nil
			batch = append(batch, item)
		}
		if len(batch) > 0 {
			q.mu.Notify()
		}
		return len(batch) > 0
	})
	return batch, err
}

// Done ends the processing of a key.
func (q *Queue) Done(key avalon.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := q.processing[key]
	delete(q.processing, key)
	if again != nil {
		q.push(again)
	}
}

// Len returns how many keys wait in the lane.
func (q *Queue) Len(lane Lane) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.order[lane].Len()
}

// Delayed returns how many keys wait for a delay to end.
func (q *Queue) Delayed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.delayed)
}

// Idle reports whether no key is queued, delayed or processed.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queued)+len(q.delayed)+len(q.processing) == 0
}

// Close cancels all delays and rejects every key from now on. Queued keys are still handed out.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, d := range q.delayed {
		d.timer.Stop()
	}
	clear(q.delayed)
}

// add is Add with the mutex locked.
func (q *Queue) add(key avalon.Key, lane Lane) bool {
	if q.closed {
		return false
	}
	again, busy := q.processing[key]
	place := q.queued[key]
	switch {
	case busy && again != nil:
		again.Lane = min(again.Lane, lane)
	case busy:
		q.processing[key] = &Item{Key: key, Lane: lane, EnqueuedAt: time.Now()}
	case place != nil:
		if it := place.Value.(*Item); lane < it.Lane {
			q.order[it.Lane].Remove(place)
			it.Lane = lane
			q.push(it)
		}
	case q.order[lane].Len() >= q.capacity:
		return false
	default:
		q.push(&Item{Key: key, Lane: lane, EnqueuedAt: time.Now()})
	}
	if d, ok := q.delayed[key]; ok {
		d.timer.Stop()
		delete(q.delayed, key)
	}
	return true
}

// push puts an item at the end of its lane, with the mutex locked.
func (q *Queue) push(it *Item) {
	q.queued[it.Key] = q.order[it.Lane].PushBack(it)
	q.mu.Notify()
}
