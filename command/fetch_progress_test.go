package command

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"sitesync/avalon"
)

// What was here before does not count, and what is running counts in part.
func TestFetchProgress(t *testing.T) {
	count := func(files, mib int64) avalon.FileCount { return avalon.FileCount{Files: files, Bytes: mib << 20} }
	began := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	p := newFetchProgress("gdrive", avalon.Stats{Synced: count(7, 700), Pending: count(4, 1000)})
	running := []avalon.RunningFile{{Path: `{root}\a\plate.1001.exr`, Size: 200 << 20, Done: 0.25}}
	for _, step := range []struct {
		after   time.Duration
		files   avalon.Stats
		running []avalon.RunningFile
		want    string
	}{
		{0, avalon.Stats{Synced: count(7, 700), Pending: count(4, 1000)}, nil, "0 of 4 files, 0 B of 1000 MiB"},
		{time.Second, avalon.Stats{Synced: count(8, 800), Pending: count(3, 900)}, running,
			"1 of 4 files, 150 MiB of 1000 MiB; 150 MiB/s, 5 s left; plate.1001.exr 25%"},
		{2 * time.Second, avalon.Stats{Synced: count(8, 800), Pending: count(0, 0), BackingOff: count(1, 300),
			SourceMissing: count(1, 300), Failed: count(1, 300), Paused: count(9, 900)}, nil,
			"1 of 4 files, 100 MiB of 1000 MiB; 50 MiB/s, 18 s left; 1 waits for the next try, " +
				"1 is not on site gdrive yet, 1 has failed"},
		// Nothing came for longer than the rate is measured.
		{30 * time.Second, avalon.Stats{Synced: count(8, 800), Pending: count(3, 900)}, nil,
			"1 of 4 files, 100 MiB of 1000 MiB"},
		{60 * time.Second, avalon.Stats{Synced: count(11, 1700)}, nil,
			"4 of 4 files, 1000 MiB of 1000 MiB; 30 MiB/s, 0 s left"},
	} {
		p.set(step.files, step.running, began.Add(step.after))
		if got := p.line(); got != step.want {
			t.Errorf("after %v: %s\nwant %s", step.after, got, step.want)
		}
	}
}

func TestFetchValidate(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for version, want := range map[string]avalon.Version{"": {Latest: true}, "latest": {Latest: true},
		"hero": {Hero: true}, "master": {Hero: true}, "all": {}, "3": {Number: number(3)}, "v003": {Number: number(3)},
		"V12": {Number: number(12)}} {
		c := fetchCmd{Subset: "*", Version: version}
		if err := c.Validate(); err != nil || c.version.Latest != want.Latest || c.version.Hero != want.Hero ||
			(c.version.Number == nil) != (want.Number == nil) || want.Number != nil &&
			*c.version.Number != *want.Number {
			t.Errorf("%q: %+v, %v", version, c.version, err)
		}
	}
	for _, wrong := range []fetchCmd{{}, {Name: "exr"}, {Version: "3"}, {Files: []string{"a"}, Family: "look"},
		{Files: []string{"a"}, Version: "latest"}, {Asset: "a", Version: "-1"}, {Asset: "a", Version: "new"},
		{Asset: "a", Version: "9999999999999"}} {
		if err := wrong.Validate(); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// screen is written by one goroutine and read by another.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

// shows waits until the screen shows all of the texts.
func (s *screen) shows(t *testing.T, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		all := s.buf.String()
		s.mu.Unlock()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(all, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not on the screen:\n%s", missing, all)
		}
	}
}

// On a terminal there is a bar for all files, one for each that is running, and notes above them.
func TestFetchBars(t *testing.T) {
	var out screen
	files := avalon.Stats{Pending: avalon.FileCount{Files: 2, Bytes: 4 << 20}}
	p := newFetchProgress("gdrive", files)
	show := newFetchDisplay(&out, true, "Test")
	p.notes = []string{"held: site"}
	p.set(files, []avalon.RunningFile{{Path: "{root}/a\x1b.exr", Size: 3 << 20, Done: 0.5}}, time.Now())
	show.update(p)
	out.shows(t, "held: site\n", "a\ufffd.exr [", "] 3.0 MiB", "0 of 2 files [", "] 1.5 MiB of 4.0 MiB")
	files.Synced, files.Pending = avalon.FileCount{Files: 1, Bytes: 3 << 20}, avalon.FileCount{Files: 1, Bytes: 1 << 20}
	p.set(files, []avalon.RunningFile{{Path: "{root}/b.exr", Size: 1 << 20, Done: 0.5}}, time.Now())
	show.update(p)
	out.shows(t, "b.exr [", "1 of 2 files [", "] 3.5 MiB of 4.0 MiB")
	show.end()
	if n := strings.Count(out.buf.String(), "held: site"); n != 1 {
		t.Errorf("the note is shown %d times", n)
	}
}
