package avalon

import (
	"strconv"
	"strings"
	"time"
)

// modified reads from a hash when the file was last modified: "name,ext|1592468963,24|4822" is its name, that time in
// seconds since 1970, and its size, with commas for dots. It is zero if there is no such time.
func modified(hash string) time.Time {
	parts := strings.Split(hash, "|") // a name may have a | in it too
	if len(parts) < 3 {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(strings.Replace(parts[len(parts)-2], ",", ".", 1), 64)
	if err != nil || !(seconds > 0 && seconds < 1<<33) { // to the year 2242; NaN is neither
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}
