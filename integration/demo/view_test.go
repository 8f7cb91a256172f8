package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/studio"
)

var testSettings = settings{Duration: 30 * time.Second, Rate: 3, Frames: 100, Cache: 200}

// testSnapshot has a publish of every state.
func testSnapshot() snapshot {
	return snapshot{
		settings: testSettings, phase: publishing, clock: 14 * time.Second, calls: 150,
		totals: totals{published: 42, synced: 41, files: 142, bytes: 163 << 20,
			reactions: map[kind]studio.Reactions{single: {8 * time.Millisecond, 30 * time.Millisecond}}},
		items: []item{
			{project: "Aurora", root: "work", what: "Robot modelMain v001 ma", files: 1, size: 180_000, state: synced,
				reaction: 8100 * time.Microsecond},
			{project: "Cascade", root: "render", what: "Robot renderMain v001 exr", files: 100, size: 15 << 20,
				state: uploading, done: 43},
			{project: "Borealis", root: "work", what: "Castle fxMain v001 vdb", files: 1, size: 200 << 20,
				state: uploading},
			{project: "Aurora", root: "work", what: "Lantern rigMain v001 ma", files: 1, size: 350_000, state: failing,
				tries: 2},
			{project: "Aurora", root: "work", what: "Dragon rigMain v001 ma", files: 1, size: 350_000, state: synced,
				tries: 3, reaction: 12 * time.Millisecond},
			{project: "Aurora", root: "work", what: "Harbor modelMain v001 ma", files: 1, size: 180_000,
				state: abandoned},
			{project: "Aurora", root: "work", what: "Harbor modelMain v002 ma", files: 1, size: 180_000,
				state: writing},
		},
		section: []string{"Aurora Lantern rigMain v001 ma: a folder", "try 1 of 3: no", "try 2 of 3: no"},
	}
}

func TestRender(t *testing.T) {
	want := `sitesync demo   publishing   0:14 of 0:30   Drive latency 0s
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━─────────────────────────────────────────────────────
published 42 (3.0/s)   synced 41   files 142 (10/s)   163 MiB (12 MiB/s)   API calls a file 1.06
reaction p50/p99   small 8.0 ms/30 ms   100 frames -   200 MiB cache -

PROJECT   ROOT    PUBLISHED                         FILES      SIZE  STATE            REACTION
Aurora    work    Robot modelMain v001 ma               1   176 KiB  synced             8.1 ms
Cascade   render  Robot renderMain v001 exr           100    15 MiB  ███░░░░░ 43/100
Borealis  work    Castle fxMain v001 vdb                1   200 MiB  uploading
Aurora    work    Lantern rigMain v001 ma               1   342 KiB  failed, try 2/3
Aurora    work    Dragon rigMain v001 ma                1   342 KiB  repaired            12 ms
Aurora    work    Harbor modelMain v001 ma              1   176 KiB  NOT SYNCED
Aurora    work    Harbor modelMain v002 ma              1   176 KiB  writing

ONE UPLOAD FAILS, AND IS REPAIRED
  Aurora Lantern rigMain v001 ma: a folder
  try 1 of 3: no
  try 2 of 3: no
`
	got := strings.TrimRight(strings.Join(render(testSnapshot(), 98, 40, false), "\n"), "\n") + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

var sequences = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Whatever the size of the terminal, nothing is wider or higher, and colors take no room.
func TestRenderFits(t *testing.T) {
	for width := range 140 {
		for _, height := range []int{0, 1, 4, 6, 10, 15, 24, 60} {
			s := testSnapshot()
			plain, colored := render(s, width, height, false), render(s, width, height, true)
			if len(plain) > height {
				t.Errorf("%d x %d: %d lines", width, height, len(plain))
			}
			for _, line := range plain {
				if n := utf8.RuneCountInString(line); n > max(1, width) {
					t.Errorf("%d x %d: %d characters in %q", width, height, n, line)
				}
			}
			if diff := cmp.Diff(plain, strings.Split(sequences.ReplaceAllString(strings.Join(colored, "\n"), ""),
				"\n")); height > 0 && diff != "" {
				t.Errorf("%d x %d: with colors, it is another text: %s", width, height, diff)
			}
		}
	}
}

func TestVisibleKeepsWhatIsNotSynced(t *testing.T) {
	const states = "sussufss" // by their first letters
	var items []item
	for i, c := range states {
		items = append(items, item{what: fmt.Sprint(i),
			state: map[rune]state{'s': synced, 'u': uploading, 'f': failing}[c]})
	}
	for most, want := range map[int]string{-1: "", 0: "", 1: "5", 2: "45", 3: "145", 4: "1457", 6: "134567",
		8: "01234567", 20: "01234567"} {
		got := ""
		for _, it := range visible(items, most) {
			got += it.what
		}
		if got != want {
			t.Errorf("of %s, %d are %q, want %q", states, most, got, want)
		}
	}
}

func TestEventLine(t *testing.T) {
	e := event{at: 1234 * time.Millisecond, verb: "synced", item: testSnapshot().items[0], text: "8.1 ms"}
	want := "   1.2s  synced     Aurora    work    Robot modelMain v001 ma               1 file   176 KiB  8.1 ms"
	if got := eventLine(e); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFormatReaction(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 ms", 1234 * time.Microsecond: "1.2 ms", 9949 * time.Microsecond: "9.9 ms",
		9950 * time.Microsecond: "10 ms",
		999 * time.Millisecond:  "999 ms", 999_600 * time.Microsecond: "1.0 s", 12_345 * time.Millisecond: "12.3 s",
		3 * time.Minute: "180 s",
	} {
		if got := formatReaction(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{{"größe", 5, "größe"}, {"größe", 4, "grö…"}, {"größe", 1, "…"}, {"größe", 0, ""}, {"", 0, ""}} {
		if got := shorten(test.text, test.width); got != test.want {
			t.Errorf("%q to %d is %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
