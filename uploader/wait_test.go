package uploader

import (
	"testing"
	"time"

	"sitesync/avalon"
)

func TestWaits(t *testing.T) {
	var w waits
	start := time.Date(2020, 6, 18, 8, 0, 0, 0, time.UTC)
	file := avalon.File{Path: "{root}/a"}
	k := task{job: &job{key: key("a"), seen: start.Add(-time.Hour)}, file: file}
	for _, test := range []struct{ after, want time.Duration }{
		{0, firstLook},
		{10 * time.Millisecond, firstLook},
		{time.Second, 200 * time.Millisecond},
		{30 * time.Second, lastLook},
		{59 * time.Second, time.Second},
		{time.Minute, 0},
		{time.Hour, 0},
	} {
		// However long the representation has been in the queue, the source has its time from the first look.
		if got := w.next(k, start.Add(test.after), time.Minute); got != test.want {
			t.Errorf("after %s: %s, want %s", test.after, got, test.want)
		}
	}

	// The reaction counts from when the file came to our notice.
	later := k
	later.job = &job{key: key("a"), seen: start.Add(time.Minute)}
	if got := w.done(later); !got.Equal(k.job.seen) {
		t.Errorf("seen %s", got)
	}
	if got := w.done(later); !got.Equal(later.job.seen) {
		t.Errorf("seen %s once it is done", got)
	}
	if got := w.next(later, start.Add(time.Hour), time.Minute); got != firstLook {
		t.Errorf("a new wait begins with %s", got)
	}
	w.keep(key("a"), []avalon.File{file})
	if len(w.all) != 1 {
		t.Errorf("kept %v", w.all)
	}
	w.keep(key("a"), nil)
	if len(w.all) != 0 {
		t.Errorf("left %v", w.all)
	}
}
