// Package cond has a condition variable whose waits end with a context.
package cond

import (
	"context"
	"sync"
)

// Mutex guards a state that goroutines wait for. Its zero value is an unlocked one.
type Mutex struct {
	sync.Mutex
	changed chan struct{} // closed at the next Notify; nil if nobody waits
}

// Notify wakes all that wait. The mutex must be locked.
func (m *Mutex) Notify() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Changed returns a channel that is closed at the next Notify. The mutex must be locked.
func (m *Mutex) Changed() <-chan struct{} {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// Wait calls try with the mutex locked, now and after every Notify, until it returns true or ctx ends. It is not called
// any more after that.
func (m *Mutex) Wait(ctx context.Context, try func() bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.Lock()
		if try() {
			m.Unlock()
			return nil
		}
		changed := m.Changed()
		m.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}
