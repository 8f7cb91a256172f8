package watcher

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// Messages that operators see.
const (
	pollFailed = "poll failed; retrying"
	pollAgain  = "poll failed again; retrying"
	pollWorks  = "poll works again"
)

const badValue = 2 // the code of an error that is not tried again by the driver

func TestPollFindsWhatIsPending(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	for _, name := range []string{"A", "B", "Häschen 2"} {
		p := f.project(t, name)
		reps := publish(t, p,
			studio.Publish{}, studio.Publish{DictSites: true}, studio.Publish{Frames: 3}, studio.Publish{}, // pending
			studio.Publish{Synced: true}, studio.Publish{Synced: true, DictSites: true}, studio.Publish{NoRemote: true},
			studio.Publish{})
		want = append(want, keysOf(reps[:4])...)
		must(t, reps[3].Set(t.Context(), site, bson.D{{Key: "tries", Value: retryCount - 1}}))
		must(t, reps[7].Set(t.Context(), site, bson.D{{Key: "tries", Value: retryCount}}))
	}
	slices.Sort(want)
	for _, index := range []bool{false, true} {
		if index {
			f.index.Once(t.Context())
		}
		must(t, f.poll.Once(t.Context()))
		var got []string
		for f.queue.Len(Backlog) > 0 {
			got = append(got, f.next(t, Backlog).String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys, index %v (-want +got):\n%s", index, diff)
		}
	}
	if n := f.queue.Len(Live); n != 0 {
		t.Errorf("%d keys in the live lane", n)
	}
}

// A project's turn comes after a share of the others' backlog, and no more than fits is read ahead.
func TestPollStarvesNoProject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue = NewQueue(10)
	f.poll.Queue = f.queue
	const long = 3 * perProjectBatch
	projects := []string{"A long", "B short", "C long", "D short"}
	for _, name := range projects {
		n := 2
		if name == "A long" || name == "C long" {
			n = long
		}
		publish(t, f.project(t, name), make([]studio.Publish, n)...)
	}
	start(t, f.poll.Run)
	var order []string
	for range 2*long + 4 {
		project := f.next(t, Backlog).Project
		if len(order) == 0 || order[len(order)-1] != project {
			order = append(order, project)
		}
	}
	want := append(slices.Clone(projects), "A long", "C long", "A long", "C long")
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order of projects (-want +got):\n%s", diff)
	}
}

func TestPollNow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := f.project(t, "Test")
	publish(t, p, studio.Publish{})
	start(t, f.poll.Run)
	first := f.next(t, Backlog)
	_, err := p.Collection().DeleteOne(t.Context(), bson.D{{Key: "_id", Value: first.ID}})
	must(t, err)
	for range 3 {
		r := publish(t, p, studio.Publish{})[0]
		f.poll.Trigger()
		f.poll.Trigger() // is the same as once
		f.until(t, Backlog, keyOf(r))
		must(t, r.Delete(t.Context()))
	}
}

func TestPollEveryInterval(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.poll.Interval = time.Millisecond
	p := f.project(t, "Test")
	start(t, f.poll.Run)
	for range 3 {
		r := publish(t, p, studio.Publish{})[0]
		f.until(t, Backlog, keyOf(r))
		f.until(t, Backlog, keyOf(r)) // as it is still pending
	}
}

// A poll that waits for room ends when it is told to.
func TestPollEndsWhileItWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue = NewQueue(1)
	f.poll.Queue = f.queue
	publish(t, f.project(t, "A"), make([]studio.Publish, 3)...)
	publish(t, f.project(t, "B"), make([]studio.Publish, 3)...)
	stop := start(t, f.poll.Run)
	eventually(t, "the queue is full", func() bool { return f.queue.Len(Backlog) == 1 })
	stop()
	if n := f.logs.Len(); n != 0 {
		t.Errorf("logged %v", f.logs.All())
	}
}

// A project that can't be read is told of once, and costs the others nothing.
func TestPollFailingProject(t *testing.T) {
	f := newFixture(t)
	f.poll.Interval = time.Millisecond
	publish(t, f.project(t, "A broken"), studio.Publish{})
	r := publish(t, f.project(t, "B"), studio.Publish{})[0]
	off := f.fail(t, mongod.AlwaysOn, "A broken", code(badValue), "find")
	start(t, f.poll.Run)
	for outage := 1; outage <= 2; outage++ {
		again := f.logged(pollAgain) + 3
		eventually(t, "it has failed several times", func() bool { return f.logged(pollAgain) >= again })
		for range 3 {
			f.until(t, Backlog, keyOf(r))
		}
		off()
		eventually(t, "told that it works", func() bool { return f.logged(pollWorks) == outage })
		if n := f.logged(pollFailed); n != outage {
			t.Errorf("told of %d times in %d outage(s)", n, outage)
		}
		counts := f.poll.Counts()
		if counts.Failures < 3 || counts.Runs <= counts.Failures || counts.Success.IsZero() {
			t.Errorf("counts %+v", counts)
		}
		off = f.fail(t, mongod.AlwaysOn, "A broken", code(badValue), "find")
	}
}

// A poll that fails is tried again long before the next one, as nobody else may find what it was to find.
func TestPollIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newOwnFixture(t, mongod.Options{TestCommands: true}) // its interval is an hour
	r := publish(t, f.project(t, "Test"), studio.Publish{})[0]
	f.fail(t, mongod.Times(4), "Test", code(badValue), "find") // by the index, and without
	start(t, f.poll.Run)
	f.until(t, Backlog, keyOf(r))
	eventually(t, "the poll has ended", func() bool { return f.poll.Counts().Runs == 3 })
	if counts := f.poll.Counts(); counts.Failures != 2 || counts.Success.IsZero() {
		t.Errorf("counts %+v", counts)
	}
}

func TestPollTellsWhatFailed(t *testing.T) {
	const unauthorized = 13
	f := newFixture(t)
	for _, name := range []string{"A", "B", "C"} {
		publish(t, f.project(t, name), studio.Publish{})
	}
	f.fail(t, mongod.Times(2), "", code(unauthorized), "find")
	got := "no error"
	if err := f.poll.Once(t.Context()); err != nil {
		got = err.Error()
	}
	want := "2 of 3 project(s): find pending representations of project A: " +
		"(Unauthorized) Failing command via 'failCommand' " +
		"failpoint; grant the user the role readWrite on database " + f.db.Name()
	if got != want {
		t.Errorf("error\n%s\nwant\n%s", got, want)
	}
	if n := f.queue.Len(Backlog); n != 1 {
		t.Errorf("%d keys, want that of project C", n)
	}
}

// A project that is left out costs nothing, and stands in nobody's way, also if that is decided while it is read.
func TestPollSkips(t *testing.T) {
	f := newFixture(t)
	f.queue = NewQueue(10)
	f.poll.Queue = f.queue
	publish(t, f.project(t, "A long"), make([]studio.Publish, 3*perProjectBatch)...)
	b := publish(t, f.project(t, "B"), studio.Publish{})[0]
	var skipped atomic.Bool
	f.poll.Skip = func(project string) bool { return project == "A long" && skipped.Load() }
	start(t, f.poll.Run)
	f.next(t, Backlog)
	skipped.Store(true)
	taken := 1
	for f.next(t, Backlog) != keyOf(b) {
		taken++
	}
	if taken > perProjectBatch+10 {
		t.Errorf("%d keys of the project that is left out, want its perProjectBatch, %d, and what was queued, at the "+
			"most", taken, perProjectBatch)
	}
	eventually(t, "the poll has ended", func() bool { return f.poll.Counts().Runs == 1 })
	off := f.fail(t, mongod.AlwaysOn, "A long", code(badValue), "find")
	defer off()
	f.poll.Trigger()
	f.until(t, Backlog, keyOf(b))
	eventually(t, "the poll has ended", func() bool { return f.poll.Counts().Runs == 2 })
	if counts := f.poll.Counts(); counts.Failures != 0 || f.queue.Len(Backlog) != 0 {
		t.Errorf("the project is read: %+v, %d keys", counts, f.queue.Len(Backlog))
	}
}

// A poll that is begun anew does not wait for the backlog of the present one.
func TestPollAnew(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue = NewQueue(10)
	f.poll.Queue = f.queue
	publish(t, f.project(t, "A long"), make([]studio.Publish, 5*perProjectBatch)...)
	b := f.project(t, "B")
	start(t, f.poll.Run)
	for range perProjectBatch + 20 { // by then the present poll has looked at B
		f.next(t, Backlog)
	}
	eventually(t, "the queue is full", func() bool { return f.queue.Len(Backlog) == 10 })
	rep := publish(t, b, studio.Publish{})[0]
	f.next(t, Backlog)
	f.poll.Restart()
	taken := 0
	for f.next(t, Backlog) != keyOf(rep) {
		taken++
	}
	// Its perProjectBatch, and what was in the queue: that of the present poll, then that of the next.
	if most := perProjectBatch + 4*10; taken > most {
		t.Errorf("%d keys came first", taken)
	}
	if f.logs.Len() != 0 {
		t.Errorf("logged %v", f.logs.All())
	}
}

// Also one that waits for its time.
func TestPollAnewWhileItWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := f.project(t, "Test")
	start(t, f.poll.Run)
	for runs := range int64(3) {
		eventually(t, "the poll has ended", func() bool { return f.poll.Counts().Runs > runs })
		f.poll.Restart()
	}
	rep := publish(t, p, studio.Publish{})[0]
	f.poll.Restart()
	f.until(t, Backlog, keyOf(rep))
}

// What is new while nobody watches goes before a backlog, however long that is, and is found while it is being fed.
func TestPollFindsWhatIsFresh(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue = NewQueue(10)
	f.poll.Queue, f.poll.StreamOpen, f.poll.Interval = f.queue, nil, 50*time.Millisecond
	p := f.project(t, "Test")
	publish(t, p, make([]studio.Publish, 100)...)
	absent := publish(t, p, studio.Publish{NoActiveDate: true})[0]
	old := publish(t, p, studio.Publish{NoRemote: true})[0]
	again := publish(t, p, studio.Publish{})[0]
	f.index.Once(t.Context())
	start(t, f.poll.Run)
	runs := func(n int64) {
		t.Helper()
		eventually(t, "it has polled again", func() bool { return f.poll.Counts().Runs >= n })
	}
	eventually(t, "the queue is full", func() bool { return f.queue.Len(Backlog) == 10 })
	runs(2)
	if n := f.queue.Len(Live); n != 0 {
		t.Fatalf("%d keys are fresh", n)
	}
	for what, act := range map[string]func() *studio.Representation{
		"a publish":       func() *studio.Representation { return publish(t, p, studio.Publish{})[0] },
		"an old document": func() *studio.Representation { must(t, old.AddSite(t.Context(), site)); return old },
		"a file that was synced and is wanted again": func() *studio.Representation {
			f.poll.Recorded(keyOf(again))
			return again
		},
		"a source that has come": func() *studio.Representation {
			must(t, absent.Set(t.Context(), "studio", bson.D{{Key: "created_dt", Value: time.Now()}}))
			return absent
		},
	} {
		rep := act()
		if got := f.next(t, Live); got != keyOf(rep) {
			t.Errorf("%s: got %s, want %s", what, got, rep)
		}
		f.queue.Done(keyOf(rep))
	}
	runs(f.poll.Counts().Runs + 2)
	if live, backlog := f.queue.Len(Live), f.queue.Len(Backlog); live != 0 || backlog != 10 {
		t.Errorf("%d keys are fresh once more, %d are queued", live, backlog)
	}
}

// What there is nothing to do about is not handed out with each poll, but when a stream may have missed something.
func TestPollLeavesAloneWhatIsNotDue(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	absent := publish(t, f.project(t, "Test"), studio.Publish{NoActiveDate: true})[0]
	f.index.Once(t.Context())
	f.poll.Interval = 20 * time.Millisecond // of which there are many in an hour, so its turn does not come
	start(t, f.poll.Run)
	look := func() {
		t.Helper()
		if got := f.next(t, Backlog); got != keyOf(absent) {
			t.Errorf("got %s, want %s", got, absent)
		}
		f.poll.NothingDue(keyOf(absent))
		f.queue.Done(keyOf(absent))
	}
	quiet := func() {
		t.Helper()
		n := f.poll.Counts().Runs
		eventually(t, "it has polled again and again", func() bool { return f.poll.Counts().Runs > n+5 })
		for f.queue.Len(Backlog) > 0 { // a poll was under way
			look()
		}
		n = f.poll.Counts().Runs
		eventually(t, "it has polled again and again", func() bool { return f.poll.Counts().Runs > n+5 })
		if n := f.queue.Len(Backlog) + f.queue.Len(Live); n != 0 {
			t.Errorf("%d keys are to be looked at", n)
		}
	}
	look()
	quiet()
	f.poll.TriggerAfterGap()
	look()
	quiet()
	// What the other route of this process has brought there, no stream reports.
	must(t, absent.Set(t.Context(), "studio", bson.D{{Key: "created_dt", Value: time.Now()}}))
	look()
}

// Without polls there still is one when somebody asks for it.
func TestPollOnlyAsked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.poll.OnlyTriggered, f.poll.Interval = true, time.Millisecond
	p := f.project(t, "Test")
	first := publish(t, p, studio.Publish{})[0]
	start(t, f.poll.Run)
	for runs := range int64(2) {
		f.poll.Trigger()
		eventually(t, "it has polled", func() bool { return f.poll.Counts().Runs == runs+1 })
	}
	if got := f.next(t, Backlog); got != keyOf(first) || f.poll.Counts().Runs != 2 {
		t.Errorf("got %s after %+v", got, f.poll.Counts())
	}
}
