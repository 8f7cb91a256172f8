package state

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/integration/mongod"
)

func newPauses(t *testing.T) (pauses, other *Pauses) {
	t.Helper()
	db := mongod.Database(t)
	d := Open(db.Client(), db.Name())
	return d.Pauses(upRoute), d.Pauses(LeaseName("avalon", avalon.Route{From: "studio", To: "backup"}))
}

func (p *Pauses) set(t *testing.T, pause Pause) {
	t.Helper()
	if err := p.Set(t.Context(), pause); err != nil {
		t.Fatal(err)
	}
}

func (p *Pauses) clear(t *testing.T, project string) bool {
	t.Helper()
	was, err := p.Clear(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	return was
}

func (p *Pauses) are(t *testing.T, want ...Pause) {
	t.Helper()
	got, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	pauses, other := newPauses(t)
	since := time.Date(2026, 11, 24, 4, 11, 44, 0, time.UTC)
	pauses.are(t)
	b := Pause{Project: "B", By: "td@sync1", Since: since, Why: "the line is needed for dailies"}
	a := Pause{Project: "A", By: "it@sync1", Since: since}
	all := Pause{By: "it@sync1", Since: since.Add(time.Hour), Why: "move to a new drive"}
	pauses.set(t, b)
	pauses.set(t, a)
	pauses.set(t, all)
	pauses.are(t, all, a, b)
	other.are(t)

	// Again, by somebody else.
	pauses.set(t, Pause{Project: "A", By: "td@sync2", Since: since.Add(time.Minute), Why: "still"})
	pauses.are(t, all, Pause{"A", "td@sync2", since, "still"}, b)

	if !pauses.clear(t, "") || pauses.clear(t, "") || other.clear(t, "B") {
		t.Error("what was paused is wrong")
	}
	pauses.are(t, Pause{"A", "td@sync2", since, "still"}, b)
}

// What an older version has paused, for all routes to a site, is paused on each of them until it is resumed on one.
func TestPausesOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	studio, backup := newPauses(t)
	home := studio.database.Pauses(LeaseName("avalon", avalon.Route{From: "home", To: "gdrive"}))
	back := studio.database.Pauses(LeaseName("avalon", avalon.Route{From: "gdrive", To: "studio"}))
	since := time.Date(2026, 11, 24, 4, 11, 44, 0, time.UTC)
	older := func(project string) {
		if _, err := studio.collection.InsertOne(t.Context(), pauseDoc{pauseKey{"avalon/gdrive", project}, "td@old",
			since, "dailies"}); err != nil {
			t.Fatal(err)
		}
	}
	older("")
	older("B")
	all, b := Pause{By: "td@old", Since: since, Why: "dailies"}, Pause{"B", "td@old", since, "dailies"}
	studio.are(t, all, b)
	home.are(t, all, b)
	backup.are(t)
	back.are(t)

	// A new reason is that of the route only; the age stays.
	studio.set(t, Pause{Project: "B", By: "it@new", Since: since.Add(time.Hour), Why: "still"})
	home.set(t, Pause{Project: "A", By: "it@new", Since: since})
	studio.are(t, all, Pause{"B", "it@new", since, "still"})
	home.are(t, all, Pause{Project: "A", By: "it@new", Since: since}, b)

	if !studio.clear(t, "B") || studio.clear(t, "B") || back.clear(t, "") || !home.clear(t, "") {
		t.Error("what was paused is wrong")
	}
	studio.are(t)
	home.are(t, Pause{Project: "A", By: "it@new", Since: since})
}

func TestPausesAreFollowed(t *testing.T) {
	t.Parallel()
	pauses, other := newPauses(t)
	a, b := Pause{Project: "A", Since: time.UnixMilli(1).UTC()}, Pause{Project: "B", Since: time.UnixMilli(2).UTC()}
	pauses.set(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	changes, ended := make(chan []Pause), make(chan struct{})
	go func() {
		defer close(ended)
		pauses.Watch(ctx, []Pause{a}, func(now []Pause) { changes <- now })
	}()
	next := func(want ...Pause) {
		t.Helper()
		select {
		case got := <-changes:
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
		case <-time.After(patience):
			t.Fatal("nothing is reported")
		}
	}
	other.set(t, b)
	pauses.set(t, b) // the first that is news
	next(a, b)
	pauses.clear(t, "A")
	next(b)
	pauses.clear(t, "B")
	next()
	cancel()
	<-ended
}
