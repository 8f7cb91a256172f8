package uploader

import (
	"slices"
	"sync"
)

// Budget is how many files are transferred at once by several uploaders together. One alone may use all of it. Where
// several want more than there is, what becomes free goes to the one that uses the least, so that none starves another.
type Budget struct {
	limit int

	mu     sync.Mutex
	shares []*share
	grants uint64 // so far
}

// NewBudget returns a budget of so many transfers, 1 at least.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// share is what one uploader uses of a budget.
type share struct {
	budget *Budget
	wake   func() // called when there may be more for it; must not call back at once

	// Guarded by budget.mu.
	used  int    // transfers, but for those whose storage is slow to answer
	large int    // of large files
	wants bool   // it was refused one
	last  uint64 // number of its last grant
}

// join adds an uploader.
func (b *Budget) join(wake func()) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &share{budget: b, wake: wake}
	b.shares = append(b.shares, s)
	return s
}

// take takes one transfer, and reports whether it may. If not, wake is called when it may be otherwise.
func (s *share) take() bool {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	used, mine := 0, true
	for _, other := range b.shares {
		used += max(other.used, 0)
		if other != s && other.wants && (other.used < s.used || other.used == s.used && other.last < s.last) {
			mine = false
		}
	}
	if s.wants = used >= b.limit || !mine; s.wants {
		return false
	}
	b.grants++
	s.used, s.last = s.used+1, b.grants
	return true
}

// isCrowded reports whether it was refused a transfer, and others have some.
func (s *share) isCrowded() bool {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.wants && slices.ContainsFunc(s.budget.shares, func(other *share) bool {
		return other != s && other.used > 0
	})
}

// mayAddLarge reports whether another large file may be begun. Together they take three quarters of the transfers at
// most, of which each uploader has its part.
func (s *share) mayAddLarge() bool {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	limit, others := b.limit*3/4, 0
	for _, other := range b.shares {
		if other != s {
			others += other.large
		}
	}
	return s.large < max(1, limit-others, limit/max(1, len(b.shares)))
}

// addLarge changes how many of the transfers are those of large files.
func (s *share) addLarge(n int) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s.large += n
	for _, other := range b.shares {
		if n < 0 && other != s {
			go other.wake() // also one that wants nothing while it may not have large files
		}
	}
}

// add changes how much is used: by -1 when a transfer ends.
func (s *share) add(n int) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.used += n
	s.budget.wakeOthers(s)
}

// rest says that nothing is wanted.
func (s *share) rest() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.wants {
		s.wants = false
		s.budget.wakeOthers(s)
	}
}

// leave gives everything back.
func (s *share) leave() {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shares = slices.DeleteFunc(b.shares, func(other *share) bool { return other == s })
	b.wakeOthers(s)
}

// wakeOthers wakes those that want more; b.mu must be locked. Their locks are not waited for: they may wait for this
// one.
func (b *Budget) wakeOthers(s *share) {
	for _, other := range b.shares {
		if other != s && other.wants {
			go other.wake()
		}
	}
}
