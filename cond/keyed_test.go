package cond

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyedMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m KeyedMutex
		lock := func(ctx context.Context, key string) func() {
			unlock, err := m.Lock(ctx, key)
			if err != nil {
				t.Error(err)
			}
			return unlock
		}
		unlock := lock(t.Context(), "a")
		lock(t.Context(), "b")() // is another one

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("locked twice, or another error:", err)
		}
		got := false
		go func() {
			defer lock(t.Context(), "a")()
			got = true
		}()
		synctest.Wait()
		if got {
			t.Error("locked twice")
		}
		unlock()
		synctest.Wait()
		if !got || m.Users() != 0 {
			t.Errorf("got %v, %d use it", got, m.Users())
		}
	})
}
