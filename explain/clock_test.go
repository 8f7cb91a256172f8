package explain

import (
	"context"
	"strings"
	"testing"
	"time"

	"sitesync/integration/studio"
	"sitesync/site"
	"sitesync/state"
)

// offClock is a site that sees this machine's clock so far ahead of its own.
type offClock struct {
	site.Storage
	ahead time.Duration
}

func (o offClock) ClockAhead() (ahead time.Duration, known bool) { return o.ahead, true }

func (o offClock) Probe(ctx context.Context, path, id string) (site.Found, error) {
	return o.Storage.(site.Prober).Probe(ctx, path, id)
}

// A clock that is wrong by minutes ends uploads sooner or later, so it is reported before it does.
func TestClock(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 100})
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	if r := s.explain(rep.ID.Hex(), Waiting); strings.Contains(rules(r.Findings, Unknown), "clock") {
		t.Errorf("right clocks: %+v", r.Findings)
	}
	open := s.OpenRemote
	s.OpenRemote = func(ctx context.Context) (site.Storage, error) {
		d, err := open(ctx)
		return offClock{d, -3 * time.Minute}, err
	}
	r := s.explain(rep.ID.Hex(), Unknown)
	if rules(r.Findings, Unknown) != "clock" || !strings.Contains(r.NextStep.String(),
		"the clock of this machine is 3m behind google's") {
		t.Errorf("do %s: %+v", r.NextStep, r.Findings)
	}
}

func TestClockOfMongoDB(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ahead, err := s.State.ClockAhead(t.Context())
	if err != nil || ahead.Abs() > 30*time.Second {
		t.Errorf("MongoDB on this machine has another clock: %v, %v", ahead, err)
	}
	if trouble := ClockTrouble(t.Context(), s.State, offClock{nil, 0}); trouble != "" {
		t.Error(trouble)
	}
}
