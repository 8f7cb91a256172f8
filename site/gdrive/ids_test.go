package gdrive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/site/pacer"
)

// numbered generates ids in batches of two and counts the batches.
func numbered(batches *int) *idPool {
	return newIDPool(noopJournal{}, "account", func(context.Context, int) ([]string, error) {
		*batches++
		return []string{fmt.Sprint(*batches, "a"), fmt.Sprint(*batches, "b")}, nil
	})
}

func TestIDsAreReserved(t *testing.T) {
	var batches int
	p := numbered(&batches)
	reserve := func(folder, name string) string {
		id, err := p.reserve(t.Context(), nameKey{folder, name}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return id.ID
	}
	seen := map[string]bool{}
	for _, at := range []nameKey{{"f", "a"}, {"f", "b"}, {"g", "a"}, {"", "fa"}, {"fa", ""}} {
		id := reserve(at.folder, at.name)
		if seen[id] {
			t.Errorf("%s was given to two", id)
		}
		seen[id] = true
		if again := reserve(at.folder, at.name); again != id {
			t.Errorf("%v: %s, then %s", at, id, again)
		}
	}
	if batches != 3 {
		t.Errorf("%d batches, want 3", batches)
	}
	p.release(nameKey{"f", "a"})
	if id := reserve("f", "a"); seen[id] {
		t.Errorf("%s was used before", id)
	}
}

func TestIDsAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches int
		p := numbered(&batches)
		fast := p.generate
		p.generate = func(ctx context.Context, count int) ([]string, error) {
			if err := pacer.Sleep(ctx, time.Second); err != nil {
				return nil, err
			}
			return fast(ctx, count)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				if _, err := p.reserve(t.Context(), nameKey{name: fmt.Sprint(i)}, nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := p.reserve(ctx, nameKey{name: "impatient"}, nil, nil); !interrupted(err) {
			t.Error(err)
		}
		wg.Wait()
		if batches != 1 {
			t.Errorf("%d batches, want 1", batches)
		}
	})
}

// More ids are asked for while there are some left, by one, so that the others need not wait.
func TestIDsAreAskedForAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := false
		p := newIDPool(noopJournal{}, "account", func(ctx context.Context, count int) (ids []string, err error) {
			if slow {
				if err := pacer.Sleep(ctx, time.Second); err != nil {
					return nil, err
				}
			}
			for range count {
				ids = append(ids, "id")
			}
			return ids, nil
		})
		reserve := func(i int) {
			if _, err := p.reserve(t.Context(), nameKey{fmt.Sprint("f", i), ""}, nil, nil); err != nil {
				t.Error(err)
			}
		}
		reserve(0)
		slow = true
		var wg sync.WaitGroup
		for i := range idBatch - 1 {
			wg.Go(func() { reserve(1 + i) })
		}
		synctest.Wait()
		p.mu.Lock()
		if len(p.free) != 0 || len(p.claims) != idBatch-1 { // all but the one that asks
			t.Errorf("%d ids are left and %d reserved while more are asked for", len(p.free), len(p.claims))
		}
		p.mu.Unlock()
		wg.Wait()
		if len(p.free) != idBatch {
			t.Errorf("%d ids after that", len(p.free))
		}
	})
}

func TestIDsFail(t *testing.T) {
	var batches int
	p := numbered(&batches)
	works := p.generate
	broken := errors.New("broken")
	p.generate = func(context.Context, int) ([]string, error) { return nil, broken }
	if _, err := p.reserve(t.Context(), nameKey{}, nil, nil); err != broken {
		t.Error(err)
	}
	p.generate = works
	if _, err := p.reserve(t.Context(), nameKey{}, nil, nil); err != nil {
		t.Error(err)
	}
}
