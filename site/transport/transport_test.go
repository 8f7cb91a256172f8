package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"sitesync/site"
)

// echo answers with the body, once it has all of it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if body, err := io.ReadAll(r.Body); err == nil {
		_, _ = w.Write(body)
	}
})

// serve starts a server and returns a Stall and a function that puts a streamed body of the size there.
func serve(t *testing.T, h http.Handler) (*Stall, func(body io.Reader, size int) (string, error)) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s := &Stall{Base: server.Client().Transport, Timeout: time.Minute}
	return s, func(body io.Reader, size int) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, struct{ io.Reader }{body})
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(size)
		res, err := s.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		return string(got), err
	}
}

// What is read ahead arrives whole, and an error of the source is the request's.
func TestStreamedBody(t *testing.T) {
	want := strings.Repeat("0123456789", readAhead)
	for name, source := range map[string]io.Reader{
		"whole parts":  strings.NewReader(want),
		"bit by bit":   iotest.HalfReader(strings.NewReader(want)),
		"data and EOF": iotest.DataErrReader(strings.NewReader(want)),
	} {
		_, put := serve(t, echo)
		if got, err := put(source, len(want)); err != nil || got != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	broken := errors.New("broken")
	_, put := serve(t, echo)
	if _, err := put(io.MultiReader(strings.NewReader(want), iotest.ErrReader(broken)), len(want)+1); !errors.Is(
		err,
		broken,
	) {
		t.Errorf("error %v, want that of the source", err)
	}
}

// After an answer that came early the source belongs to the caller again.
func TestSourceIsNotInUseAfterwards(t *testing.T) {
	for range 20 {
		_, put := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, readAhead/2)
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}))
		returned := false // without a lock, so that the race detector sees a read that is not over
		_, _ = put(readerFunc(func(p []byte) (int, error) {
			if returned {
				t.Error("the source is in use")
			}
			return len(p), nil
		}), 1<<30) // with an answer, or without one if the connection is closed first
		returned = true
	}
}

// A source that hangs is not taken for a service that does, and is not waited for.
func TestSlowSource(t *testing.T) {
	s, put := serve(t, echo)
	s.Timeout = 100 * time.Millisecond
	hang := make(chan struct{})
	_, err := put(io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), readerFunc(func([]byte) (int, error) {
		<-hang
		return 0, io.EOF
	})), 2<<20)
	close(hang)
	if !errors.Is(err, ErrSlowSource) || site.ClassOf(err) != site.NotReady {
		t.Errorf("error %v", err)
	}
}

// A service that takes nothing, does not answer, or does not finish its answer is given up.
func TestStall(t *testing.T) {
	for name, h := range map[string]func(http.ResponseWriter, *http.Request, <-chan struct{}){
		"takes nothing": func(_ http.ResponseWriter, _ *http.Request, end <-chan struct{}) { <-end },
		"does not answer": func(_ http.ResponseWriter, r *http.Request, end <-chan struct{}) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-end
		},
		"does not finish": func(w http.ResponseWriter, r *http.Request, end <-chan struct{}) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
			<-end
		},
	} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			s, put := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, end) }))
			s.Timeout = 100 * time.Millisecond
			size := 64 << 20
			if name != "takes nothing" {
				size = 1 << 10
			}
			_, err := put(bytes.NewReader(make([]byte, size)), size)
			close(end)
			if err == nil || errors.Is(err, ErrSlowSource) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A long answer may take longer than the timeout, as long as it goes on, or is not read.
func TestLongAnswer(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	s, put := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		flush := func() { _ = http.NewResponseController(w).Flush() }
		for range 5 {
			_, _ = w.Write(make([]byte, 2*leastMove))
			flush()
			if r.URL.RawQuery == "slow" {
				time.Sleep(300 * time.Millisecond)
			}
		}
		for r.URL.RawQuery == "" { // a byte now and then is no content
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
				_, _ = w.Write([]byte("x"))
				flush()
			}
		}
	}))
	s.Timeout, s.Long = time.Second, func(*http.Request) bool { return true }
	got, err := put(strings.NewReader("x"), 1)
	if err == nil || !strings.Contains(err.Error(), "not a byte for") || len(got) < 10*leastMove {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	s.Base = queried{s.Base, "slow"}
	if got, err := put(strings.NewReader("x"), 1); err != nil || len(got) != 10*leastMove {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
}

// queried adds a query to requests.
type queried struct {
	base  http.RoundTripper
	query string
}

func (q queried) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.RawQuery = q.query
	return q.base.RoundTrip(req)
}

// An answer may take longer where the service has much to do, but only then.
func TestPatience(t *testing.T) {
	for patience, want := range map[int]bool{1: false, 50: true} {
		s, put := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-time.After(500 * time.Millisecond):
			case <-r.Context().Done():
			}
		}))
		s.Timeout, s.Patience = 100*time.Millisecond, func(*http.Request) int { return patience }
		if _, err := put(strings.NewReader("content"), 7); (err == nil) != want {
			t.Errorf("patience %d: error %v", patience, err)
		}
	}
}

// Once the fence is closed nothing more is sent: no request, and no further part of one.
func TestFence(t *testing.T) {
	var closed atomic.Bool
	gone := errors.New("another process has taken over")
	var requests atomic.Int64
	s, put := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.CopyN(io.Discard, r.Body, 1<<10)
		closed.Store(true)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	s.Base = &Fence{Base: s.Base, Check: func() error {
		if closed.Load() {
			return gone
		}
		return nil
	}}
	for range 2 {
		_, err := put(readerFunc(func(p []byte) (int, error) { return len(p), nil }), 1<<40)
		if !errors.Is(err, gone) || site.ClassOf(err) != site.Transient || !site.IsShared(err) {
			t.Errorf("error %v", err)
		}
	}
	if requests.Load() != 1 {
		t.Errorf("%d requests", requests.Load())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
