package uploader

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
)

func TestWaits(t *testing.T) {
	var w sourceWaits
	start := time.Date(2020, 6, 18, 8, 0, 0, 0, time.UTC)
	file := avalon.File{Path: "{root}/a"}
	k := task{job: &job{key: key("a"), seen: start.Add(-time.Hour)}, file: file}
	for _, test := range []struct{ after, want time.Duration }{
		{0, minSourceCheck},
		{10 * time.Millisecond, minSourceCheck},
		{time.Second, 200 * time.Millisecond},
		{30 * time.Second, maxSourceCheck},
		{59 * time.Second, time.Second},
		{time.Minute, 0},
		{time.Hour, 0},
	} {
		// However long the representation has been in the queue, the source has its time from the first look.
		if got := w.nextCheck(k, start.Add(test.after), time.Minute); got != test.want {
			t.Errorf("after %s: %s, want %s", test.after, got, test.want)
		}
	}

	// Where nobody has just published it, it is looked at a few times only.
	var looks []time.Duration
	old := task{job: &job{key: key("old")}, file: file, lane: watcher.Backlog}
	for at := start; ; {
		wait := w.nextCheck(old, at, time.Minute)
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
	if got := w.finish(later); !got.Equal(k.job.seen) {
		t.Errorf("seen %s", got)
	}
	if got := w.finish(later); !got.Equal(later.job.seen) {
		t.Errorf("seen %s once it is done", got)
	}
	if got := w.nextCheck(later, start.Add(time.Hour), time.Minute); got != minSourceCheck {
		t.Errorf("a new wait begins with %s", got)
	}
	w.retain(key("a"), []avalon.File{file})
	w.finish(old)
	if len(w.all) != 1 {
		t.Errorf("kept %v", w.all)
	}
	w.retain(key("a"), nil)
	if len(w.all) != 0 || w.files != [2]int{} {
		t.Errorf("left %v, %v files", w.all, w.files)
	}
}

// However many sources are missing, no more than some are remembered; the others have their time afterwards.
func TestWaitsAreBounded(t *testing.T) {
	var w sourceWaits
	start := time.Date(2020, 6, 18, 8, 0, 0, 0, time.UTC)
	missing := func(lane watcher.Lane, i int) task {
		return task{job: &job{key: key(fmt.Sprint(lane, i/10))}, file: avalon.File{Path: fmt.Sprint(i)}, lane: lane}
	}
	for lane, again := range map[watcher.Lane]time.Duration{watcher.Backlog: time.Minute,
		watcher.Live: maxSourceCheck} {
		// One lane takes no room from the other.
		for i := range maxSourceWaits {
			w.nextCheck(missing(lane, i), start, time.Minute)
		}
		more := missing(lane, maxSourceWaits)
		if got := w.nextCheck(more, start.Add(2*time.Minute), time.Minute); got != again {
			t.Errorf("lane %d: one more is looked at again after %s", lane, got)
		}
		if w.files[lane] != maxSourceWaits || w.expired(more, start.Add(time.Hour), time.Minute) {
			t.Errorf("lane %d: %v files are waited for", lane, w.files)
		}
		w.finish(missing(lane, 0))
		if w.nextCheck(more, start.Add(time.Hour), time.Minute); !w.expired(more, start.Add(time.Hour+time.Minute),
			time.Minute) {
			t.Errorf("lane %d: it has no time when there is room", lane)
		}
	}
	// What nobody looks at any more makes room at last.
	later := start.Add(2 * time.Hour)
	w.nextCheck(missing(watcher.Live, maxSourceWaits), later, 3*time.Hour)
	w.nextCheck(missing(watcher.Live, 2*maxSourceWaits), later, time.Minute)
	if w.files != [2]int{2, 0} {
		t.Errorf("%v files are waited for", w.files)
	}
}
