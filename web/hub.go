package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// eventInterval is the minimum interval between two events.
	eventInterval = 250 * time.Millisecond

	// heartbeatInterval is when something is sent though nothing has changed, so that both sides notice when the
	// connection breaks.
	heartbeatInterval = 15 * time.Second

	maxSubscribers = 64

	// eventBuffer is how many events wait for a slow subscriber. One that is slower is disconnected; it connects again.
	eventBuffer = 8

	// sendTimeout bounds how long sending one event may take.
	sendTimeout = 10 * time.Second
)

// sections are the parts of the page by name, as HTML.
type sections map[string]string

// hub sends what changes on the page to all browsers that show it. It renders only while there are any, once for all
// that see the same.
type hub struct {
	render    func(mayChange bool) sections
	handshake []byte // the first event
	heartbeat time.Duration

	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
	running     bool
	ctx         context.Context // until Close
	cancel      context.CancelFunc
	done        sync.WaitGroup
}

// subscriber is one browser.
type subscriber struct {
	mayChange bool
	events    chan []byte // closed when it is disconnected
	shown     sections
}

func newHub(render func(mayChange bool) sections, version string) *hub {
	ctx, cancel := context.WithCancel(context.Background())
	return &hub{render: render, handshake: event("hello", version), heartbeat: heartbeatInterval,
		subscribers: map[*subscriber]struct{}{}, ctx: ctx, cancel: cancel}
}

// Subscribe returns a subscriber, nil if there are too many. Unsubscribe must follow.
func (h *hub) Subscribe(mayChange bool) *subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil || len(h.subscribers) >= maxSubscribers {
		return nil
	}
	s := &subscriber{mayChange: mayChange, events: make(chan []byte, eventBuffer)}
	h.subscribers[s] = struct{}{}
	if !h.running {
		h.running = true
		h.done.Go(h.run)
	}
	return s
}

// Unsubscribe ends what Subscribe has begun.
func (h *hub) Unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disconnect(s)
}

// disconnect ends the events of a subscriber. h.mu must be held.
func (h *hub) disconnect(s *subscriber) {
	if _, ok := h.subscribers[s]; ok {
		delete(h.subscribers, s)
		close(s.events)
	}
}

// Close disconnects all.
func (h *hub) Close() {
	h.mu.Lock()
	h.cancel()
	for s := range h.subscribers {
		h.disconnect(s)
	}
	h.mu.Unlock()
	h.done.Wait()
}

// run sends events for as long as there are subscribers.
func (h *hub) run() {
	tick := time.NewTicker(eventInterval)
	defer tick.Stop()
	for h.update() {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
	}
}

// update renders the page and sends what each subscriber does not show yet. It reports whether there are subscribers.
func (h *hub) update() bool {
	pages := map[bool]sections{} // by mayChange
	h.mu.Lock()
	for s := range h.subscribers {
		pages[s.mayChange] = nil
	}
	h.running = len(pages) > 0
	h.mu.Unlock()
	for mayChange := range pages {
		pages[mayChange] = h.render(mayChange)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		changed := sections{}
		for name, html := range pages[s.mayChange] {
			if html != s.shown[name] {
				changed[name] = html
			}
		}
		if len(changed) == 0 {
			continue
		}
		s.shown = pages[s.mayChange]
		select {
		case s.events <- event("news", changed):
		default:
			h.disconnect(s)
		}
	}
	return len(pages) > 0
}

// event is an event of a stream; see https://html.spec.whatwg.org/multipage/server-sent-events.html. Names stay: a page
// that an older version has served reloads itself at "hello" with another version.
func event(name string, data any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: ", name)
	_ = json.NewEncoder(&b).Encode(data) // texts always encode, on one line
	b.WriteByte('\n')
	return b.Bytes()
}

// serve sends events to a browser until it disconnects.
func (h *hub) serve(w http.ResponseWriter, r *http.Request, mayChange bool) {
	subscriber := h.Subscribe(mayChange)
	if subscriber == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many browsers show this page", http.StatusServiceUnavailable)
		return
	}
	defer h.Unsubscribe(subscriber)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer it
	c := http.NewResponseController(w)
	send := func(data []byte) bool {
		// The server's limit is for answers that end. Where it cannot be set there is none.
		_ = c.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err := w.Write(data)
		return err == nil && c.Flush() == nil
	}
	heartbeat := time.NewTicker(h.heartbeat)
	defer heartbeat.Stop()
	for data, ok := h.handshake, true; ok && send(data); {
		select {
		case data, ok = <-subscriber.events:
		case <-heartbeat.C:
			data = []byte(": still here\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
