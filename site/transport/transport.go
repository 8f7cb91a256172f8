// Package transport has wrappers of [http.RoundTripper] for providers that are reached by HTTP: what keeps a process
// that has lost its lease from writing, and what ends requests that stand still. It knows no service.
package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sitesync/site"
)

// Fence sends nothing once Check fails. It is asked before each request, and before each part of a body that is
// streamed: a process that was paused must not go on where it was.
type Fence struct {
	Base  http.RoundTripper
	Check func() error
}

// RoundTrip sends a request.
func (f *Fence) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := f.check(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // also on errors, as RoundTripper says
		}
		return nil, err
	}
	if isStreamed(req) {
		req = req.WithContext(req.Context()) // a copy
		req.Body = &fencedBody{req.Body, f}
	}
	return f.Base.RoundTrip(req)
}

func (f *Fence) check() error {
	if err := f.Check(); err != nil {
		return &site.Error{Class: site.Transient, Shared: true, Err: err}
	}
	return nil
}

type fencedBody struct {
	io.ReadCloser
	fence *Fence
}

func (b *fencedBody) Read(p []byte) (int, error) {
	if err := b.fence.check(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// isStreamed reports whether a request has a body that is not in memory.
func isStreamed(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}

// ErrSlowSource is the error of a request whose body could not be read in time. The body may still be in use.
var ErrSlowSource = site.Classed(site.NotReady, errors.New("the source is slow: its storage has not delivered a byte "+
	"for a while; the remote site is not the cause"))

// readAhead is how much of a streamed body is read at once, while what was read before is sent, bytes.
const readAhead = 128 << 10

// Stall ends requests that stand still. A streamed body is read in a goroutine of its own, so that a source that hangs
// is not taken for a service that does. Unless the error is [ErrSlowSource], the body is not in use after RoundTrip has
// returned.
type Stall struct {
	Base http.RoundTripper

	// Timeout is how long a request may stand still: not a byte sent, or no answer. All of an answer must be there
	// after as much again, unless it is Long.
	Timeout time.Duration

	// Long says that the answer to a request is content, which takes its time: it stands still if it brings less than
	// leastMove within Timeout. Time in which it is not read does not count. Nil: none is.
	Long func(*http.Request) bool

	// Patience is how many times Timeout the answer to a request may take once all of its body was sent. Nil: once.
	Patience func(*http.Request) int
}

// RoundTrip sends a request.
func (s *Stall) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{timeout: s.Timeout, cancel: cancel, patience: 1}
	if s.Patience != nil {
		w.patience = s.Patience(req)
	}
	w.timer = time.AfterFunc(math.MaxInt64, w.expired)
	req = req.WithContext(ctx) // a copy
	if isStreamed(req) {
		w.body = readBody(req.Body, w)
		req.Body = w.body
	}
	w.alive()
	res, err := s.Base.RoundTrip(req)
	cause := context.Cause(ctx)
	if w.body != nil && !w.body.stop() {
		if res != nil {
			_ = res.Body.Close()
		}
		err, cause = ErrSlowSource, nil
	}
	if err != nil {
		w.end()
		return nil, cmp.Or(cause, err)
	}
	w.alive()
	if s.Long != nil && s.Long(req) {
		w.timer.Stop()
		res.Body = &longAnswer{answer: answer{res.Body, w}, ctx: ctx, left: s.Timeout}
		return res, nil
	}
	res.Body = &answer{res.Body, w}
	return res, nil
}

// watch is the watch over one request.
type watch struct {
	timeout  time.Duration
	timer    *time.Timer
	cancel   context.CancelCauseFunc
	patience int         // how many timeouts the answer may take
	extended atomic.Bool // by patience
	body     *body       // nil if it is not streamed
}

// alive records that the request moves on.
func (w *watch) alive() { w.timer.Reset(w.timeout) }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// expired ends the request, unless it has all been sent and the answer may take longer.
func (w *watch) expired() {
	switch {
	case w.body != nil && w.body.reading.Load():
		w.body.abandon()
		w.cancel(ErrSlowSource)
	case w.patience > 1 && (w.body == nil || w.body.sent.Load()) && w.extended.CompareAndSwap(false, true):
		w.timer.Reset(time.Duration(w.patience-1) * w.timeout)
	default:
		w.cancel(fmt.Errorf("not a byte for %v", w.timeout))
	}
}

// body is a request's body that is read ahead.
type body struct {
	r         *io.PipeReader
	w         *io.PipeWriter
	watch     *watch
	reading   atomic.Bool   // the source is being read
	sent      atomic.Bool   // all of it was read by the transport
	done      chan struct{} // closed when the source is no longer in use
	abandoned chan struct{} // closed when the source has hung for too long
	abandon   func()
}

func readBody(source io.ReadCloser, w *watch) *body {
	b := &body{watch: w, done: make(chan struct{}), abandoned: make(chan struct{})}
	b.r, b.w = io.Pipe()
	b.abandon = sync.OnceFunc(func() {
		close(b.abandoned)
		_ = b.w.CloseWithError(ErrSlowSource) // http.Transport waits for its own reading of the body
	})
	go b.fill(source)
	return b
}

// fill reads the source until its error, its end included, or ours.
func (b *body) fill(source io.ReadCloser) {
	defer close(b.done)
	defer source.Close()
	for buf := make([]byte, readAhead); ; {
		b.reading.Store(true)
		n, err := source.Read(buf)
		b.reading.Store(false)
		if n > 0 {
			if _, err := b.w.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = b.w.CloseWithError(err)
			return
		}
	}
}

// Read is called by the transport.
func (b *body) Read(p []byte) (int, error) {
	b.watch.alive()
	n, err := b.r.Read(p)
	if err == io.EOF {
		b.sent.Store(true)
	}
	b.watch.alive()
	return n, err
}

// Close is called by the transport when it needs no more of the body.
func (b *body) Close() error { return b.r.Close() }

// stop ends the reading of the source, and reports whether the source is no longer in use.
func (b *body) stop() bool {
	_ = b.w.Close()
	select {
	case <-b.done:
		return true
	case <-b.abandoned:
		return false
	}
}

// answer is the body of an answer, whose Close ends the watch.
type answer struct {
	io.ReadCloser
	watch *watch
}

func (a *answer) Close() error {
	defer a.watch.end()
	return a.ReadCloser.Close()
}

// leastMove is how much of a long answer must come within a timeout, bytes.
const leastMove = 16 << 10

// longAnswer is an answer that is watched while it is read, for as long as that takes.
type longAnswer struct {
	answer
	ctx   context.Context // of the request
	left  time.Duration   // to read on without leastMove bytes
	moved int             // since left was a whole timeout, bytes
}

func (a *longAnswer) Read(p []byte) (int, error) {
	began := time.Now()
	a.watch.timer.Reset(a.left)
	n, err := a.answer.Read(p)
	a.watch.timer.Stop()
	a.left = max(a.left-time.Since(began), 0)
	if a.moved += n; a.moved >= leastMove {
		a.moved, a.left = 0, a.watch.timeout
	}
	if err != nil && err != io.EOF {
		err = cmp.Or(context.Cause(a.ctx), err)
	}
	return n, err
}
