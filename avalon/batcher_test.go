package avalon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// slowBatcher is a batcher whose batches take a second, and what was sent.
type slowBatcher struct {
	*batcher[int, int]
	mu       sync.Mutex
	requests [][]int
	ended    error // that the context of the last request ended with while it was under way
}

func newSlowBatcher(most int, apart time.Duration) *slowBatcher {
	a := &slowBatcher{}
	a.batcher = newBatcher(most, apart, func(ctx context.Context, _ string, batch []*request[int, int]) {
		var request []int
		for _, q := range batch {
			request = append(request, q.query)
			q.answer = 10 * q.query
			if q.query == 0 {
				q.err = errors.New("nothing is asked")
			}
		}
		a.mu.Lock()
		a.requests = append(a.requests, request)
		a.mu.Unlock()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			a.ended = ctx.Err()
		}
	})
	return a
}

func TestBatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlowBatcher(3, 100*time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		ask := func(project string, n int, answered time.Duration) {
			wg.Go(func() {
				got, err := a.submit(t.Context(), project, n)
				if got != 10*n || (err == nil) != (n != 0) || time.Since(start) != answered {
					t.Errorf("%d is answered %d, %v after %s, not %s", n, got, err, time.Since(start), answered)
				}
			})
			synctest.Wait()
		}
		ask("a", 1, time.Second) // alone
		ask("a", 2, 2100*time.Millisecond)
		ask("a", 0, 2100*time.Millisecond)
		ask("a", 3, 2100*time.Millisecond)
		ask("a", 4, 3200*time.Millisecond)
		ask("b", 5, time.Second)
		wg.Wait()
		if diff := cmp.Diff([][]int{{1}, {5}, {2, 0, 3}, {4}}, a.requests); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(a.waiting) != 0 {
			t.Errorf("%d projects are remembered", len(a.waiting))
		}
	})
}

func TestBatcherWithThoseWhoGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlowBatcher(10, 0)
		var gone []context.CancelFunc
		var wg sync.WaitGroup
		for n := range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			gone = append(gone, cancel)
			wg.Go(func() {
				if _, err := a.submit(ctx, "a", n+1); (n == 1 || n == 2) != errors.Is(err, context.Canceled) {
					t.Errorf("%d: %v", n+1, err)
				}
			})
			synctest.Wait()
		}
		gone[1]() // while it waits
		time.Sleep(time.Second + time.Millisecond)
		gone[2]() // while it is asked with another
		time.Sleep(time.Second)
		gone[0]() // too late, it has been answered
		wg.Wait()
		synctest.Wait()
		if diff := cmp.Diff([][]int{{1}, {3, 4}}, a.requests); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if a.ended != nil {
			t.Error("a request was given up that somebody waits for")
		}
		gone[3]()
	})
}

// Representations that are read and recorded at the same time have nothing to do with each other: one is gone, one is
// malformed, one is refused by the database, and all others are as if they were alone.
func TestManyTogether(t *testing.T) {
	s, coll := newStore(t)
	docs := make([]bson.D, 100)
	for i := range docs {
		docs[i] = representation(entry("{root}/a", list()))
	}
	keys := insert(t, coll, docs...)
	const refused, gone, malformed = 20, 40, 60
	set := func(i int, field string, v any) {
		if _, err := coll.UpdateByID(t.Context(), keys[i].ID, bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: v}}}}); err != nil {
			t.Fatal(err)
		}
	}
	set(malformed, "files", "none")
	set(refused, "refused", true)
	if _, err := coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: keys[gone].ID}}); err != nil {
		t.Fatal(err)
	}
	validator := bson.D{{Key: "$nor", Value: bson.A{bson.D{{Key: "refused", Value: true},
		{Key: "files.sites.created_dt", Value: bson.D{{Key: "$gt", Value: published.Add(time.Hour)}}}}}}}
	if err := coll.Database().RunCommand(t.Context(), bson.D{{Key: "collMod", Value: project}, {Key: "validator", Value: validator}}).Err(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var recorded []int
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			r, err := s.Representation(t.Context(), key)
			switch {
			case i == gone:
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("of the one that is gone: %v", err)
				}
				return
			case i == malformed:
				if !errors.As(err, new(*MalformedError)) {
					t.Errorf("of the malformed one: %v", err)
				}
				return
			case err != nil || r.Key != key:
				t.Errorf("%s is read as %+v: %v", key, r, err)
				return
			}
			_, err = recorder(s).Record(t.Context(), key, []Outcome{{File: r.Files[0], RemoteID: key.ID.String(), At: published.Add(2 * time.Hour)}})
			if errors.As(err, new(*RecordError)) != (i == refused) || err != nil && i != refused {
				t.Errorf("record %d: %v", i, err)
			}
			r, err = s.Representation(t.Context(), key)
			if err != nil {
				t.Error(err)
				return
			}
			if rec, _ := r.Files[0].RecordFor(gdrive); rec.Created && rec.RemoteID == key.ID.String() {
				mu.Lock()
				defer mu.Unlock()
				recorded = append(recorded, i)
			}
		})
	}
	wg.Wait()
	slices.Sort(recorded)
	var want []int
	for i := range keys {
		if i != refused && i != gone && i != malformed {
			want = append(want, i)
		}
	}
	if diff := cmp.Diff(want, recorded); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// An outcome that waits for another one to be written is not written any more by who may have been replaced meanwhile.
func TestFence(t *testing.T) {
	s, coll := newStore(t)
	keys := insert(t, coll, representation(entry("{root}/a", list())), representation(entry("{root}/b", list())))
	outcome := func(key Key) (Key, []Outcome) {
		rep, err := s.Representation(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return key, []Outcome{{File: rep.Files[0], RemoteID: "1", At: published}}
	}
	taken := errors.New("another process has taken over")
	asked, held := 0, make(chan struct{})
	r := s.Recorder(route, func() error { // one batch is sent at a time
		if asked++; asked == 1 {
			<-held
			return nil
		}
		return taken
	})
	var wg sync.WaitGroup
	record := func(key Key, want error) {
		key, outcomes := outcome(key)
		wg.Go(func() {
			if _, err := r.Record(t.Context(), key, outcomes); !errors.Is(err, want) {
				t.Errorf("record %s: %v, want %v", key, err, want)
			}
		})
	}
	waiting := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			r.writes.mu.Lock()
			list, busy := r.writes.waiting[project]
			r.writes.mu.Unlock()
			if busy && len(list) == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d outcomes wait, want %d", len(list), n)
			}
		}
	}
	record(keys[0], nil)
	waiting(0)
	record(keys[1], taken)
	waiting(1)
	close(held)
	wg.Wait()
	for i, want := range []bool{true, false} {
		rep, err := s.Representation(t.Context(), keys[i])
		if err != nil {
			t.Fatal(err)
		}
		rec, _ := rep.Files[0].RecordFor(gdrive)
		if rec.Created != want {
			t.Errorf("record %d is %+v", i, rec)
		}
		if err := r.SetProgress(t.Context(), keys[i], rep.Files[0], 0.5); !errors.Is(err, taken) {
			t.Errorf("progress: %v", err)
		}
	}
}
