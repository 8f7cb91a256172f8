package watcher

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// Messages that operators see.
const (
	streamOpen    = "change stream open"
	streamLost    = "change stream lost; reopening, polls find the work meanwhile"
	streamRetry   = "cannot reopen the change stream"
	streamNotHere = "this MongoDB is not a replica set, so there is no change stream and only polls find publishes; " +
		"make it a replica set (one member will do) for reactions within milliseconds"
)

// open starts the stream and waits until it is open.
func (f *fixture) open(t *testing.T) {
	t.Helper()
	start(t, f.stream.Run)
	f.waitOpen(t)
}

func (f *fixture) waitOpen(t *testing.T) {
	t.Helper()
	eventually(t, "the stream is open", func() bool { return f.stream.State() == StreamOpen })
}

// A publish does not wait behind what a script changes in thousands of representations; what is changed by hand is as
// urgent as a publish.
func TestManyUpdatesAreABacklog(t *testing.T) {
	t.Parallel()
	const many = 400
	f := newFixture(t)
	f.stream.Poll = func() {}
	p := f.project(t, "Test")
	pubs := make([]studio.Publish, many)
	for i := range pubs {
		pubs[i] = studio.Publish{Subset: "modelMain", Name: fmt.Sprintf("n%03d", i), NoRemote: true}
	}
	reps := publish(t, p, pubs...)
	f.open(t)
	must(t, reps[0].AddSite(t.Context(), site))
	if got := f.next(t, Live); got != keyOf(reps[0]) {
		t.Errorf("got %s, want %s", got, reps[0])
	}
	_, err := p.Collection().UpdateMany(t.Context(), bson.D{{Key: "type", Value: "representation"}},
		bson.D{{Key: "$push", Value: bson.D{{Key: "files.$[].sites", Value: bson.D{{Key: "name", Value: site}}}}}})
	must(t, err)
	r := publish(t, p, studio.Publish{})[0]
	before := f.until(t, Live, keyOf(r))
	if n := len(before); n < liveBurst-1 ||
		n > many/2 { // with room for a machine that takes long to tell of the updates
		t.Errorf("%d of %d updates go before the publish", n, many)
	}
	eventually(t, "the others are in the backlog", func() bool { return f.queue.Len(Backlog) == many-len(before) })
}

func TestStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.stream.Poll = func() {}
	p := f.project(t, "Test")
	f.open(t)

	recorder := f.store.Recorder(route, func() error { return nil })
	record := func(o avalon.Outcome) func(*testing.T, *studio.Representation) {
		return func(t *testing.T, r *studio.Representation) {
			rep, err := f.store.Representation(t.Context(), keyOf(r))
			must(t, err)
			var all []avalon.Outcome
			for _, file := range rep.Files {
				o.File, o.At = file, time.Now()
				all = append(all, o)
			}
			_, err = recorder.Record(t.Context(), keyOf(r), all)
			must(t, err)
		}
	}
	failed := func(t *testing.T, r *studio.Representation) {
		must(t, r.Set(t.Context(), site, bson.D{{Key: "error", Value: "no"}, {Key: "tries", Value: retryCount},
			{Key: "last_failed_dt", Value: time.Now()}}))
	}
	tests := []struct {
		name   string
		pub    studio.Publish
		before func(*testing.T, *studio.Representation)
		act    func(*testing.T, *studio.Representation)
		want   bool
	}{
		{name: "tries deleted", before: failed, want: true,
			act: func(t *testing.T, r *studio.Representation) { must(t, r.Retry(t.Context(), site)) }},
		{name: "created_dt removed", pub: studio.Publish{Synced: true}, want: true,
			act: func(t *testing.T, r *studio.Representation) { must(t, r.Resync(t.Context(), site)) }},
		{name: "created_dt of one frame removed", pub: studio.Publish{Synced: true, Frames: 3}, want: true,
			act: func(t *testing.T, r *studio.Representation) { must(t, r.Resync(t.Context(), site, 1)) }},
		{name: "skeleton added", pub: studio.Publish{NoRemote: true}, want: true,
			act: func(t *testing.T, r *studio.Representation) { must(t, r.AddSite(t.Context(), site)) }},
		{name: "synced", pub: studio.Publish{Frames: 3}, act: record(avalon.Outcome{RemoteID: "x"})},
		{name: "synced after failures", before: failed, act: record(avalon.Outcome{RemoteID: "x"})},
		{name: "failed", pub: studio.Publish{Frames: 3}, act: record(avalon.Outcome{Error: "no"})},
		{name: "failed again", before: record(avalon.Outcome{Error: "no"}), act: record(avalon.Outcome{Error: "no"})},
		{name: "deleted", act: func(t *testing.T, r *studio.Representation) { must(t, r.Delete(t.Context())) }},
	}
	for form, dict := range map[string]bool{"list": false, "dict": true} {
		for _, tt := range tests {
			t.Run(tt.name+" in a "+form, func(t *testing.T) {
				tt.pub.DictSites = dict
				r := publish(t, p, tt.pub)[0]
				if tt.before != nil {
					tt.before(t, r)
				}
				f.until(t, Live, keyOf(publish(t, p, studio.Publish{})[0]))
				tt.act(t, r)
				var want []string
				if tt.want {
					want = []string{keyOf(r).String()}
				}
				if diff := cmp.Diff(want, f.until(t, Live, keyOf(publish(t, p, studio.Publish{})[0]))); diff != "" {
					t.Errorf("keys (-want +got):\n%s", diff)
				}
			})
		}
	}

	t.Run("publish", func(t *testing.T) {
		reps := publish(t, p, studio.Publish{}, studio.Publish{DictSites: true}, studio.Publish{Frames: 3},
			studio.Publish{Synced: true}, studio.Publish{NoRemote: true}, studio.Publish{Synced: true, DictSites: true})
		for _, r := range reps[:3] {
			if got := f.next(t, Live); got != keyOf(r) {
				t.Errorf("got %s, want %s", got, r)
			}
		}
		if got := f.until(t, Live, keyOf(publish(t, p, studio.Publish{})[0])); got != nil {
			t.Errorf("what is not to be synced woke us: %v", got)
		}
	})

	t.Run("publish again", func(t *testing.T) {
		pub := studio.Publish{Subset: "lookMain", Synced: true}
		publish(t, p, pub)
		pub.Synced = false
		again := publish(t, p, pub)[0]
		if got := f.next(t, Live); got != keyOf(again) {
			t.Errorf("got %s, want %s", got, again)
		}
	})

	t.Run("project created meanwhile", func(t *testing.T) {
		r := publish(t, f.project(t, "Created later"), studio.Publish{})[0]
		if got := f.next(t, Live); got != keyOf(r) {
			t.Errorf("got %s, want %s", got, r)
		}
	})

	t.Run("what is no representation of this database", func(t *testing.T) {
		must(t, f.db.CreateView(t.Context(), "view", "Test", mongo.Pipeline{})) // writes to system.views
		_, err := f.db.Collection("settings").InsertOne(t.Context(), bson.D{{Key: "files", Value: "gdrive"}})
		must(t, err)
		elsewhere, err := studio.New(mongod.Database(t), studio.Options{}).Project(t.Context(), "Test")
		must(t, err)
		publish(t, elsewhere, studio.Publish{})
		if got := f.until(t, Live, keyOf(publish(t, p, studio.Publish{})[0])); got != nil {
			t.Errorf("%v woke us", got)
		}
	})

	if n := f.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 0 {
		t.Errorf("%d warning(s): %v", n, f.logs.All())
	}
}

// What finds no room in the queue, or can't be told of by a key, is the poll's.
func TestStreamAsksForAPoll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var polls atomic.Int32
	f.stream.Poll = func() { polls.Add(1) }
	f.stream.Gap = f.stream.Poll
	f.queue = NewQueue(1)
	f.stream.Queue = f.queue
	p := f.project(t, "Test")
	f.open(t)
	eventually(t, "a poll follows the opening", func() bool { return polls.Load() == 1 })
	publish(t, p, studio.Publish{}, studio.Publish{})
	eventually(t, "a poll is to find what the queue refused", func() bool { return polls.Load() == 2 })
	must(t, p.Collection().Drop(t.Context()))
	eventually(t, "a poll follows the dropping of a project", func() bool { return polls.Load() == 3 })
}

// The driver resumes a cut stream where it was.
func TestStreamConnectionCut(t *testing.T) {
	f := newFixture(t)
	p := f.project(t, "Test")
	f.open(t)
	for range 3 {
		f.fail(t, mongod.Times(1), "", bson.E{Key: "closeConnection", Value: true}, "getMore")
		for range 2 { // the read after the first one is cut
			r := publish(t, p, studio.Publish{})[0]
			if got := f.next(t, Live); got != keyOf(r) {
				t.Errorf("got %s, want %s", got, r)
			}
		}
	}
	if n := f.logged(streamLost); n != 0 {
		t.Errorf("told of %d times, though nothing was lost", n)
	}
}

const historyLost = 286 // the code of an error after which the driver does not resume

// A stream that dies for good is opened anew, and what happened meanwhile is polled. It is told of once.
func TestStreamOutage(t *testing.T) {
	t.Parallel()
	f := newOwnFixture(t, mongod.Options{TestCommands: true})
	p := f.project(t, "Test")
	f.open(t)
	start(t, f.poll.Run)
	for outage := 1; outage <= 2; outage++ {
		eventually(t, "told that the stream is open", func() bool { return f.logged(streamOpen) == outage })
		again := f.logged(streamRetry) + 3
		off := f.fail(t, mongod.AlwaysOn, "", code(historyLost), "aggregate", "getMore")
		eventually(t, "opening it is tried several times", func() bool { return f.logged(streamRetry) >= again })
		if got := f.stream.State(); got != StreamClosed {
			t.Errorf("state %q, want %q", got, StreamClosed)
		}
		r := publish(t, p, studio.Publish{})[0]
		off()
		f.until(t, Live, keyOf(r)) // what a poll finds after a gap is fresh
		f.waitOpen(t)
		r = publish(t, p, studio.Publish{Synced: true})[0]
		must(t, r.Resync(t.Context(), site))
		if got := f.next(t, Live); got != keyOf(r) {
			t.Errorf("got %s, want %s", got, r)
		}
		must(t, r.Delete(t.Context()))
		if n := f.logged(streamLost); n != outage {
			t.Errorf("told of %d times in %d outage(s)", n, outage)
		}
		_, err := p.Collection().DeleteMany(t.Context(), bson.D{{Key: "type", Value: "representation"}})
		must(t, err)
		want := StreamCounts{
			Opened: int64(outage) + 1,
			Lost:   map[avalon.Reason]int64{avalon.HistoryLost: int64(outage)},
		}
		eventually(t, "told that the stream is open", func() bool { return f.logged(streamOpen) > outage })
		if diff := cmp.Diff(want, f.stream.Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	}
}

// In an outage it may turn out that nothing but a person can end it, which is told too, once.
func TestStreamOutageBecomesARefusal(t *testing.T) {
	t.Parallel()
	const unauthorized = 13
	f := newOwnFixture(t, mongod.Options{TestCommands: true})
	f.project(t, "Test")
	f.open(t)
	for _, outage := range []int{historyLost, unauthorized, historyLost} {
		again := f.logged(streamRetry) + 2 // one of them is certainly later than this
		f.fail(t, mongod.AlwaysOn, "", code(outage), "aggregate", "getMore")
		eventually(t, "opening it is tried again", func() bool { return f.logged(streamRetry) >= again })
	}
	f.fail(t, mongod.Times(0), "", code(historyLost), "aggregate")
	f.waitOpen(t)
	var reasons []string
	for _, e := range f.logs.FilterMessage(streamLost).All() {
		reasons = append(reasons, e.ContextMap()["reason"].(string))
	}
	if diff := cmp.Diff([]string{"history_lost", "unauthorized"}, reasons); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	want := map[avalon.Reason]int64{avalon.HistoryLost: 1, avalon.Unauthorized: 1}
	if diff := cmp.Diff(want, f.stream.Counts().Lost); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A stream that can be opened but not be read is no better.
func TestStreamOpensInVain(t *testing.T) {
	f := newFixture(t)
	f.project(t, "Test")
	var opened atomic.Int32
	f.stream.Gap = func() { opened.Add(1) }
	off := f.fail(t, mongod.AlwaysOn, "", code(historyLost), "getMore")
	start(t, f.stream.Run)
	eventually(t, "it was opened several times", func() bool { return opened.Load() >= 4 })
	off()
	eventually(t, "told that it is open", func() bool { return f.logged(streamOpen) == 1 })
	if n := f.logged(streamLost); n != 1 {
		t.Errorf("told of the loss %d times, want once", n)
	}
}

// A member can be without its replica set for a while.
func TestStreamNotHereForAWhile(t *testing.T) {
	f := newFixture(t)
	p := f.project(t, "Test")
	off := f.fail(t, mongod.AlwaysOn, "", code(40573), "aggregate")
	start(t, f.stream.Run)
	eventually(t, "opening it is tried several times", func() bool { return f.logged(streamRetry) >= 3 })
	if got := f.stream.State(); got != StreamUnavailable {
		t.Errorf("state %q, want %q", got, StreamUnavailable)
	}
	off()
	f.waitOpen(t)
	r := publish(t, p, studio.Publish{})[0]
	if got := f.next(t, Live); got != keyOf(r) {
		t.Errorf("got %s, want %s", got, r)
	}
	if n := f.logged(streamNotHere); n != 1 {
		t.Errorf("told of it %d times, want once", n)
	}
}

// An operator who took the server for a replica set learns the mend, once, and the poll works.
func TestStreamStandalone(t *testing.T) {
	t.Parallel()
	f := newOwnFixture(t, mongod.Options{Standalone: true})
	p := f.project(t, "Test")
	r := publish(t, p, studio.Publish{})[0]
	stop := start(t, f.stream.Run)
	start(t, f.poll.Run)
	if got := f.next(t, Backlog); got != keyOf(r) {
		t.Errorf("got %s, want %s", got, r)
	}
	eventually(t, "opening it is tried several times", func() bool { return f.logged(streamRetry) >= 3 })
	if got := f.stream.State(); got != StreamUnavailable {
		t.Errorf("state %q, want %q", got, StreamUnavailable)
	}
	stop()
	if got := f.stream.State(); got != StreamClosed {
		t.Errorf("state %q after the end, want %q", got, StreamClosed)
	}
	warnings := f.logs.FilterLevelExact(zap.WarnLevel)
	if warnings.Len() != 1 || f.logged(streamNotHere) != 1 {
		t.Errorf("warnings %v, want one that there is no replica set", warnings.All())
	}
}

// Whatever becomes of the primary, every publish is found.
func TestStreamOutlivesThePrimary(t *testing.T) {
	t.Parallel()
	f := newOwnFixture(t, mongod.Options{})
	p := f.project(t, "Test")
	f.open(t)
	f.poll.Interval = 10 * time.Millisecond
	start(t, f.poll.Run)
	eventually(t, "told that the stream is open", func() bool { return f.logged(streamOpen) == 1 })
	found := func(r *studio.Representation) {
		t.Helper()
		eventually(t, "the publish is found", func() bool {
			for _, lane := range []Lane{Live, Backlog} {
				for f.queue.Len(lane) > 0 {
					if f.next(t, lane) == keyOf(r) {
						return true
					}
				}
			}
			return false
		})
	}
	found(publish(t, p, studio.Publish{})[0])

	must(t, f.set.StepDown(t.Context()))
	found(publish(t, p, studio.Publish{})[0])

	m, err := f.set.Primary(t.Context())
	must(t, err)
	eventually(t, "the stream is open after the election", func() bool { return f.stream.State() == StreamOpen })
	lost, opened := f.logged(streamLost), f.logged(streamOpen)
	must(t, m.Kill())
	eventually(t, "the stream is closed", func() bool { return f.stream.State() == StreamClosed })
	eventually(t, "the poll fails", func() bool { return f.logged(pollFailed) > 0 })
	must(t, m.Restart(t.Context()))
	found(publish(t, p, studio.Publish{})[0])
	eventually(t, "told that the stream is open again", func() bool { return f.logged(streamOpen) == opened+1 })
	if n := f.logged(streamLost); n != lost+1 {
		t.Errorf("told of the loss %d times, want once", n-lost)
	}
	r := publish(t, p, studio.Publish{Synced: true})[0]
	must(t, r.Resync(t.Context(), site))
	found(r)
}

func TestStreamEndsWithTheContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop := start(t, f.stream.Run)
	f.waitOpen(t)
	stop()
	if got := f.stream.State(); got != StreamClosed {
		t.Errorf("state %q, want %q", got, StreamClosed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.stream.Run(ctx)
}
