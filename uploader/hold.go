package uploader

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// Bounds of the wait between two probes of what is held.
	firstProbe = time.Second
	lastProbe  = time.Minute

	// forgetAfter is when a hold that can't be probed is forgotten, if nothing runs into it any more.
	forgetAfter = time.Hour

	// maxHolds bounds the holds that are remembered. There are as many as roots, but for nonsensical documents.
	maxHolds = 100
)

// trouble is something that is no file's own: all files that it concerns are held up by it.
type trouble struct {
	name  string                      // tells it from others
	probe func(context.Context) error // whether it has ended; nil if only a restart, or other documents, can end it
}

// what is held up, for people.
func (t trouble) what() string {
	if t.probe == nil {
		return "files that the settings do not fit"
	}
	return t.name
}

// holds keeps what is held up by a trouble: the site, a local root, or a root that the settings do not know. Each
// is probed, ever more slowly, and ends by itself.
type holds struct {
	log  *zap.Logger
	poll func() // finds again what was held up

	mu      sync.Mutex
	changed chan struct{}
	held    map[string]*hold
	ended   map[string]ending
	begun   Holds // since the start
}

type hold struct {
	trouble
	err   error
	since time.Time
	delay time.Duration // between the last probe and the next
	next  time.Time     // probe
}

// ending is how a hold was when it ended. One that comes again soon goes on where it was: the probe did not see
// the trouble.
type ending struct {
	at    time.Time
	delay time.Duration
}

func newHolds(log *zap.Logger, poll func()) *holds {
	return &holds{log: log, poll: poll, changed: make(chan struct{}), held: map[string]*hold{}, ended: map[string]ending{}}
}

// hold holds up what the trouble concerns. It is told once.
func (h *holds) hold(t trouble, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if held := h.held[t.name]; held != nil {
		if t.probe == nil {
			held.next = now.Add(forgetAfter)
		}
		return
	}
	if len(h.held) >= maxHolds {
		return
	}
	delay := firstProbe
	if last, ok := h.ended[t.name]; ok && now.Sub(last.at) < lastProbe {
		delay = min(2*last.delay, lastProbe)
	}
	if t.probe == nil {
		delay = forgetAfter
	}
	h.held[t.name] = &hold{trouble: t, err: err, since: now, delay: delay, next: now.Add(delay)}
	h.begun.add(t)
	h.notify()
	h.log.Error("uploads are held until this is repaired; no try is spent", zap.String("held", t.what()), zap.Error(err))
}

// check returns why something is held, nil if it is not.
func (h *holds) check(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[name]; held != nil {
		return held.err
	}
	return nil
}

// wait returns when it is not held.
func (h *holds) wait(ctx context.Context, name string) error {
	for {
		h.mu.Lock()
		held, changed := h.held[name] != nil, h.changed
		h.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run probes what is held until ctx ends.
func (h *holds) run(ctx context.Context) {
	for {
		h.mu.Lock()
		changed := h.changed
		var first *hold
		var due time.Time
		for _, held := range h.held {
			if first == nil || held.next.Before(due) {
				first, due = held, held.next
			}
		}
		h.mu.Unlock()
		var timer <-chan time.Time
		if first != nil {
			timer = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer:
			h.probe(ctx, first)
		}
	}
}

// probe looks whether a hold has ended.
func (h *holds) probe(ctx context.Context, held *hold) {
	var err error
	if held.probe != nil {
		err = held.probe(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case held.probe == nil && now.Before(held.next): // somebody ran into it meanwhile
	case err != nil:
		held.err = err
		held.delay = min(2*held.delay, lastProbe)
		held.next = now.Add(held.delay)
	default:
		delete(h.held, held.name)
		h.notify()
		if held.probe == nil {
			return
		}
		h.ended[held.name] = ending{now, held.delay}
		h.log.Info("uploads go on", zap.String("held", held.what()), zap.Duration("after", now.Sub(held.since)))
		h.poll()
	}
}

// list tells of every hold.
func (h *holds) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, held := range h.held {
		out = append(out, fmt.Sprintf("%s: %v", held.what(), held.err))
	}
	sort.Strings(out)
	return out
}

func (h *holds) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}
