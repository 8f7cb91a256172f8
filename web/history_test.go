package web

import (
	"strings"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/uploader"
)

func key(project, rep string) avalon.Key {
	return avalon.Key{Project: project, ID: avalon.ParseID(rep)}
}

func syncedFile(project, rep, path string, size int64, reaction time.Duration) uploader.SyncedFile {
	return uploader.SyncedFile{Key: key(project, rep), Direction: config.Up, Path: path, Bytes: size,
		Reaction: reaction}
}

// The files of a sequence are one line, also if those of another come between them.
func TestHistoryGathersSequences(t *testing.T) {
	t.Parallel()
	var h history
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for i := range 10 {
		h.add(syncedFile("Test", "a", "a.1001.exr", 10, time.Duration(10-i)*time.Second), now)
		h.add(syncedFile("Test", "b", "b.1001.exr", 1, time.Second), now)
	}
	h.add(syncedFile("Other", "a", "c.ma", 7, time.Second), now) // the same id in another project
	h.add(syncedFile("Test", "b", "b.1001.exr", 1, time.Second), now.Add(2*groupWithin))
	var got []string
	for _, r := range h.last(10) {
		got = append(got, strings.Join([]string{r.Key.Project, r.Key.ID.String(), explain.Plural(r.Files, "file"),
			size(r.Bytes), r.Reaction()}, " "))
	}
	want := "Test b 1 file 1 B 1.0 s|Other a 1 file 7 B 1.0 s|Test b 10 files 10 B 1.0 s|" +
		"Test a 10 files 100 B 1.0 s to 10 s"
	if strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h history
	now := time.Now()
	for i := range 3 * maxRecent {
		h.add(syncedFile("Test", strings.Repeat("a", i+1), "a.ma", 1, 0), now)
	}
	if got := h.last(1000); len(got) != maxRecent || len(got[0].Key.ID.String()) != 3*maxRecent {
		t.Errorf("%d are remembered, the last one is %v", len(got), got[0].Key.ID)
	}
}

func TestHour(t *testing.T) {
	t.Parallel()
	var h history
	start := time.Date(2026, 11, 25, 12, 0, 30, 0, time.UTC)
	for _, minutes := range []int{0, 1, 1, 30, 75, 75, 75, 76} {
		h.add(syncedFile("Test", "a", "a.ma", 100, 0), start.Add(time.Duration(minutes)*time.Minute))
	}
	hour := h.hour(start.Add(76 * time.Minute))
	got := map[int]int64{}
	for i, m := range hour {
		if m.up.files > 0 {
			got[i] = m.up.files
			if m.up.bytes != 100*m.up.files {
				t.Errorf("minute %d has %d bytes", i, m.up.bytes)
			}
		}
	}
	// What is more than an hour ago has gone, though its place was not used again.
	if len(got) != 3 || got[59] != 1 || got[58] != 3 || got[59-46] != 1 {
		t.Errorf("%v", got)
	}
	c := newChart(hour)
	if c.Files.Sum() != 5 || c.Files.Max != 3 || c.Bytes.Sum() != 500 || c.Files.Down != "" ||
		c.Files.Up != "M131 60v-20.0h8v20.0zM581 60v-60.0h8v60.0zM591 60v-20.0h8v20.0z" {
		t.Errorf("%+v", c)
	}
	if c := newChart([chartMinutes]minute{}); c.Files != (bars{}) {
		t.Errorf("an empty hour: %+v", c)
	}
}

// Downloads stand on the uploads of the same minute, and neither hides the other.
func TestHourOfBothDirections(t *testing.T) {
	t.Parallel()
	var h history
	now := time.Date(2026, 11, 25, 12, 0, 30, 0, time.UTC)
	add := func(minutes, uploads, downloads int) {
		f := syncedFile("Test", "a", "a.ma", 100, 0)
		for range uploads {
			h.add(f, now.Add(-time.Duration(minutes)*time.Minute))
		}
		f.Direction = config.Down
		for range downloads {
			h.add(f, now.Add(-time.Duration(minutes)*time.Minute))
		}
	}
	add(3, 0, 2)
	add(2, 1, 1)
	add(1, 999, 1)
	add(0, 1, 999)
	got := newChart(h.hour(now)).Files
	want := bars{
		Up:   "M571 60v-2.0h8v2.0zM581 60v-58.0h8v58.0zM591 60v-2.0h8v2.0z",
		Down: "M561 60v-2.0h8v2.0zM571 58v-2.0h8v2.0zM581 2v-2.0h8v2.0zM591 58v-58.0h8v58.0z",
		Max:  1000, SumUp: 1001, SumDown: 1003,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// The files of a representation that went both ways are two lines.
	if list := h.last(10); len(list) < 2 || list[0].Direction != config.Down || list[1].Direction != config.Up {
		t.Errorf("just synced: %+v", list)
	}
}

func TestSpeeds(t *testing.T) {
	t.Parallel()
	var s speeds
	start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64, sent ...int64) []transferRow {
		var all []transferRow
		for i, n := range sent { // with numbers that each direction counts for itself
			all = append(all, transferRow{Transfer: uploader.Transfer{Sent: n, Began: start}, Direction: upDown[i]})
		}
		s.measure(all, start.Add(time.Duration(seconds*float64(time.Second))))
		return all
	}
	for _, step := range []struct {
		after float64
		sent  int64
		want  float64
	}{
		{0.1, 50, 0},     // too soon to say
		{1, 100, 100},    // since the begin
		{2, 1050, 525},   // 1000 bytes in 1.9 s
		{2.5, 1100, 525}, // too soon after the last look
		{3, 1050, 525. / 2},
		{4, 1050, 525. / 4},
	} {
		for _, row := range at(step.after, step.sent, step.sent) {
			if got := row.Speed; got < step.want*0.99 || got > step.want*1.02 {
				t.Errorf("after %v s: %v bytes a second, want %v", step.after, got, step.want)
			}
		}
	}
	at(10)
	if len(s.samples) != 0 {
		t.Errorf("%d that have ended are remembered", len(s.samples))
	}
}

func TestTransferText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size, sent int64
		speed      float64
		left       time.Duration
		text       string
		percent    int
	}{
		{100 << 20, 25 << 20, 5 << 20, 15 * time.Second, "25 MiB of 100 MiB, 5.0 MiB/s, 15 s left", 25},
		{100, 0, 0, 0, "starting, 100 B", 0},
		{100, 100, 10, 0, "100 B sent, to be confirmed", 100},
		{100, 150, 10, 0, "100 B sent, to be confirmed", 100}, // it has grown
		{-1, 7, 0, 0, "7 B sent", 0},
		{0, 0, 0, 0, "starting, 0 B", 0},
		{4 << 30, 1 << 30, 1 << 20, 51*time.Minute + 12*time.Second,
			"1.0 GiB of 4.0 GiB, 1.0 MiB/s, 51 min 12 s left", 25},
	} {
		row := transferRow{uploader.Transfer{Size: test.size, Sent: test.sent}, config.Up, test.speed, test.left}
		if row.Text() != test.text || row.Percent() != test.percent {
			t.Errorf("%+v: %q, %d %%", test, row.Text(), row.Percent())
		}
	}
}

func TestDownloadText(t *testing.T) {
	t.Parallel()
	row := transferRow{Transfer: uploader.Transfer{Size: 100, Sent: 100}, Direction: config.Down}
	if want := "100 B received, to be confirmed"; row.Text() != want {
		t.Errorf("%q, want %q", row.Text(), want)
	}
}

func TestPathsForPeople(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][2]string{
		"{root}/Test/Assets/Cylinder/a.ma": {"a.ma", "Assets/Cylinder"},
		`{root[work]}\Test\shots\a.ma`:     {"a.ma", "{root[work]}/Test/shots"},
		"a.ma":                             {"a.ma", ""},
		"":                                 {".", ""},
	} {
		if got := [2]string{name(path), folder("Test", path)}; got != want {
			t.Errorf("%q is %q", path, got)
		}
	}
	if got := wrap(`a_<b>/c&`); got != `a_<wbr>&lt;b&gt;/<wbr>c&amp;` {
		t.Errorf("%s", got)
	}
}
