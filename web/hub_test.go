package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// Changes are sent as they come, but at most every quarter of a second, and only what has changed.
func TestHubSendsWhatHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made, n atomic.Int64
		h := newHub(func(bool) sections {
			made.Add(1)
			return sections{"a": "same", "b": fmt.Sprint(n.Load())}
		}, "1")
		defer h.Close()
		time.Sleep(time.Hour)
		if made.Load() != 0 {
			t.Error("it renders though nobody is connected")
		}
		l := h.Subscribe(false)
		if got := string(<-l.events); got != "event: news\ndata: {\"a\":\"same\",\"b\":\"0\"}\n\n" {
			t.Errorf("the first event is %q", got)
		}
		time.Sleep(time.Minute)
		if len(l.events) != 0 {
			t.Errorf("%q has not changed", <-l.events)
		}
		start := time.Now()
		for i := range 1000 { // a second of changes
			n.Store(int64(i + 1))
			time.Sleep(time.Millisecond)
			select {
			case got := <-l.events:
				if strings.Contains(string(got), "same") {
					t.Errorf("%q has not changed", got)
				}
				n.Store(0)
				t.Logf("after %s: %s", time.Since(start), got)
			default:
			}
		}
		if made := made.Load(); made > 60*4+8 {
			t.Errorf("it was made %d times", made)
		}
		h.Unsubscribe(l)
		before := made.Load()
		time.Sleep(time.Hour)
		if made.Load() > before+1 {
			t.Error("it renders though nobody is connected any more")
		}
	})
}

// A slow subscriber is disconnected; others do not notice.
func TestHubSendsSlowListenersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		h := newHub(func(bool) sections { return sections{"a": fmt.Sprint(n.Add(1))} }, "1")
		defer h.Close()
		slow, quick := h.Subscribe(false), h.Subscribe(false)
		got := 0
		for range 100 {
			time.Sleep(eventInterval)
			synctest.Wait()
			for len(quick.events) > 0 {
				if _, ok := <-quick.events; ok {
					got++
				}
			}
		}
		if got < 90 {
			t.Errorf("the quick one has got %d events", got)
		}
		left := 0
		for range slow.events { // ends, as it is closed
			left++
		}
		if left != eventBuffer {
			t.Errorf("%d events were kept for the slow one", left)
		}
		h.Unsubscribe(slow)
	})
}

func TestHubIsBounded(t *testing.T) {
	h := newHub(func(bool) sections { return sections{"a": "b"} }, "1")
	for range maxSubscribers {
		if h.Subscribe(false) == nil {
			t.Fatal("refused too early")
		}
	}
	if h.Subscribe(false) != nil {
		t.Error("there are more than are allowed")
	}
	h.Close()
	if h.Subscribe(false) != nil {
		t.Error("subscribed to a closed hub")
	}
}

// Who may change something is shown other parts than who may not.
func TestHubKnowsWhoMayChange(t *testing.T) {
	h := newHub(func(may bool) sections { return sections{"a": fmt.Sprint(may)} }, "1")
	defer h.Close()
	for _, may := range []bool{true, false} {
		if got := string(<-h.Subscribe(may).events); !strings.Contains(got, fmt.Sprintf(`"a":"%t"`, may)) {
			t.Errorf("%t gets %q", may, got)
		}
	}
}

// A stream of events outlives the limits for requests that end, and ends with the server.
func TestEventsStayOpen(t *testing.T) {
	t.Parallel()
	s := New(Options{Listen: "127.0.0.1:0", Snapshot: always(working), Ping: well, Log: zap.NewNop()})
	s.readTimeout, s.writeTimeout = 100*time.Millisecond, 100*time.Millisecond
	s.hub.heartbeat = 20 * time.Millisecond
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			s.Stop()
		}
	}()
	res, err := http.Get("http://" + s.Addr().String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s, %s", res.Status, got)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	beats, news := 0, map[string]string{}
	for beats < 20 && in.Scan() { // 400 ms, four times the limits
		line := in.Text()
		if line == ": still here" {
			beats++
		}
		if data, ok := strings.CutPrefix(line, "data: {"); ok && json.Unmarshal([]byte("{"+data), &news) != nil {
			t.Errorf("%q is no JSON", line)
		}
	}
	if beats < 20 {
		t.Fatalf("it has ended after %d heartbeats: %v", beats, in.Err())
	}
	for _, name := range sectionNames {
		if news[name] == "" {
			t.Errorf("the events lack %s", name)
		}
	}
	s.Stop()
	stopped = true
	for in.Scan() {
	}
}
