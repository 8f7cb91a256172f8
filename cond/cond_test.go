package cond_test

import (
	"context"
	"testing"
	"testing/synctest"

	"sitesync/cond"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m cond.Mutex
		left := 3
		waited := make(chan error)
		for range 2 {
			go func() { waited <- m.Wait(t.Context(), func() bool { return left == 0 }) }()
		}
		for left > 0 {
			synctest.Wait()
			m.Lock()
			left--
			m.Notify()
			m.Unlock()
		}
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
	})
}

// A wait ends with its context, and nothing is tried any more.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m cond.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		waited, tries := make(chan error), 0
		go func() { waited <- m.Wait(ctx, func() bool { tries++; return tries > 1 }) }()
		synctest.Wait()
		cancel()
		if err := <-waited; err != context.Canceled || tries != 1 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

func TestChanged(t *testing.T) {
	var m cond.Mutex
	m.Lock()
	defer m.Unlock()
	m.Notify() // nobody waits
	changed := m.Changed()
	select {
	case <-changed:
		t.Error("nothing has changed")
	default:
	}
	m.Notify()
	<-changed
}
