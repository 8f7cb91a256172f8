package web

import (
	"fmt"
	"strings"
)

// chart is the last hour as two rows of bars.
type chart struct {
	Files, Bytes       string // paths of an SVG, chartMinutes*10 wide and chartHeight high
	MaxFiles, MaxBytes int64  // in a minute
	SumFiles, SumBytes int64
}

const chartHeight = 60

func newChart(hour [chartMinutes]minute) (c chart) {
	for _, m := range hour {
		c.MaxFiles, c.MaxBytes = max(c.MaxFiles, m.files), max(c.MaxBytes, m.bytes)
		c.SumFiles += m.files
		c.SumBytes += m.bytes
	}
	var files, bytes strings.Builder
	for i, m := range hour {
		bar(&files, i, m.files, c.MaxFiles)
		bar(&bytes, i, m.bytes, c.MaxBytes)
	}
	c.Files, c.Bytes = files.String(), bytes.String()
	return c
}

// bar draws one bar, high enough to be seen.
func bar(b *strings.Builder, i int, n, highest int64) {
	if n <= 0 {
		return
	}
	h := max(float64(n)/float64(highest)*chartHeight, 2)
	fmt.Fprintf(b, "M%d %dv-%.1fh8v%.1fz", i*10+1, chartHeight, h, h)
}
