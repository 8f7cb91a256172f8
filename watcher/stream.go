package watcher

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"sitesync/avalon"
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

// Stream feeds the queue's live lane from the database's change stream, and opens a new one, with backoff
// and for ever, when one dies. What happened while none was open is the poll's: a poll follows each
// opening.
type Stream struct {
	Store *avalon.Store
	Site  string // the remote site
	Queue *Queue
	Poll  func() // asks for a poll now
	Log   *zap.Logger

	state atomic.Int32
}

// State tells how the stream is.
func (s *Stream) State() State { return State(s.state.Load()) }

// Run works until ctx ends, or until it is clear that there are no change streams here.
func (s *Stream) Run(ctx context.Context) {
	defer s.state.Store(int32(StreamClosed))
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0))
	troubled := false // already told
	for ctx.Err() == nil {
		err := s.follow(ctx, func() {
			if troubled {
				s.Log.Info("change stream open again; everything is polled once")
			} else {
				s.Log.Info("change stream open")
			}
			troubled = false
			retry.Reset()
		})
		s.state.Store(int32(StreamClosed))
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, avalon.ErrNoChangeStreams):
			s.state.Store(int32(StreamNotHere))
			s.Log.Warn("this MongoDB is not a replica set, so there is no change stream: publishes are found by " +
				"the poll only; make it a replica set (one member will do) for reactions within milliseconds")
			<-ctx.Done()
			return
		case errors.Is(err, avalon.ErrInvalidated):
			s.Log.Warn("the database was dropped; opening a new change stream")
		case !troubled:
			s.Log.Warn("change stream lost; reopening, meanwhile the poll works", zap.Error(err))
			troubled = true
		}
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// follow opens a stream and reads it until it dies.
func (s *Stream) follow(ctx context.Context, opened func()) error {
	changes, err := s.Store.Changes(ctx, s.Site)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = changes.Close(closing) // it may be dead already
	}()
	s.state.Store(int32(StreamOpen))
	opened()
	s.Poll() // what came before the stream saw anything
	for {
		c, err := changes.Next(ctx)
		if err != nil {
			return err
		}
		if c.Rescan || !s.Queue.Add(c.Key, Live) {
			s.Poll()
		}
	}
}
