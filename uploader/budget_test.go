package uploader

import "testing"

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
