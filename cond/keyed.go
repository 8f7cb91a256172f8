package cond

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// KeyedMutex is a mutex for each key. Its zero value is ready.
type KeyedMutex struct {
	mu   sync.Mutex
	keys map[string]*keyedLock
}

type keyedLock struct {
	*semaphore.Weighted
	users int
}

// Lock waits for the key. The error is the context's.
func (m *KeyedMutex) Lock(ctx context.Context, key string) (unlock func(), err error) {
	m.mu.Lock()
	l := m.keys[key]
	if l == nil {
		l = &keyedLock{Weighted: semaphore.NewWeighted(1)}
		if m.keys == nil {
			m.keys = map[string]*keyedLock{}
		}
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
	if err := l.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() { l.Release(1); leave() }, nil
}

// Users is how many have locked a key or wait for one.
func (m *KeyedMutex) Users() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.keys {
		n += l.users
	}
	return n
}
