package gdrive

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
	"sitesync/site"
	"sitesync/site/pacer"
)

// rateError is an answer that says we are too fast, or out of luck.
func rateError(status int, reason, retryAfter string) error {
	e := &googleapi.Error{Code: status, Errors: []googleapi.ErrorItem{{Reason: reason}}, Header: http.Header{}}
	e.Header.Set("Retry-After", retryAfter)
	return classify(e)
}

// Rate errors slow down; an outage is no reason to.
func TestRateErrorsSlowDown(t *testing.T) {
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
				s := &Site{pacer: pacer.New()}
				pass := func(n int, err error) time.Duration {
					start := time.Now()
					for range n {
						_ = s.once(t.Context(), func() error { return err })
					}
					return time.Since(start)
				}
				pass(40, nil)
				time.Sleep(time.Second)
				pass(1, test.err)
				if d := pass(30, nil); test.slows && (d-time.Second).Abs() > 200*time.Millisecond ||
					!test.slows && d > 0 {
					t.Errorf("30 requests waited %v", d)
				}
			})
		})
	}
}

// All requests of a site share its pacer, and what is refused gets through in the end.
func TestPacingAgainstDrive(t *testing.T) {
	t.Parallel()
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
	if math.IsInf(d.Stats().Limit, 1) {
		t.Error("there is no limit")
	}
	if dup := s.Duplicates(); len(dup) > 0 {
		t.Error("duplicates:", dup)
	}
}

// Retry-After of an answer holds up the request itself and all others.
func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/first", "x")
	s.ResetCalls()
	s.AddFault(
		drive.Fault{Kind: "files.create.multipart", Effect: drive.EffectStatus, Status: 429, RetryAfter: time.Hour},
	)
	ctx, cancel := newCancel(t)
	done := make(chan error)
	try := func(path string) {
		_, err := d.Put(ctx, upload(path, []byte("x")))
		done <- err
	}
	go try("/SHOW/pub/a")
	eventually(t, "the pacer pauses", func() bool {
		return d.pacer.Paused() > time.Minute
	})
	go try("/SHOW/pub/b")
	eventually(t, "the other Put waits too", func() bool { return d.putting.Users() == 2 })
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

// What one site finds out about the account's limits counts for another one that shares its pacer.
func TestSharedPacer(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, s.account.Credentials(), 0o600); err != nil {
		t.Fatal(err)
	}
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte("content"))
	shared := pacer.New()
	var sites []*Site
	for range 2 {
		d, err := New(t.Context(), Config{Credentials: file, Endpoint: s.URL, Roots: []string{"/SHOW/pub"},
			Pacer: shared})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		d.wait = time.Millisecond
		sites = append(sites, d)
	}
	s.AddFault(drive.Fault{Kind: "files.download", Count: 1, Effect: drive.EffectStatus, Status: 403,
		Reason: "userRateLimitExceeded"})
	readAll(t, sites[0], at("/a", id), site.OpenOptions{Size: 7})
	if limit := sites[1].Stats().Limit; math.IsInf(limit, 1) || limit != sites[0].Stats().Limit {
		t.Errorf("the limits are %v and %v", sites[0].Stats().Limit, limit)
	}
}
