package gdrive

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

// rateError is an answer that says we are too fast, or out of luck.
func rateError(status int, reason, retryAfter string) error {
	e := &googleapi.Error{Code: status, Errors: []googleapi.ErrorItem{{Reason: reason}}, Header: http.Header{}}
	e.Header.Set("Retry-After", retryAfter)
	return classify(e)
}

// pass makes so many requests and returns how long they had to wait.
func pass(t *testing.T, p *pacer, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if _, err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start)
}

func TestPacerIsUnlimitedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if d := pass(t, newPacer(), 1000); d != 0 {
			t.Errorf("1000 requests waited %v", d)
		}
	})
}

// Where Drive sets a limit, what has just been published does not wait for all of a backlog's requests.
func TestUrgentRequestsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		pass(t, p, 40)
		p.throttled(time.Now(), rateError(429, "", ""))
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		ask := func(ctx context.Context, name string) {
			wg.Go(func() {
				if _, err := p.wait(ctx); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait()
		}
		for i := range 5 {
			ask(t.Context(), fmt.Sprint("backlog ", i))
		}
		ask(urgent(t.Context()), "new")
		ask(urgent(t.Context()), "newer")
		wg.Wait()
		want := []string{"backlog 0", "new", "newer", "backlog 1", "backlog 2", "backlog 3", "backlog 4"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// Rate errors slow down; an outage is no reason to.
func TestPacerSlowsDown(t *testing.T) {
	for _, test := range []struct {
		err   error
		slows bool
	}{
		{rateError(403, "userRateLimitExceeded", ""), true},
		{rateError(403, "rateLimitExceeded", ""), true},
		{rateError(429, "", ""), true},
		{rateError(503, "", ""), false},
		{classify(context.DeadlineExceeded), false},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPacer()
				pass(t, p, 40)
				time.Sleep(time.Second)
				pass(t, p, 1)
				p.throttled(time.Now(), test.err)
				if d := pass(t, p, 30); test.slows && (d-time.Second).Abs() > 2*refill || !test.slows && d > 0 {
					t.Errorf("30 requests waited %v", d)
				}
			})
		})
	}
}

// Data of an upload session is not held up by what requests wait for, but by a Retry-After.
func TestPacerDoesNotCountData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		pass(t, p, 1)
		p.throttled(time.Now(), rateError(429, "", ""))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { pass(t, p, 1) })
		}
		synctest.Wait()
		data := func() time.Duration {
			start := time.Now()
			if _, err := p.waitHeld(t.Context()); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := data(); d != 0 {
			t.Errorf("data waited %v", d)
		}
		p.throttled(time.Now(), rateError(429, "", "5"))
		if d := data(); d != 5*time.Second {
			t.Errorf("data waited %v, want 5 s", d)
		}
		wg.Wait()
	})
}

// A Retry-After of a limit stops everybody, also who waits already.
func TestPacerRetryAfter(t *testing.T) {
	for _, status := range []int{403, 429} {
		synctest.Test(t, func(t *testing.T) {
			p := newPacer()
			start := time.Now()
			p.throttled(time.Now(), rateError(status, "userRateLimitExceeded", "2"))
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if _, err := p.wait(t.Context()); err != nil {
						t.Error(err)
					}
					if d := time.Since(start); d < 7*time.Second {
						t.Errorf("%d: went after %v", status, d)
					}
				})
			}
			time.Sleep(time.Second)
			p.throttled(time.Now(), rateError(status, "userRateLimitExceeded", "6"))
			p.throttled(time.Now(), rateError(status, "userRateLimitExceeded", "1")) // does not shorten it
			wg.Wait()
		})
	}
}

func TestPacerHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		p.throttled(time.Now(), rateError(429, "", "3600"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				start := time.Now()
				if _, err := p.wait(ctx); !interrupted(err) || time.Since(start) != time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		wg.Wait()
	})
}

// All requests of a site share its pacer, and what is refused gets through in the end.
func TestPacingAgainstDrive(t *testing.T) {
	s := newStudio(t)
	d := s.open(t)
	d.wait = firstWait
	put(t, d, "/SHOW/pub/new/first", "x")
	s.UpdateSettings(func(set *drive.Settings) { set.WriteRate = drive.Rate{PerSecond: 200, Burst: 20} })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := d.Put(t.Context(), upload(fmt.Sprintf("/SHOW/pub/new/%d", i), []byte("x"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(s.Find(s.show, "pub/new/99")); n != 1 {
		t.Errorf("%d files", n)
	}
	if math.IsInf(d.pacer.pace.limit, 1) {
		t.Error("the pacer was not told")
	}
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

// Retry-After of an answer holds up the request itself and all others.
func TestRetryAfterIsHonoured(t *testing.T) {
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/first", "x")
	s.ResetCalls()
	s.AddFault(drive.Fault{Kind: "files.create.multipart", Effect: drive.EffectStatus, Status: 429, RetryAfter: time.Hour})
	ctx, cancel := newCancel(t)
	done := make(chan error)
	try := func(path string) {
		_, err := d.Put(ctx, upload(path, []byte("x")))
		done <- err
	}
	go try("/SHOW/pub/a")
	eventually(t, "the pacer is told", func() bool {
		d.pacer.mu.Lock()
		defer d.pacer.mu.Unlock()
		return time.Until(d.pacer.pace.next) > time.Minute
	})
	go try("/SHOW/pub/b")
	eventually(t, "the other Put waits too", func() bool {
		d.putting.mu.Lock()
		defer d.putting.mu.Unlock()
		return len(d.putting.keys) == 2
	})
	cancel()
	for range 2 {
		if err := <-done; !interrupted(err) {
			t.Error(err)
		}
	}
	if got := s.TotalCalls(); got != 1 {
		t.Errorf("%d calls, want the refused one only: %v", got, s.Calls())
	}
}
