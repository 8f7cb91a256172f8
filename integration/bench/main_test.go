package main

import "testing"

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
