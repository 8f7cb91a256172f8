package studio_test

import (
	"testing"
	"time"

	"sitesync/integration/studio"
)

func TestQuantile(t *testing.T) {
	hundred := make(studio.Reactions, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 1 to 100, the largest first
	}
	for _, test := range []struct {
		all  studio.Reactions
		q    float64
		want time.Duration
	}{
		{nil, 0.5, 0},
		{studio.Reactions{7}, 0, 7}, {studio.Reactions{7}, 0.99, 7}, {studio.Reactions{7}, 1, 7},
		{studio.Reactions{3, 1, 2}, 0.5, 2}, {studio.Reactions{4, 3, 1, 2}, 0.5, 2},
		{studio.Reactions{3, 1, 2}, 0.99, 3},
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
	} {
		if got := test.all.Quantile(test.q); got != test.want {
			t.Errorf("%v of %v is %d, want %d", test.q, test.all, got, test.want)
		}
	}
}
