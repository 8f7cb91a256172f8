package gdrive

import (
	"context"
	"sync"
)

// keyedMutex is a mutex for each key, for as long as somebody holds or wants it. Its zero value is ready.
type keyedMutex struct {
	mu   sync.Mutex
	keys map[string]*keyedLock
}

type keyedLock struct {
	held  chan struct{} // has room for the one that holds it
	users int
}

// lock waits for the key. The error is the context's.
func (m *keyedMutex) lock(ctx context.Context, key string) (unlock func(), err error) {
	m.mu.Lock()
	if m.keys == nil {
		m.keys = map[string]*keyedLock{}
	}
	l := m.keys[key]
	if l == nil {
		l = &keyedLock{held: make(chan struct{}, 1)}
		m.keys[key] = l
	}
	l.users++
	m.mu.Unlock()

	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.keys, key)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
