package uploader

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/watcher"
)

func projects(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		set[name] = true
	}
	return set
}

func TestPausesThatEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before, after Paused
		want          bool
	}{
		{Paused{}, Paused{}, false},
		{Paused{}, Paused{Site: true}, false},
		{Paused{Site: true}, Paused{}, true},
		{Paused{Projects: projects("A")}, Paused{Projects: projects("A", "B")}, false},
		{Paused{Projects: projects("A", "B")}, Paused{Projects: projects("B")}, true},
		{Paused{Projects: projects("A")}, Paused{Projects: projects("B")}, true},
		{Paused{Projects: projects("A")}, Paused{Site: true}, false},
		{Paused{Site: true, Projects: projects("A")}, Paused{Projects: projects("A")}, true},
		{Paused{Site: true, Projects: projects("A")}, Paused{Site: true}, false},
	} {
		if got := test.before.ended(test.after); got != test.want {
			t.Errorf("from %v to %v: %v", test.before, test.after, got)
		}
	}
}

// What waits for an upload is dropped with a pause; what runs, goes on; other projects are not concerned.
func TestPauseEmptiesTheSchedule(t *testing.T) {
	s, q := newTestSchedule(t, 8)
	s.plan("long", watcher.Backlog, files("l", 100, 1)...)
	other := s.begin(watcher.Item{Key: avalon.Key{Project: "Other", ID: avalon.ParseID("o")}, Lane: watcher.Backlog})
	s.end(other, nil, files("o", 2, 1), 0)
	planning := s.begin(watcher.Item{Key: key("planning"), Lane: watcher.Live})
	first, running := s.order(t, 1)

	if s.pause(Paused{Projects: projects("Test")}) {
		t.Error("a pause has ended")
	}
	s.end(planning, nil, files("p", 1, 1), 0)
	rest, _ := s.order(t, 2)
	if diff := cmp.Diff([]string{"l0", "o0", "o1"}, append(first, rest...)); diff != "" {
		t.Errorf("handed out (-want +got):\n%s", diff)
	}
	if len(s.lines[watcher.Backlog])+len(s.lines[watcher.Live]) != 0 {
		t.Errorf("%v wait", s.lines)
	}
	if out := s.finish(running[0], &result{}, 0); len(out) != 1 {
		t.Errorf("the result of what ran is not to be recorded: %v", out)
	}
	s.recorded(running[0].job)
	if len(s.jobs) != 1 || s.jobs[other.key] == nil || !q.Idle() {
		t.Errorf("left are %v", s.jobs)
	}

	if !s.pause(Paused{}) {
		t.Error("no pause has ended")
	}
	s.plan("long", watcher.Backlog, files("l", 2, 1)...) // found again
	again, _ := s.order(t, 2)
	if diff := cmp.Diff([]string{"l0", "l1"}, again); diff != "" {
		t.Errorf("handed out afterwards (-want +got):\n%s", diff)
	}
}

func TestPause(t *testing.T) {
	for name, paused := range map[string]Paused{"site": {Site: true}, "project": {Projects: projects("Test")}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.site.put = []error{errors.New("no"), site.Classed(site.Transient, errors.New("busy"))}
				w.up.Pause(paused)
				w.run(time.Hour)
				if len(w.site.puts) != 0 || w.store.reads != 0 || !w.up.Idle() || !w.up.Paused().Is("Test") {
					t.Errorf("%d uploads, %d documents read, idle %v", len(w.site.puts), w.store.reads, w.up.Idle())
				}
				// What comes meanwhile does not pile up, and nor does what waits for its next try.
				w.up.Pause(Paused{})
				w.up.Poll()
				w.run(time.Second)
				w.up.Pause(paused)
				reads := w.store.reads
				for range 10 {
					w.up.Queue.Add(key("a"), watcher.Live)
					w.run(time.Hour)
				}
				if rec := w.store.record(); len(w.site.puts) != 1 || w.store.reads != reads || rec.Tries != 1 ||
					!w.up.Idle() {
					t.Errorf("%d uploads, %d documents read, idle %v, %+v", len(w.site.puts), w.store.reads-reads,
						w.up.Idle(), rec)
				}
				w.up.Pause(Paused{Projects: projects("Other")})
				w.up.Poll()
				w.run(time.Minute)
				w.wantSynced()
			})
		})
	}
}
