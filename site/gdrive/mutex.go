package gdrive

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// keyedMutex is a mutex for each key. Its zero value is ready.
type keyedMutex struct {
	mu   sync.Mutex
	keys map[string]*keyedLock
}

type keyedLock struct {
	*semaphore.Weighted
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
		l = &keyedLock{Weighted: semaphore.NewWeighted(1)}
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
