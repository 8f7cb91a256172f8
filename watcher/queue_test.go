package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
)

// key is the key of a made-up representation.
func key(name string) avalon.Key { return avalon.Key{Project: "Test", ID: avalon.ParseID(name)} }

// get takes an item from a lane that must have one.
func get(t *testing.T, q *Queue, lane Lane) Item {
	t.Helper()
	if q.Len(lane) == 0 {
		t.Fatalf("lane %d is empty", lane)
	}
	item, err := q.Get(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// drain takes everything out of a lane, and returns the names in order.
func drain(t *testing.T, q *Queue, lane Lane) []string {
	t.Helper()
	var names []string
	for q.Len(lane) > 0 {
		item := get(t, q, lane)
		names = append(names, item.Key.ID.String())
		q.Done(item.Key)
	}
	return names
}

func expect(t *testing.T, q *Queue, lane Lane, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, drain(t, q, lane)); diff != "" {
		t.Errorf("lane %d (-want +got):\n%s", lane, diff)
	}
}

func add(t *testing.T, q *Queue, lane Lane, names ...string) {
	t.Helper()
	for _, name := range names {
		if !q.Add(key(name), lane) {
			t.Fatalf("no room for %s in lane %d", name, lane)
		}
	}
}

func TestQueueHandsOutEachKeyOnceInOrder(t *testing.T) {
	q := NewQueue(10)
	add(t, q, Live, "a", "b", "a", "c", "b")
	if n := q.Len(Live); n != 3 {
		t.Errorf("length %d, want 3", n)
	}
	expect(t, q, Live, "a", "b", "c")
	add(t, q, Live, "a")
	expect(t, q, Live, "a")
}

func TestQueueAddedWhileLookedAt(t *testing.T) {
	q := NewQueue(10)
	add(t, q, Backlog, "a", "b")
	item := get(t, q, Backlog)
	add(t, q, Backlog, "a", "a")
	add(t, q, Live, "a") // the more urgent lane counts
	add(t, q, Backlog, "a")
	if live, backlog := q.Len(Live), q.Len(Backlog); live != 0 || backlog != 1 {
		t.Errorf("%d live and %d in the backlog while somebody looks at the key, want 0 and 1", live, backlog)
	}
	q.Done(item.Key)
	expect(t, q, Live, "a")
	expect(t, q, Backlog, "b")
	if !q.Idle() {
		t.Error("something is left")
	}
}

func TestQueueDoneOfAnUnknownKey(t *testing.T) {
	q := NewQueue(10)
	q.Done(key("a"))
	if !q.Idle() {
		t.Error("a key appeared")
	}
}

func TestQueueLanesAreApart(t *testing.T) {
	q := NewQueue(2)
	add(t, q, Backlog, "old 1", "old 2")
	add(t, q, Live, "new 1", "new 2")
	if q.Add(key("old 3"), Backlog) || q.Add(key("new 3"), Live) {
		t.Error("a full lane took a key")
	}
	expect(t, q, Live, "new 1", "new 2")
	expect(t, q, Backlog, "old 1", "old 2")
}

func TestQueueKeyMovesUp(t *testing.T) {
	q := NewQueue(3)
	add(t, q, Backlog, "a", "b", "c")
	add(t, q, Live, "x", "y", "z")
	seen := time.Now()
	add(t, q, Live, "b")    // though the live lane is full
	add(t, q, Backlog, "b") // and it does not move down
	if live, backlog := q.Len(Live), q.Len(Backlog); live != 4 || backlog != 2 {
		t.Errorf("%d live and %d in the backlog, want 4 and 2", live, backlog)
	}
	add(t, q, Backlog, "d") // its place is free
	expect(t, q, Backlog, "a", "c", "d")
	for range 3 {
		q.Done(get(t, q, Live).Key)
	}
	item := get(t, q, Live)
	if item.Key != key("b") || item.Lane != Live || item.EnqueuedAt.After(seen) {
		t.Errorf("got %v, want b, live, seen when it was first added", item)
	}
}

// Room must be noticed whichever way it comes about.
func TestQueueAddWaitsForRoom(t *testing.T) {
	ways := map[string]func(*testing.T, *Queue){
		"got":      func(t *testing.T, q *Queue) { get(t, q, Backlog) },
		"moved up": func(t *testing.T, q *Queue) { add(t, q, Live, "a") },
	}
	for name, makeRoom := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := NewQueue(1)
				add(t, q, Backlog, "a")
				added := make(chan error)
				go func() { added <- q.AddBlocking(t.Context(), key("b"), Backlog) }()
				synctest.Wait()
				select {
				case err := <-added:
					t.Fatalf("did not wait for room: %v", err)
				default:
				}
				makeRoom(t, q)
				if err := <-added; err != nil {
					t.Fatal(err)
				}
				expect(t, q, Backlog, "b")
			})
		})
	}
}

func TestQueueAddWaitNeedsNoRoomForAKnownKey(t *testing.T) {
	q := NewQueue(1)
	add(t, q, Backlog, "a")
	if err := q.AddBlocking(t.Context(), key("a"), Backlog); err != nil {
		t.Fatal(err)
	}
	get(t, q, Backlog)
	add(t, q, Backlog, "b")
	if err := q.AddBlocking(t.Context(), key("a"), Backlog); err != nil { // it is being looked at
		t.Fatal(err)
	}
	q.Done(key("a"))
	expect(t, q, Backlog, "b", "a")
}

func TestQueueWaitsEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		add(t, q, Backlog, "a")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- q.AddBlocking(ctx, key("b"), Backlog) }()
		go func() { _, err := q.Get(ctx, Live); ended <- err }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the context", err)
			}
		}
		// Even if there would be no need to wait.
		if _, err := q.Get(ctx, Backlog); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: error %v, want that of the context", err)
		}
		expect(t, q, Backlog, "a")
	})
}

func TestQueueGetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		got := make(chan Item)
		for _, lane := range []Lane{Live, Backlog} {
			go func() {
				item, err := q.Get(t.Context(), lane)
				if err != nil {
					t.Error(err)
				}
				got <- item
			}()
			synctest.Wait()
			add(t, q, lane, "a")
			if item := <-got; item.Key != key("a") || item.Lane != lane {
				t.Errorf("got %v, want a in lane %d", item, lane)
			}
			q.Done(key("a"))
		}
	})
}

func TestQueueDelays(t *testing.T) {
	tests := []struct {
		name string
		do   func(*testing.T, *Queue)
		want map[time.Duration]string // when the key is handed out, and which
	}{
		{"one", func(_ *testing.T, q *Queue) { q.AddAfter(key("a"), Live, time.Second) },
			map[time.Duration]string{time.Second: "a"}},
		{"none", func(_ *testing.T, q *Queue) { q.AddAfter(key("a"), Live, 0) },
			map[time.Duration]string{0: "a"}},
		{"the shorter one counts, coming later", func(_ *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Minute)
			q.AddAfter(key("a"), Live, time.Second)
		}, map[time.Duration]string{time.Second: "a"}},
		{"the shorter one counts, coming first", func(_ *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Second)
			q.AddAfter(key("a"), Live, time.Minute)
		}, map[time.Duration]string{time.Second: "a"}},
		{"an add ends the wait", func(t *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Second)
			add(t, q, Live, "a")
		}, map[time.Duration]string{0: "a"}},
		{"a refused add does not", func(t *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Second)
			add(t, q, Backlog, "b", "c")
			if q.Add(key("a"), Backlog) {
				t.Error("a full lane took a key")
			}
		}, map[time.Duration]string{time.Second: "a"}},
		{"of a key that is looked at", func(t *testing.T, q *Queue) {
			add(t, q, Backlog, "a")
			q.AddAfter(get(t, q, Backlog).Key, Live, time.Second)
			q.Done(key("a"))
		}, map[time.Duration]string{time.Second: "a"}},
		{"of a key that moves up then", func(t *testing.T, q *Queue) {
			add(t, q, Backlog, "a")
			q.AddAfter(key("a"), Live, time.Second)
		}, map[time.Duration]string{time.Second: "a"}},
		{"more than there is room for", func(_ *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Second)
			q.AddAfter(key("b"), Live, time.Minute)
			q.AddAfter(key("c"), Live, time.Hour)
		}, map[time.Duration]string{time.Second: "a", time.Minute: "b"}},
		{"closed", func(_ *testing.T, q *Queue) {
			q.AddAfter(key("a"), Live, time.Second)
			q.Close()
			q.AddAfter(key("b"), Live, time.Second)
		}, map[time.Duration]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := NewQueue(2)
				start := time.Now()
				tt.do(t, q)
				got := map[time.Duration]string{}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				for {
					item, err := q.Get(ctx, Live)
					if err != nil {
						break
					}
					got[time.Since(start)] += item.Key.ID.String()
					q.Done(item.Key)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("handed out (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A delayed key that finds no room then is the poll's, and is not remembered for ever.
func TestQueueDelayedKeyFindsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		q.AddAfter(key("a"), Live, time.Second)
		add(t, q, Live, "b")
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, q, Live, "b")
		if !q.Idle() {
			t.Error("something is left")
		}
	})
}

func TestQueueClose(t *testing.T) {
	q := NewQueue(2)
	add(t, q, Live, "a", "b")
	q.AddAfter(key("c"), Live, time.Hour)
	item := get(t, q, Live)
	add(t, q, Live, "a")
	q.Close()
	q.Close()
	if q.Add(key("d"), Live) {
		t.Error("a closed queue took a key")
	}
	q.Done(item.Key)
	expect(t, q, Live, "b", "a")
	if !q.Idle() {
		t.Error("the delay is left")
	}
}

func TestQueueIdle(t *testing.T) {
	q := NewQueue(2)
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"new", func() {}, true},
		{"queued", func() { add(t, q, Backlog, "a") }, false},
		{"looked at", func() { get(t, q, Backlog) }, false},
		{"done", func() { q.Done(key("a")) }, true},
		{"delayed", func() { q.AddAfter(key("a"), Live, time.Hour) }, false},
		{"closed", q.Close, true},
	}
	for _, s := range steps {
		s.do()
		if got := q.Idle(); got != s.want {
			t.Errorf("%s: idle %v, want %v", s.name, got, s.want)
		}
	}
}

// Nobody looks at a key while another does, and what was added last is looked at afterwards.
func TestQueueManyAtOnce(t *testing.T) {
	const producers, rounds, keys = 4, 500, 20
	q := NewQueue(keys / 4) // so that there is often no room
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	busy, dirty := map[avalon.Key]bool{}, map[avalon.Key]bool{}

	var consumers, all sync.WaitGroup
	for _, lane := range []Lane{Live, Backlog, Live, Backlog} {
		consumers.Go(func() {
			for {
				item, err := q.Get(ctx, lane)
				if err != nil {
					return
				}
				mu.Lock()
				if busy[item.Key] {
					t.Errorf("%s is handed out twice at once", item.Key)
				}
				busy[item.Key], dirty[item.Key] = true, false
				mu.Unlock()
				if q.Len(Live) > 2 {
					q.AddAfter(item.Key, Live, time.Microsecond)
				}
				mu.Lock()
				busy[item.Key] = false
				mu.Unlock()
				q.Done(item.Key)
			}
		})
	}
	for p := range producers {
		all.Go(func() {
			for n := range rounds {
				k := key(fmt.Sprint((n*7 + p) % keys))
				mu.Lock()
				dirty[k] = true
				mu.Unlock()
				if err := q.AddBlocking(ctx, k, Lane((n+p)%2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "the queue is idle", q.Idle)
	cancel()
	consumers.Wait()
	for k, left := range dirty {
		if left {
			t.Errorf("%s was added, but not looked at since", k)
		}
	}
}

// A batch has what waits in the lane at that moment, in its order.
func TestQueueBatch(t *testing.T) {
	q := NewQueue(10)
	add(t, q, Backlog, "a", "b", "c", "d")
	add(t, q, Live, "x", "b")
	var got [][]string
	for range 2 {
		batch, err := q.GetBatch(t.Context(), Backlog, 2)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, item := range batch {
			names = append(names, item.Key.ID.String())
			add(t, q, Backlog, item.Key.ID.String()) // meanwhile, so it comes once more
		}
		got = append(got, names)
	}
	if diff := cmp.Diff([][]string{{"a", "c"}, {"d"}}, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	for _, name := range []string{"a", "c", "d"} {
		q.Done(key(name))
	}
	expect(t, q, Backlog, "a", "c", "d")
	expect(t, q, Live, "x", "b")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if batch, err := q.GetBatch(ended, Live, 2); !errors.Is(err, context.Canceled) || batch != nil {
		t.Errorf("of an empty lane: %v, %v", batch, err)
	}
}
