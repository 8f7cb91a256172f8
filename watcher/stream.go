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

// What a person changes by hand is as urgent as a publish. What a script changes in many representations, such as a site
// added to all that a project has, is a backlog: so many updates are urgent at once, and one more after each time.
const (
	byHand      = 50
	byHandAgain = time.Second
)

// State of the change stream, as operators see it.
type State int32

// The states of the stream.
const (
	StreamClosed  State = iota // not open (yet, or for the moment); the poll works
	StreamOpen                 // reacting within milliseconds
	StreamNotHere              // the server is no replica set: poll only
)

// String names the state for logs and pages.
func (s State) String() string {
	return [...]string{"closed", "open", "not available"}[s]
}

// Stream feeds the queue from the database's change stream, as live unless it is too much, and opens a new one, with
// backoff and for ever, when one dies. What happened while none was open is the poll's: a poll follows each
// opening.
type Stream struct {
	Store *avalon.Store
	Route avalon.Route
	Queue *Queue
	Poll  func() // asks for a poll now
	Gap   func() // the same, as something may have been missed
	Log   *zap.Logger

	state atomic.Int32

	mu     sync.Mutex
	counts StreamCounts
}

// StreamCounts count what was told of the stream since the start. A stream that is lost and can't be opened again is
// lost once, however often it is tried.
type StreamCounts struct {
	Opened int64
	Lost   map[avalon.Reason]int64
}

// State tells how the stream is.
func (s *Stream) State() State { return State(s.state.Load()) }

// Counts returns the counts so far.
func (s *Stream) Counts() StreamCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return StreamCounts{Opened: s.counts.Opened, Lost: maps.Clone(s.counts.Lost)}
}

// Run works until ctx ends. Where there are no change streams it keeps asking, as members of a replica set
// are known to be started without it for maintenance.
func (s *Stream) Run(ctx context.Context) {
	defer s.state.Store(int32(StreamClosed))
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0))
	const nothing = State(-1)
	told := nothing        // what was logged last
	var lost avalon.Reason // that was logged last, while told is not StreamOpen
	for ctx.Err() == nil {
		err := s.follow(ctx, func(proved bool) {
			if proved {
				retry.Reset()
			}
			// One that opens and can't be read, again and again, is not to be told of each time.
			if told == nothing || proved && told != StreamOpen {
				s.Log.Info("change stream open")
				told = StreamOpen
				s.mu.Lock()
				s.counts.Opened++
				s.mu.Unlock()
			}
		})
		if ctx.Err() != nil {
			return
		}
		now := StreamClosed
		if errors.Is(err, avalon.ErrNoChangeStreams) {
			now = StreamNotHere
		}
		s.state.Store(int32(now))
		reason := avalon.ReasonOf(err)
		// During an outage it may turn out that somebody has to do something about it.
		refused := reason == avalon.Unauthorized && lost != reason
		switch {
		case now == told && !refused:
			s.Log.Debug("change stream still can't be opened", zap.String("reason", string(reason)), zap.Error(err))
		case now == StreamNotHere:
			s.Log.Warn("this MongoDB is not a replica set, so there is no change stream: publishes are found by " +
				"the poll only; make it a replica set (one member will do) for reactions within milliseconds")
		default:
			s.Log.Warn("change stream lost; reopening, meanwhile the poll works",
				zap.String("reason", string(reason)), zap.Error(err))
		}
		if now != told || refused {
			told, lost = now, reason
			s.count(reason)
		}
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// count takes note of a loss.
func (s *Stream) count(reason avalon.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts.Lost == nil {
		s.counts.Lost = map[avalon.Reason]int64{}
	}
	s.counts.Lost[reason]++
}

// follow opens a stream and reads it until it dies. It calls opened when the stream is open, and again when an
// answer has proved that it works.
func (s *Stream) follow(ctx context.Context, opened func(proved bool)) error {
	changes, err := s.Store.Changes(ctx, s.Route)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = changes.Close(closing) // it may be dead already
	}()
	s.Gap() // what came before the stream saw anything
	s.state.Store(int32(StreamOpen))
	opened(false)
	urgent := rate.NewLimiter(rate.Every(byHandAgain), byHand)
	for n := 0; ; n++ {
		c, ok, err := changes.TryNext(ctx)
		if err != nil {
			return err
		}
		lane := Live
		if c.Update && !urgent.Allow() {
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
		if n == 1 { // the first call asks nothing of the server
			opened(true)
		}
	}
}
