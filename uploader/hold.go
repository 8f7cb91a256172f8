package uploader

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/uploader/site"
)

// Bounds of the wait between two probes of what is held.
const (
	firstProbe = time.Second
	lastProbe  = time.Minute
)

// holds keeps what is held up by a trouble that is no file's own: the site (key ""), or one local root. Each
// is probed, ever more slowly, and ends by itself.
type holds struct {
	site site.Site
	log  *zap.Logger
	poll func()

	mu      sync.Mutex
	changed chan struct{}
	held    map[string]*hold
	delay   map[string]time.Duration // the next hold's first wait: it grows while nothing succeeds
}

type hold struct {
	err   error
	since time.Time
	probe time.Time
}

func newHolds(s site.Site, log *zap.Logger, poll func()) *holds {
	return &holds{site: s, log: log, poll: poll, changed: make(chan struct{}),
		held: map[string]*hold{}, delay: map[string]time.Duration{}}
}

// hold stops what the key stands for. It is told once.
func (h *holds) hold(key string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[key] != nil {
		return
	}
	d := max(h.delay[key], firstProbe)
	h.delay[key] = min(2*d, lastProbe)
	h.held[key] = &hold{err: err, since: time.Now(), probe: time.Now().Add(d)}
	h.notify()
	h.log.Error("uploads are held until this is repaired; no try is spent", zap.String("held", name(key)), zap.Error(err))
}

// check returns why the key is held, nil if it is not.
func (h *holds) check(key string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[key]; held != nil {
		return held.err
	}
	return nil
}

// wait returns when the site is not held.
func (h *holds) wait(ctx context.Context) error {
	for {
		h.mu.Lock()
		held, changed := h.held[""] != nil, h.changed
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

// succeeded says that an upload from a local root went through, so that the next hold is a new one.
func (h *holds) succeeded(root string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.delay, "")
	delete(h.delay, root)
}

// run probes what is held until ctx ends.
func (h *holds) run(ctx context.Context) {
	for {
		h.mu.Lock()
		changed := h.changed
		var key string
		var next *hold
		for k, held := range h.held {
			if next == nil || held.probe.Before(next.probe) {
				key, next = k, held
			}
		}
		h.mu.Unlock()
		var due <-chan time.Time
		if next != nil {
			due = time.After(time.Until(next.probe))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			continue
		case <-due:
		}
		err := h.probe(ctx, key)
		if ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		if err != nil {
			next.err = err
			next.probe = time.Now().Add(h.delay[key])
			h.delay[key] = min(2*h.delay[key], lastProbe)
		} else {
			delete(h.held, key)
		}
		h.notify()
		h.mu.Unlock()
		if err == nil {
			h.log.Info("uploads go on", zap.String("held", name(key)), zap.Duration("after", time.Since(next.since)))
			h.poll()
		}
	}
}

func (h *holds) probe(ctx context.Context, key string) error {
	if key == "" {
		return h.site.Check(ctx)
	}
	return mounted(key)
}

// list tells of every hold.
func (h *holds) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for key, held := range h.held {
		out = append(out, fmt.Sprintf("%s: %v", name(key), held.err))
	}
	sort.Strings(out)
	return out
}

func (h *holds) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func name(key string) string {
	if key == "" {
		return "site"
	}
	return key
}
