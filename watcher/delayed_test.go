package watcher

import (
	"testing"
	"time"
)

func TestDelayed(t *testing.T) {
	t.Parallel()
	q := NewQueue(10)
	defer q.Close()
	q.AddAfter(key("a"), Live, time.Hour)
	q.AddAfter(key("b"), Backlog, time.Hour)
	q.AddAfter(key("a"), Live, time.Minute)
	if got := q.Delayed(); got != 2 {
		t.Errorf("%d keys are delayed", got)
	}
	q.Add(key("a"), Live)
	if delayed, queued := q.Delayed(), q.Len(Live); delayed != 1 || queued != 1 {
		t.Errorf("%d keys are delayed, %d queued", delayed, queued)
	}
}
