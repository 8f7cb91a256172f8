package watcher

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sitesync/avalon"
)

// A person's change is as urgent as a publish; those of a script in many representations, such as add-site, are a
// backlog. So many updates in a row go to the live lane, and one more after each interval.
const (
	liveBurst  = 50
	liveRefill = time.Second
)

// State is that of the change stream, as operators see it.
type State int32

// The states of the stream.
const (
	StreamClosed      State = iota // not open yet or for now; polls find the work
	StreamOpen                     // reacting within milliseconds
	StreamUnavailable              // the server is not in a replica set
)

// String names the state for logs and pages.
func (s State) String() string { return [...]string{"closed", "open", "not available"}[s] }

// Stream feeds the queue from the database's change stream. When the stream breaks it opens a new one, with backoff and
// for ever. A poll after each opening finds what happened while none was open.
type Stream struct {
	Store *avalon.Store
	Route avalon.Route
	Queue *Queue
	Poll  func() // triggers a poll
	Gap   func() // the same after something may have been missed
	Log   *zap.Logger

	// Lacking has it report, instead of what may be pending on the Route, what may lack the record of one of these
	// sites.
	Lacking []string

	state atomic.Int32

	mu     sync.Mutex
	counts StreamCounts
}

// StreamCounts count what was logged of the stream since the start. A stream that is lost and cannot be reopened is
// lost once, however often it is tried.
type StreamCounts struct {
	Opened int64
	Lost   map[avalon.Reason]int64
}

// State returns the state of the stream.
func (s *Stream) State() State { return State(s.state.Load()) }

// Counts returns the counts so far.
func (s *Stream) Counts() StreamCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return StreamCounts{Opened: s.counts.Opened, Lost: maps.Clone(s.counts.Lost)}
}

// Run works until ctx ends. It keeps trying also where there are no change streams, as members of a replica set may be
// started as standalone servers for maintenance.
func (s *Stream) Run(ctx context.Context) {
	defer s.state.Store(int32(StreamClosed))
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	const none = State(-1)
	logged := none         // the state that was logged last
	var lost avalon.Reason // the reason that was logged last, while logged is not StreamOpen
	for ctx.Err() == nil {
		err := s.follow(ctx, func(proved bool) {
			if proved {
				retry.Reset()
			}
			// A stream that opens and cannot be read, again and again, is not logged each time.
			if logged == none || proved && logged != StreamOpen {
				s.Log.Info("change stream open")
				logged = StreamOpen
				s.mu.Lock()
				s.counts.Opened++
				s.mu.Unlock()
			}
		})
		if ctx.Err() != nil {
			return
		}
		now, reason := StreamClosed, avalon.ReasonOf(err)
		if errors.Is(err, avalon.ErrNoChangeStreams) {
			now = StreamUnavailable
		}
		s.state.Store(int32(now))
		// What turns out during an outage to need a person is logged too.
		unauthorized := reason == avalon.Unauthorized && lost != reason
		switch {
		case now == logged && !unauthorized:
			s.Log.Debug("cannot reopen the change stream", zap.String("reason", string(reason)), zap.Error(err))
		case now == StreamUnavailable:
			s.Log.Warn("this MongoDB is not a replica set, so there is no change stream and only polls find " +
				"publishes; make it a replica set (one member will do) for reactions within milliseconds")
		default:
			s.Log.Warn("change stream lost; reopening, polls find the work meanwhile",
				zap.String("reason", string(reason)), zap.Error(err))
		}
		if now != logged || unauthorized {
			logged, lost = now, reason
			s.mu.Lock()
			if s.counts.Lost == nil {
				s.counts.Lost = map[avalon.Reason]int64{}
			}
			s.counts.Lost[reason]++
			s.mu.Unlock()
		}
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

func (s *Stream) open(ctx context.Context) (*avalon.Changes, error) {
	if s.Lacking != nil {
		return s.Store.LackingChanges(ctx, s.Lacking)
	}
	return s.Store.Changes(ctx, s.Route)
}

// follow opens a stream and reads it until it breaks. It calls opened when the stream is open, and again when an answer
// has proved that it works.
func (s *Stream) follow(ctx context.Context, opened func(proved bool)) error {
	changes, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = changes.Close(closing) // it may be broken
	}()
	s.Gap() // for what came before
	s.state.Store(int32(StreamOpen))
	opened(false)
	live := rate.NewLimiter(rate.Every(liveRefill), liveBurst)
	for n := 0; ; n++ {
		c, ok, err := changes.TryNext(ctx)
		if err != nil {
			return err
		}
		lane := Live
		if c.Update && !live.Allow() {
			lane = Backlog
		}
		switch {
		case !ok:
		case c.Rescan:
			s.Poll()
		case s.Queue.Add(c.Key, lane):
		case lane == Live:
			s.Gap()
		default:
			s.Poll()
		}
		if n == 1 { // the first call does not ask the server
			opened(true)
		}
	}
}
