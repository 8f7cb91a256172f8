package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes in the picture, pixels.
const (
	pictureWidth = 860
	labelWidth   = 430
	barWidth     = 320 // of the longer one of a pair
	pairHeight   = 40
	head         = 60
)

// picture draws the main rows, two bars each. The longer bar has the same length everywhere, as units differ.
func picture(r report) string {
	var pairs strings.Builder
	y := head
	for _, r := range r.Rows {
		if !r.Pictured {
			continue
		}
		ours, theirs := median(r.Ours), median(r.Theirs)
		longest := max(ours, theirs)
		fmt.Fprintf(&pairs, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-10, y+21,
			html.EscapeString(r.What))
		for i, b := range []struct {
			name, color, figure string
			value               float64
		}{
			{"sitesync", "#1f6feb", figure(ours) + " " + r.Unit, ours},
			{r.Peer, "#8c959f", figure(theirs) + " " + r.Unit, theirs},
		} {
			text := b.name + " " + b.figure
			if i == 1 && len(r.Theirs) == 0 {
				text = r.Missing
			}
			at, width := y+i*16, 0.0
			if longest > 0 {
				width = b.value / longest * barWidth
			}
			fmt.Fprintf(&pairs, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`+"\n", labelWidth, at, width,
				b.color)
			// The text goes behind a bar that is too short for it.
			x, color := labelWidth+width+5, "#1f2328"
			if width > barWidth/2 {
				x, color = labelWidth+5, "#ffffff"
			}
			fmt.Fprintf(&pairs, `<text x="%.1f" y="%d" fill="%s">%s</text>`+"\n", x, at+11, color,
				html.EscapeString(text))
		}
		y += pairHeight
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d"
	font-family="sans-serif" font-size="11">
<rect width="%[1]d" height="%[2]d" fill="#ffffff"/>
<text x="%[3]d" y="24" font-size="14" text-anchor="middle">sitesync and peers: medians of several rounds</text>
<text x="%[3]d" y="42" text-anchor="middle">files/s and MiB/s: longer is better; calls and ms: shorter is better</text>
%[4]s</svg>
`, pictureWidth, y+10, pictureWidth/2, pairs.String())
}
