package pacer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pass makes so many requests and returns how long they had to wait.
func pass(t *testing.T, p *Pacer, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start)
}

func TestIsUnlimitedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if d := pass(t, New(), 1000); d != 0 {
			t.Errorf("1000 requests waited %v", d)
		}
	})
}

// Where Drive sets a limit, what has just been published does not wait for all of a backlog's requests.
func TestPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		pass(t, p, 40)
		p.Throttled(time.Now(), 0)
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		ask := func(ctx context.Context, name string) {
			wg.Go(func() {
				if _, err := p.Wait(ctx); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait()
		}
		for i := range 5 {
			ask(t.Context(), fmt.Sprint("backlog ", i))
		}
		ask(WithPriority(t.Context()), "new")
		ask(WithPriority(t.Context()), "newer")
		wg.Wait()
		want := []string{"backlog 0", "new", "newer", "backlog 1", "backlog 2", "backlog 3", "backlog 4"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// Data of an upload session is not held up by what requests wait for, but by a Retry-After.
func TestDoesNotCountData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		pass(t, p, 1)
		p.Throttled(time.Now(), 0)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { pass(t, p, 1) })
		}
		synctest.Wait()
		data := func() time.Duration {
			start := time.Now()
			if _, err := p.WaitRetryAfter(t.Context()); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := data(); d != 0 {
			t.Errorf("data waited %v", d)
		}
		p.Throttled(time.Now(), 5*time.Second)
		if d := data(); d != 5*time.Second {
			t.Errorf("data waited %v, want 5 s", d)
		}
		wg.Wait()
	})
}

// A Retry-After of a limit stops everybody, also who waits already.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		start := time.Now()
		p.Throttled(time.Now(), 2*time.Second)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := p.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d < 7*time.Second {
					t.Errorf("went after %v", d)
				}
			})
		}
		time.Sleep(time.Second)
		p.Throttled(time.Now(), 6*time.Second)
		p.Throttled(time.Now(), time.Second) // does not shorten it
		wg.Wait()
	})
}

func TestHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		p.Throttled(time.Now(), 3600*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				start := time.Now()
				if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) ||
					time.Since(start) != time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		wg.Wait()
	})
}
