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
		if err := p.wait(t.Context()); err != nil {
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

// A rate error slows down to three quarters of what was done in the last second.
func TestPacerSlowsDown(t *testing.T) {
	for _, test := range []struct {
		err  error
		want float64
	}{
		{rateError(403, "userRateLimitExceeded", ""), 30},
		{rateError(403, "rateLimitExceeded", ""), 30},
		{rateError(429, "", ""), 30},
		{rateError(503, "", ""), math.Inf(1)}, // an outage is no reason to
		{classify(context.DeadlineExceeded), math.Inf(1)},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPacer()
				pass(t, p, 40)
				time.Sleep(time.Second)
				pass(t, p, 1)
				p.throttled(test.err)
				if math.Abs(p.limit-test.want) > 1e-9 {
					t.Errorf("limit %v, want %v", p.limit, test.want)
				}
				pass(t, p, 1)
				if !math.IsInf(test.want, 1) {
					if d, want := pass(t, p, 30), time.Second; (d - want).Abs() > time.Millisecond {
						t.Errorf("30 requests took %v, want %v", d, want)
					}
				}
			})
		})
	}
}

// Many rate errors that answer what was sent at the same time count once, and the next ones again.
func TestPacerSlowsDownOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		pass(t, p, 100)
		want := 100.0
		for range 3 {
			want *= 0.75
			for range 10 {
				p.throttled(rateError(429, "", ""))
			}
			if math.Abs(p.limit-want) > 1 {
				t.Errorf("limit %v, want about %v", p.limit, want)
			}
			pass(t, p, int(2*p.limit))
		}
	})
}

func TestPacerIsNeverSlowerThanTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		for range 20 {
			pass(t, p, 1)
			p.throttled(rateError(429, "", ""))
		}
		if p.limit != slowest {
			t.Errorf("limit %v, want %v", p.limit, slowest)
		}
		if d := pass(t, p, 2); d > 2*time.Duration(float64(time.Second)/slowest) {
			t.Errorf("waited %v", d)
		}
	})
}

// Success lets it climb, by about a tenth a second, until there is no limit.
func TestPacerClimbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		pass(t, p, 40)
		p.throttled(rateError(429, "", ""))
		p.succeeded() // of what was sent before
		if p.limit != 30 {
			t.Fatalf("limit %v, want 30", p.limit)
		}
		for start := time.Now(); time.Since(start) < 2*time.Second; {
			pass(t, p, 1)
			p.succeeded()
		}
		if p.limit < 32 || p.limit > 34 {
			t.Errorf("limit %v after two seconds, one of them climbing, want about 33", p.limit)
		}
		for range 10 * fastest {
			pass(t, p, 1)
			p.succeeded()
		}
		if !math.IsInf(p.limit, 1) {
			t.Errorf("limit %v, want none", p.limit)
		}
	})
}

// A Retry-After stops everybody, also who waits already, and whatever the status.
func TestPacerRetryAfter(t *testing.T) {
	for _, status := range []int{403, 429, 503} {
		synctest.Test(t, func(t *testing.T) {
			p := newPacer()
			start := time.Now()
			p.throttled(rateError(status, "userRateLimitExceeded", "2"))
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if err := p.wait(t.Context()); err != nil {
						t.Error(err)
					}
					if d := time.Since(start); d < 7*time.Second {
						t.Errorf("%d: went after %v", status, d)
					}
				})
			}
			time.Sleep(time.Second)
			p.throttled(rateError(status, "userRateLimitExceeded", "6"))
			p.throttled(rateError(status, "userRateLimitExceeded", "1")) // does not shorten it
			wg.Wait()
		})
	}
}

func TestPacerHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		p.throttled(rateError(429, "", "3600"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				start := time.Now()
				if err := p.wait(ctx); !interrupted(err) || time.Since(start) != time.Second {
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
	if math.IsInf(d.pacer.limit, 1) {
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
		return time.Until(d.pacer.next) > time.Minute
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
