package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// newsEvery is the shortest time between two pieces of news.
	newsEvery = 250 * time.Millisecond

	// beatEvery is when something is sent though there is no news, so that both sides see that the other is there.
	beatEvery = 15 * time.Second

	// mostListeners bounds who is told of news at the same time.
	mostListeners = 64

	// newsRoom is how many pieces of news wait for a slow listener. One that is slower is sent away, and comes back.
	newsRoom = 8

	// sendTimeout bounds the sending of one piece of news.
	sendTimeout = 10 * time.Second
)

// sections are the parts of the page by name, as HTML.
type sections map[string]string

// hub tells everybody who looks at the page what has changed on it. It works only while somebody does: the page is
// made once for all that see the same of it.
type hub struct {
	render func(mayChange bool) sections
	hello  []byte // the first thing that is sent
	every  time.Duration
	beat   time.Duration

	mu        sync.Mutex
	listeners map[*listener]struct{}
	running   bool
	closed    bool
	stop      chan struct{}
	ended     sync.WaitGroup
}

// listener is one browser.
type listener struct {
	mayChange bool
	news      chan []byte // closed when it is sent away
	fresh     bool        // it has been told nothing yet
}

func newHub(render func(mayChange bool) sections, version string) *hub {
	return &hub{render: render, hello: event("hello", version), every: newsEvery, beat: beatEvery,
		listeners: map[*listener]struct{}{}, stop: make(chan struct{})}
}

// join has somebody told of news. It returns nil if there are too many.
func (h *hub) join(mayChange bool) *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.listeners) >= mostListeners {
		return nil
	}
	l := &listener{mayChange: mayChange, news: make(chan []byte, newsRoom), fresh: true}
	h.listeners[l] = struct{}{}
	if !h.running {
		h.running = true
		h.ended.Go(h.run)
	}
	return l
}

// leave ends that.
func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.listeners[l]; ok {
		delete(h.listeners, l)
		close(l.news)
	}
}

// close sends everybody away.
func (h *hub) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.stop)
	}
	for l := range h.listeners {
		delete(h.listeners, l)
		close(l.news)
	}
	h.mu.Unlock()
	h.ended.Wait()
}

// run tells of news for as long as somebody listens.
func (h *hub) run() {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	last := map[bool]sections{}
	for h.tell(last) {
		select {
		case <-tick.C:
		case <-h.stop:
			return
		}
	}
}

// tell makes the page and sends each listener what is new for it. It reports false if there are none.
func (h *hub) tell(last map[bool]sections) bool {
	h.mu.Lock()
	var wanted [2]bool
	for l := range h.listeners {
		wanted[index(l.mayChange)] = true
	}
	if h.running = len(h.listeners) > 0; !h.running {
		h.mu.Unlock()
		return false
	}
	h.mu.Unlock()

	for _, mayChange := range []bool{false, true} {
		if !wanted[index(mayChange)] {
			delete(last, mayChange)
			continue
		}
		now := h.render(mayChange)
		changed := sections{}
		for name, html := range now {
			if html != last[mayChange][name] {
				changed[name] = html
			}
		}
		last[mayChange] = now
		h.send(mayChange, now, changed)
	}
	return true
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// send hands out the page to who has just come, and what has changed to all others.
func (h *hub) send(mayChange bool, now, changed sections) {
	var whole, part []byte
	if len(changed) > 0 {
		part = changed.event()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		if l.mayChange != mayChange {
			continue
		}
		news := part
		if l.fresh {
			if whole == nil {
				whole = now.event()
			}
			l.fresh, news = false, whole
		}
		if news == nil {
			continue
		}
		select {
		case l.news <- news:
		default:
			delete(h.listeners, l)
			close(l.news)
		}
	}
}

// event is the parts as an event of a stream.
func (s sections) event() []byte { return event("news", s) }

// event is an event of a stream; see https://html.spec.whatwg.org/multipage/server-sent-events.html.
func event(name string, data any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: ", name)
	_ = json.NewEncoder(&b).Encode(data) // texts always encode, on one line
	b.WriteByte('\n')
	return b.Bytes()
}

// serve tells a browser of news until it leaves.
func (h *hub) serve(w http.ResponseWriter, r *http.Request, mayChange bool) {
	l := h.join(mayChange)
	if l == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many look at this page", http.StatusServiceUnavailable)
		return
	}
	defer h.leave(l)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it to itself
	c := http.NewResponseController(w)
	send := func(news []byte) bool {
		// The server's limit is for answers that end. What can't be set is not limited.
		_ = c.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err := w.Write(news)
		return err == nil && c.Flush() == nil
	}
	if !send(h.hello) {
		return
	}
	beat := time.NewTicker(h.beat)
	defer beat.Stop()
	for {
		select {
		case news, ok := <-l.news:
			if !ok || !send(news) {
				return
			}
		case <-beat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
