package uploader

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/watcher"
)

func joined(b *Budget) (*share, chan bool) {
	woken := make(chan bool, 100)
	return b.join(func() { woken <- true }), woken
}

// takeAll takes all that a share may have.
func takeAll(s *share) (n int) {
	for s.take() {
		n++
	}
	return n
}

// One uploader alone may use all of the budget, and gives way to another as its transfers end.
func TestBudgetIsShared(t *testing.T) {
	b := NewBudget(8)
	up, _ := joined(b)
	down, woken := joined(b)
	if n := takeAll(up); n != 8 {
		t.Fatalf("alone it may have %d of 8", n)
	}
	if down.take() {
		t.Fatal("there was none left")
	}
	for range 4 {
		up.add(-1)
		<-woken
		if up.take() {
			t.Error("the one that uses more takes what has become free")
		}
		if !down.take() {
			t.Fatal("what has become free is for the one that uses less")
		}
		if down.take() {
			t.Fatal("it takes more than there is")
		}
	}
	if up.used != 4 || down.used != 4 {
		t.Errorf("they use %d and %d", up.used, down.used)
	}
	down.rest()
	down.add(-4)
	if n := takeAll(up); n != 4 {
		t.Errorf("of 4 that nobody wants it may have %d", n)
	}
}

// Of a single transfer each has its turn.
func TestBudgetTakesTurns(t *testing.T) {
	b := NewBudget(1)
	up, wokenUp := joined(b)
	down, wokenDown := joined(b)
	if !up.take() || down.take() {
		t.Fatal("the first takes the only one")
	}
	for range 3 {
		up.add(-1)
		<-wokenDown
		if up.take() || !down.take() {
			t.Fatal("the other one waits for its turn")
		}
		if up.take() {
			t.Fatal("there is only one")
		}
		down.add(-1)
		<-wokenUp
		if down.take() || !up.take() {
			t.Fatal("the first one waits for its turn")
		}
		if down.take() {
			t.Fatal("there is only one")
		}
	}
}

// What an uploader has that ends, or wants no more, is free for others.
func TestBudgetLeave(t *testing.T) {
	b := NewBudget(2)
	up, woken := joined(b)
	down, _ := joined(b)
	takeAll(down)
	if up.take() {
		t.Fatal("there was none left")
	}
	down.leave()
	<-woken
	if n := takeAll(up); n != 2 {
		t.Errorf("it may have %d of 2", n)
	}
	third, _ := joined(b)
	if third.take() {
		t.Fatal("there was none left")
	}
	up.add(-1)
	third.rest()
	if !up.take() {
		t.Error("one that wants no more is still waited for")
	}
}

// A transfer whose storage is slow to answer makes room for another one.
func TestBudgetOfSlowStorage(t *testing.T) {
	s, _ := joined(NewBudget(2))
	takeAll(s)
	s.add(-1)
	if n := takeAll(s); n != 1 {
		t.Errorf("it may have %d more", n)
	}
	s.add(1)
	if s.take() {
		t.Error("it has returned, so there is one too many")
	}
}

// Large files of both directions together leave transfers free for what is small, and neither has all of their part.
func TestBudgetOfLargeFiles(t *testing.T) {
	b := NewBudget(8)
	up, _ := joined(b)
	down, woken := joined(b)
	takeLarge := func(s *share) (n int) {
		for s.mayAddLarge() && s.take() {
			s.addLarge(1)
			n++
		}
		return n
	}
	end := func(s *share) {
		s.addLarge(-1)
		s.add(-1)
	}
	if n := takeLarge(up); n != 6 {
		t.Fatalf("alone it may have %d large files", n)
	}
	if n := takeLarge(down); n != 2 {
		t.Fatalf("the other one has %d of the last transfers", n)
	}
	for range 3 {
		end(up)
		<-woken
		takeLarge(down)
		takeLarge(up)
	}
	if up.large != 3 || down.large != 3 {
		t.Errorf("they have %d and %d large files", up.large, down.large)
	}
	down.rest()
	for range 3 {
		end(down)
	}
	if takeLarge(up); up.large != 6 {
		t.Errorf("alone again it has %d large files", up.large)
	}
}

// What was just published does not wait for what another uploader has been about for long.
func TestSpareTransferBesideAnotherUploader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := watcher.NewQueue(100)
		defer q.Close()
		budget := NewBudget(1)
		down, up := newScheduler(1, q, budget), newScheduler(1, q, budget)
		down.plan("cache", watcher.Backlog, files("cache", 2, 100<<30)...)
		if _, err := down.nextTask(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go up.nextTask(ctx, false)
		taken := make(chan string)
		go func() {
			k, _ := up.nextTask(ctx, true)
			taken <- k.file.Path
		}()
		synctest.Wait()
		up.plan("published", watcher.Live, files("new", 1, 1)...)
		if got := <-taken; got != "new0" {
			t.Errorf("the spare transfer takes %q", got)
		}
	})
}

// One that begins nothing any more leaves the other all that it does not use, though files of its own are left.
func TestBudgetOfOneThatStops(t *testing.T) {
	q := watcher.NewQueue(100)
	defer q.Close()
	budget := NewBudget(2)
	down, up := newScheduler(2, q, budget), newScheduler(2, q, budget)
	down.plan("down", watcher.Backlog, files("down", 9, 1)...)
	up.plan("up", watcher.Backlog, files("up", 9, 1)...)
	for _, s := range []*scheduler{down, up} {
		if _, err := s.nextTask(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	stopping, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		_, err := down.nextTask(stopping, false)
		stopped <- err
	}()
	for waits := false; !waits; {
		budget.mu.Lock()
		waits = down.share.wants
		budget.mu.Unlock()
	}
	stop()
	<-stopped
	down.free()
	for range 2 { // the second one when the first has ended
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := up.nextTask(ctx, false); err != nil {
			t.Error("it waits for one that has stopped")
		}
		cancel()
		up.free()
	}
}
