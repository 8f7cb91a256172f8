package uploader

import (
	"slices"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
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

	// Where nobody has just published it, it is looked at a few times only.
	var looks []time.Duration
	old := task{job: &job{key: key("old")}, file: file, lane: watcher.Backlog}
	for at := start; ; {
		wait := w.next(old, at, time.Minute)
		if wait == 0 {
			break
		}
		looks, at = append(looks, wait/time.Second), at.Add(wait)
	}
	if !slices.Equal(looks, []time.Duration{2, 2, 4, 8, 16, 28}) {
		t.Errorf("waits of %v s in the backlog", looks)
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
	w.done(old)
	if len(w.all) != 1 {
		t.Errorf("kept %v", w.all)
	}
	w.keep(key("a"), nil)
	if len(w.all) != 0 {
		t.Errorf("left %v", w.all)
	}
}
