package avalon

import (
	"testing"
	"time"
)

func TestModified(t *testing.T) {
	at := time.Date(2020, 6, 18, 8, 29, 23, 240_000_000, time.UTC)
	for hash, want := range map[string]time.Time{
		"a,ma|1592468963,24|5":        at,
		"a|b,ma|1592468963,24|5":      at,
		"a,ma|1592468963.24|5":        at,
		"a,ma|1592468963,0|5":         at.Truncate(time.Second),
		"a,ma|1592468963|5":           at.Truncate(time.Second),
		"":                            {},
		"9e107d9d372bb6826bd81d3542a": {},
		"a,ma|5":                      {},
		"a,ma||5":                     {},
		"a,ma|yesterday|5":            {},
		"a,ma|-1592468963,24|5":       {},
		"a,ma|0,0|5":                  {},
		"a,ma|nan|5":                  {},
		"a,ma|inf|5":                  {},
		"a,ma|1e300|5":                {},
	} {
		// A float holds a time of today to less than a microsecond.
		if got := modifiedFromHash(hash); got.Sub(want).Abs() > time.Microsecond {
			t.Errorf("%q is of %s, want %s", hash, got, want)
		}
	}
}
