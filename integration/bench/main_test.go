package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The benchmark works, whatever its figures are.
func TestBench(t *testing.T) {
	c := cli{Short: true, JSON: true, Picture: filepath.Join(t.TempDir(), "bench.svg")}.profile()
	var out bytes.Buffer
	if err := run(t.Context(), c, &out); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3+2+4+3+2+6+1+(2+1+1+2)+1+2+5+3+4+3+1 {
		t.Errorf("%d rows:\n%s", len(r.Rows), &out)
	}
	for _, r := range r.Rows {
		if len(r.Ours) == 0 || median(r.Ours) <= 0 {
			t.Errorf("the row has no figures of sitesync: %+v", r)
		}
		// The row of a peer that is not installed says so.
		if r.Missing != "" && !strings.Contains(r.Missing, "install") || r.Missing == "" && median(r.Theirs) <= 0 {
			t.Errorf("the row has no figures of %s and does not say how to install it: %+v", r.Peer, r)
		}
	}
	drawn, err := os.Open(c.Picture)
	if err != nil {
		t.Fatal(err)
	}
	defer drawn.Close()
	for d := xml.NewDecoder(drawn); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the picture is not XML: %v", err)
		}
	}
}
