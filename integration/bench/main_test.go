package main

import (
	"testing"
	"time"
)

// The benchmark goes on working, whatever its figures are.
func TestBench(t *testing.T) {
	rows, err := measure(t.Context(), cli{Publishes: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.ours == "" || r.other == "" || r.ratio <= 0 {
			t.Errorf("the row is %+v", r)
		}
	}
	if len(rows) == 0 {
		t.Error("no rows")
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := 100; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(all, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if got := quantile([]time.Duration{7}, 0.99); got != 7 {
		t.Errorf("of a single one: %d", got)
	}
}
