package main

import (
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.figures); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.figures, got, c.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{Ours: []float64{1}, Theirs: []float64{1}}, ""},
		{row{Ours: []float64{3, 3}, Theirs: []float64{2, 1}, Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1.5}},
			"ratio >= 1.5: met"},
		{row{Ours: []float64{1}, Theirs: []float64{1}, Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1.5}},
			"ratio >= 1.5: MISSED"},
		{row{Ours: []float64{1}, Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1.5}}, "ratio >= 1.5: not measured"},
		{row{Ours: []float64{1}, Theirs: []float64{2}, Bar: &bar{Of: ofRatio, Limit: 0.5}}, "ratio <= 0.5: met"},
		{row{Ours: []float64{1.06}, Bar: &bar{Of: ofOurs, Limit: 1.05}}, "sitesync <= 1.05: MISSED"},
	} {
		if got := c.row.verdict(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.row, got, c.want)
		}
	}
}

// The column of a peer that is not installed says so.
func TestMissingPeer(t *testing.T) {
	r := report{Rows: []row{{What: "files", Unit: "files/s", Ours: []float64{12}, Peer: "rclone", Pictured: true,
		Missing: "rclone is not installed: apt install rclone"}}}
	var out strings.Builder
	if err := r.table(&out); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"table": out.String(), "picture": picture(r)} {
		if !strings.Contains(text, "12.0") || !strings.Contains(text, "apt install rclone") {
			t.Errorf("the %s is\n%s", name, text)
		}
	}
}

// A document keeps what is around the report.
func TestDocument(t *testing.T) {
	r := report{About: []string{"here"},
		Rows: []row{{What: "files", Unit: "files/s", Ours: []float64{12}, Peer: "rclone", Theirs: []float64{10},
			Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1.5}}}}
	text := "before\n" + documentBegin + "old\n" + documentEnd + "after\n"
	for range 2 {
		var err error
		if text, err = r.document(text); err != nil {
			t.Fatal(err)
		}
	}
	want := "before\n" + documentBegin + `
| What | sitesync | Peer | Ratio | Spread | Bar |
|---|---|---|---|---|---|
| files | 12.0 files/s | rclone 10.0 | 1.20 | 1.20 to 1.20 | ratio >= 1.5: **missed** |

- here

` + documentEnd + "after\n"
	if text != want {
		t.Errorf("the document is\n%s", text)
	}
	if _, err := r.document("nothing to go by"); err == nil {
		t.Error("no error without the marks")
	}
}
