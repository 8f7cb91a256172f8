package studio

import (
	"math"
	"slices"
	"time"
)

// Reactions are times from an acknowledged insert to when anybody can read that it is synced.
type Reactions []time.Duration

// Quantile is the smallest reaction that at least the share q of all, 0 to 1, does not exceed; 0 of none.
func (r Reactions) Quantile(q float64) time.Duration {
	if len(r) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}
