package uploader

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/watcher"
)

func files(prefix string, n int, size int64) []avalon.File {
	var out []avalon.File
	for i := range n {
		out = append(out, avalon.File{Path: fmt.Sprintf("%s%d", prefix, i), Size: size})
	}
	return out
}

func key(name string) avalon.Key {
	return avalon.Key{Project: "Test", ID: avalon.ParseID(name)}
}

// plan plans a representation with so many files, as the uploader does.
func (s *scheduler) plan(name string, lane watcher.Lane, due ...avalon.File) *job {
	j := s.begin(watcher.Item{Key: key(name), Lane: lane, EnqueuedAt: time.Now()})
	s.end(j, nil, due, 0)
	return j
}

// order takes n files, however many transfers there are, and says which they are.
func (s *scheduler) order(t *testing.T, n int) (paths []string, tasks []task) {
	t.Helper()
	for range n {
		k, err := s.nextTask(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		s.free()
		paths, tasks = append(paths, k.file.Path), append(tasks, k)
	}
	return paths, tasks
}

func newTestSchedule(t *testing.T, transfers int) (*scheduler, *watcher.Queue) {
	q := watcher.NewQueue(100)
	t.Cleanup(q.Close)
	return newScheduler(transfers, q, NewBudget(transfers)), q
}

func TestRepresentationsTakeTurns(t *testing.T) {
	s, _ := newTestSchedule(t, 8)
	s.plan("sequence", watcher.Live, files("s", 4, 1)...)
	s.plan("single", watcher.Live, files("a", 1, 1)...)
	s.plan("other", watcher.Live, files("b", 2, 1)...)
	got, _ := s.order(t, 7)
	if diff := cmp.Diff([]string{"s0", "a0", "b0", "s1", "b1", "s2", "s3"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLiveGoesBeforeTheBacklog(t *testing.T) {
	s, _ := newTestSchedule(t, 8)
	s.plan("old", watcher.Backlog, files("old", 2, 1)...)
	s.plan("moved", watcher.Backlog, files("moved", 2, 1)...)
	s.plan("new", watcher.Live, files("new", 1, 1)...)
	s.plan("moved", watcher.Live) // touched by somebody while it waits
	got, _ := s.order(t, 5)
	if diff := cmp.Diff([]string{"new0", "moved0", "moved1", "old0", "old1"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLargeFilesLeaveATransferFree(t *testing.T) {
	s, _ := newTestSchedule(t, 4)
	s.plan("cache", watcher.Live, files("cache", 5, 1<<30)...)
	s.plan("small", watcher.Backlog, files("small", 2, 1)...)
	got, tasks := s.order(t, 5)
	if diff := cmp.Diff([]string{"cache0", "cache1", "cache2", "small0", "small1"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.finish(tasks[1], nil, 0)
	if got, _ := s.order(t, 1); got[0] != "cache3" {
		t.Errorf("then %s", got)
	}
}

// The spare transfer is for what has just been published, while the others may be with what takes long or is many.
func TestSpareTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSchedule(t, 2)
		spare := func(want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			k, err := s.nextTask(ctx, true)
			if err == nil {
				s.finish(k, nil, 0)
			}
			if k.file.Path != want {
				t.Errorf("the spare transfer takes %q, want %q", k.file.Path, want)
			}
		}
		s.plan("backlog", watcher.Backlog, files("old", 3, 1)...)
		_, tasks := s.order(t, 2)
		spare("") // not for more of the backlog
		s.plan("new", watcher.Live, files("new", 2, 1)...)
		spare("new0")
		for _, k := range tasks {
			s.finish(k, nil, 0)
		}
		spare("") // the others are free
		s.order(t, 2)
		s.plan("caches", watcher.Live, files("cache", 2, largeFile)...)
		s.order(t, 1)
		spare("") // not for another large one
		s.plan("newer", watcher.Live, files("newer", 1, 1)...)
		spare("newer0")
	})
}

func TestAFileIsUnderWayOnce(t *testing.T) {
	s, q := newTestSchedule(t, 4)
	due := files("a", 2, 1)
	s.plan("a", watcher.Live, due...)
	_, tasks := s.order(t, 1)
	s.plan("a", watcher.Live, due...) // as its document says while nothing is recorded yet
	_, more := s.order(t, 1)
	if len(s.lines[watcher.Live]) != 0 {
		t.Error("there is a third file")
	}
	s.finish(tasks[0], nil, 0)
	if s.idle() {
		t.Error("idle with a file under way")
	}
	// When the last is done it is looked at once more: what was planned second may be newer.
	s.finish(more[0], nil, 0)
	if q.Idle() {
		t.Error("it is not looked at again")
	}
}

func TestRoom(t *testing.T) {
	s, _ := newTestSchedule(t, 2)
	want := func(lane watcher.Lane, want bool) {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if got := s.hasRoom(lane); got != want {
			t.Errorf("room in lane %d: %t, want %t", lane, got, want)
		}
	}
	want(watcher.Backlog, true)
	s.plan("backlog", watcher.Backlog, files("b", 16, 1)...)
	want(watcher.Backlog, false)
	want(watcher.Live, true)
	s.order(t, 7)
	want(watcher.Backlog, false)
	s.order(t, 1)
	want(watcher.Backlog, true)
	s.plan("more", watcher.Backlog, files("m", 7, 1)...)
	want(watcher.Backlog, true)
	s.plan("and more", watcher.Backlog, files("n", 1, 1)...)
	want(watcher.Backlog, false)
}

// What has just been published does not wait until half of what was published before it is uploaded: it has its turn.
func TestRoomForWhatIsPublished(t *testing.T) {
	s, _ := newTestSchedule(t, 2)
	s.plan("sequence", watcher.Live, files("s", maxLive, 1)...)
	room := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.hasRoom(watcher.Live)
	}
	if room() {
		t.Errorf("room beside %d files", maxLive)
	}
	s.order(t, 1)
	if !room() {
		t.Errorf("no room beside %d files", maxLive-1)
	}
}

// What is uploaded soon to the same folder is known ahead, also of other representations.
func TestBeside(t *testing.T) {
	s, _ := newTestSchedule(t, 2)
	s.plan("sequence", watcher.Backlog, files("{root}/a/s", 100, 1)...)
	s.plan("other", watcher.Backlog, files(`{root}/a/o`, 1, 1)...)
	s.plan("elsewhere", watcher.Backlog, files("{root}/b/e", 3, 1)...)
	s.plan("deeper", watcher.Live, files("{root}/a/b/d", 1, 1)...)
	s.plan("live", watcher.Live, files("{root}/a/l", 1, 1)...)
	s.plan("many", watcher.Backlog, files("{root}/a/m", 1000, 1)...)
	_, tasks := s.order(t, 3) // deeper, live, the first of the sequence
	beside := func(k task) (n int, paths map[string]bool) {
		paths = map[string]bool{}
		for _, other := range s.siblings(k) {
			paths[other.file.Path] = true
			n++
		}
		if n != len(paths) {
			t.Errorf("one of %v comes twice", paths)
		}
		return n, paths
	}
	if n, paths := beside(tasks[0]); n != 1 || !paths["{root}/a/b/d0"] {
		t.Errorf("of the one that is alone: %v", paths)
	}
	// All of its representation, and of others what runs and 16 at the most, three of which are elsewhere.
	if n, paths := beside(tasks[2]); n != 100+1+16-3 || !paths["{root}/a/l0"] || !paths["{root}/a/s99"] ||
		!paths["{root}/a/o0"] || !paths["{root}/a/m0"] {
		t.Errorf("%d beside the sequence: %v", n, paths)
	}
}

// A document is rewritten as a whole by every update of it, so there are few.
func TestResultsAreGrouped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const frames = 1000
		s, _ := newTestSchedule(t, 8)
		s.plan("sequence", watcher.Live, files("f", frames, 1)...)
		updates, written := 0, 0
		for range frames {
			_, tasks := s.order(t, 1)
			time.Sleep(10 * time.Millisecond)
			if out := s.finish(tasks[0], &result{}, 0); out != nil {
				updates, written = updates+1, written+len(out)
				s.recorded(tasks[0].job)
			}
		}
		if written != frames || updates > maxFlushes+1 {
			t.Errorf("%d results in %d updates", written, updates)
		}
		if !s.idle() {
			t.Error("not idle")
		}
	})
}

func TestResultsComeNotTooSoonAndNotTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSchedule(t, 8)
		s.plan("a", watcher.Live, files("f", 500, 1)...)
		_, tasks := s.order(t, 31)
		start := time.Now()
		for _, k := range tasks[:9] {
			if out := s.finish(k, &result{}, 0); out != nil {
				t.Fatalf("%d results are written at once", len(out))
			}
		}
		out := s.finish(tasks[9], &result{}, 0) // a fiftieth of all
		if len(out) != 10 {
			t.Fatalf("%d results", len(out))
		}
		s.recorded(tasks[0].job)
		for _, k := range tasks[10:30] {
			if out := s.finish(k, &result{}, 0); out != nil {
				t.Fatal("the next update follows at once")
			}
		}
		j, out, err := s.awaitLate(t.Context())
		if err != nil || len(out) != 20 || time.Since(start) != minFlushInterval {
			t.Fatalf("%d results after %s, %v", len(out), time.Since(start), err)
		}
		s.recorded(j)
		s.finish(tasks[30], &result{}, 0)
		start = time.Now()
		if _, out, err = s.awaitLate(t.Context()); err != nil || len(out) != 1 || time.Since(start) != maxFlushDelay {
			t.Fatalf("%d results after %s, %v", len(out), time.Since(start), err)
		}
	})
}

func TestRestHandsOutWhatIsLeft(t *testing.T) {
	s, _ := newTestSchedule(t, 8)
	j := s.plan("a", watcher.Live, files("f", 500, 1)...)
	_, tasks := s.order(t, 2)
	for _, k := range tasks {
		s.finish(k, &result{}, 0)
	}
	if got := s.takeAll(); len(got) != 1 || len(got[j]) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestWakeAfterTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := newTestSchedule(t, 8)
		s.plan("a", watcher.Live, files("f", 2, 1)...)
		_, tasks := s.order(t, 2)
		s.finish(tasks[0], nil, time.Minute)
		s.finish(tasks[1], nil, time.Second)
		start := time.Now()
		item, err := q.Get(t.Context(), watcher.Live)
		if err != nil || item.Key != key("a") || time.Since(start) != time.Second {
			t.Errorf("%v after %s, %v", item, time.Since(start), err)
		}
	})
}

func TestIdle(t *testing.T) {
	s, q := newTestSchedule(t, 8)
	if !s.idle() {
		t.Error("not idle at first")
	}
	q.Add(key("a"), watcher.Live)
	if s.idle() {
		t.Error("idle with a key in the queue")
	}
	item, err := q.Get(t.Context(), watcher.Live)
	must(t, err)
	j := s.begin(item)
	if s.idle() {
		t.Error("idle while planning")
	}
	s.end(j, nil, nil, time.Hour)
	q.Done(item.Key)
	if s.idle() {
		t.Error("idle while a key backs off")
	}
}

// However many large files wait, and in whichever lane: transfers that they may not have are not idle while there are
// others.
func TestLargeFilesLeaveNoTransferIdle(t *testing.T) {
	for _, test := range []struct{ large, small watcher.Lane }{
		{watcher.Backlog, watcher.Backlog}, {watcher.Live, watcher.Backlog}, {watcher.Live, watcher.Live},
		{watcher.Backlog, watcher.Live},
	} {
		s, _ := newTestSchedule(t, 4)
		room := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.hasRoom(test.large)
		}
		for i := 0; i < 2000 && (room() || i < 10); i++ {
			s.plan(fmt.Sprint("cache", i), test.large, files(fmt.Sprint("cache", i, "."), 20, largeFile)...)
			s.order(t, max(0, min(3-s.large, 1)))
		}
		if !room() {
			t.Errorf("%v: nothing is planned behind the large files", test)
		}
		if _, all := s.count(test.large); all > maxBlocked+20 {
			t.Errorf("%v: %d files wait", test, all)
		}
		if !s.takeSkipped() || s.takeSkipped() {
			t.Errorf("%v: it is not told that some were left out", test)
		}
		s.plan("small", test.small, files("small", 3, 1)...)
		if got, _ := s.order(t, 3); got[0] != "small0" || got[2] != "small2" {
			t.Errorf("%v: %v", test, got)
		}
	}
}

// In one representation, too.
func TestLargeFilesBeforeSmallOnesOfTheirRepresentation(t *testing.T) {
	s, _ := newTestSchedule(t, 4)
	s.plan("mixed", watcher.Live, append(files("large", 10, largeFile), files("small", 2, 1)...)...)
	got, _ := s.order(t, 5)
	if diff := cmp.Diff([]string{"large0", "small0", "large1", "small1", "large2"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A storage that is slow to answer has not all transfers, and those that wait for it are stood in for.
func TestSlowStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestSchedule(t, 4)
		s.rootOf = func(f *avalon.File, _ avalon.Roots) string { return f.Path[:1] }
		take := func(want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if k, err := s.nextTask(ctx, false); k.file.Path != want {
				t.Errorf("handed out %q, want %q (%v)", k.file.Path, want, err)
			}
		}
		s.plan("slow", watcher.Live, files("s", 100, 1)...)
		for _, want := range []string{"s0", "s1", "s2", "s3", ""} {
			take(want)
		}
		for range 4 {
			s.addSlowCalls("s", 1)
		}
		take("")
		s.plan("quick", watcher.Backlog, files("q", 10, 1)...)
		for _, want := range []string{"q0", "q1", "q2", "q3", ""} {
			take(want)
		}
		for range 4 { // it answers, and goes on with what it has
			s.addSlowCalls("s", -1)
		}
		take("")
	})
}

// What is handed out soon is handed out next.
func TestSoon(t *testing.T) {
	s, _ := newTestSchedule(t, 2)
	s.plan("backlog", watcher.Backlog, files("b", 3, 1)...)
	s.plan("live", watcher.Live, files("l", 2, 1)...)
	s.plan("other", watcher.Live, files("o", 1, 1)...)
	var soon []string
	for _, next := range s.soon(3) {
		soon = append(soon, next.file.Path)
	}
	if all := s.soon(2); len(all) != 2 {
		t.Errorf("%d, want 2", len(all))
	}
	paths, _ := s.order(t, 2)
	paths = append(paths, "b0") // of the backlog, though the second live one of its representation comes before
	if diff := cmp.Diff(paths, soon); diff != "" {
		t.Error(diff)
	}
}
