package pacer

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/time/rate"
)

// at is a time of a test, in seconds.
func at(seconds float64) time.Time {
	return time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// work makes requests until a time, as many as the pace allows and at most so many a second, all of which are accepted
// at once.
func work(p *limiter, from, to time.Time, most float64) {
	for now := from; now.Before(to); now = now.Add(time.Duration(float64(time.Second) / most)) {
		for d := p.take(now); d > 0; d = p.take(now) {
			now = now.Add(d)
		}
		p.accept()
	}
}

// wantLimit checks the limit, to a hundredth.
func wantLimit(t *testing.T, p limiter, want float64) {
	t.Helper()
	if math.Abs(p.limit-want) > 0.01*want {
		t.Errorf("limit %v, want %v", p.limit, want)
	}
}

// At the first refusal nothing is known but what was done in the last second.
func TestLimiterBeginsWellBelowWhatWasDone(t *testing.T) {
	p := newLimiter()
	work(&p, at(0), at(9.5), 40)
	p.refuse(at(9.4), at(9.5))
	wantLimit(t, p, estimatedCut*40)
	if d := p.take(at(9.5)); d != refusalPause {
		t.Errorf("the next request waits %v", d)
	}
	p = newLimiter()
	work(&p, at(0), at(1), 1)
	p.refuse(at(0), at(1))
	wantLimit(t, p, estimatedCut*initialRate)
}

// Between two refusals what was accepted is what the bucket has gained.
func TestLimiterMeasuresBetweenRefusals(t *testing.T) {
	p := newLimiter()
	work(&p, at(0), at(10), 100)
	p.refuse(at(10), at(10))
	work(&p, at(10), at(40), 20)
	p.refuse(at(40), at(40))
	wantLimit(t, p, measuredCut*20)

	// Too few of them.
	work(&p, at(40), at(40.3), 1000)
	p.refuse(at(40.3), at(40.3))
	if p.limit > estimatedCut*20 {
		t.Errorf("limit %v", p.limit)
	}

	// Nothing was asked for in between.
	work(&p, at(41), at(42), 20)
	work(&p, at(60), at(61), 1000)
	p.refuse(at(61), at(61))
	if p.limit < 5 {
		t.Errorf("limit %v", p.limit)
	}
}

// Of many refusals that answer what was sent at one pace one counts.
func TestLimiterSlowsDownOnce(t *testing.T) {
	p := newLimiter()
	work(&p, at(0), at(1.5), 100)
	for range 10 {
		p.refuse(at(1.4), at(1.5))
		p.refuse(at(1.5), at(1.6)) // sent at the same time as the first was answered
	}
	wantLimit(t, p, estimatedCut*estimatedCut*100)
}

func TestLimitHasAMinimum(t *testing.T) {
	p := newLimiter()
	for s := range 50 {
		p.take(at(float64(s)))
		p.refuse(at(float64(s)), at(float64(s)))
	}
	wantLimit(t, p, minRate)
	p.bound = true
	p.accept()
	wantLimit(t, p, minRate)
	if d := p.take(at(50)); d > 2*time.Second {
		t.Errorf("the next request waits %v", d)
	}
}

// It climbs back to where it was refused, stays there for a while, and then climbs faster and faster.
func TestLimiterClimbs(t *testing.T) {
	p := newLimiter()
	work(&p, at(0), at(9.5), 50)
	p.refuse(at(9.5), at(9.5))
	for _, want := range []struct{ after, limit float64 }{{0, 37.5}, {25, 48.2}, {25, 50}, {25, 51.8}, {25, 66.7}, {25,
		132}, {25, 499.5}, {25, math.Inf(1)}} {
		for range int(want.after) {
			p.bound = true
			p.accept()
		}
		if wantLimit(t, p, want.limit); math.IsInf(want.limit, 1) != math.IsInf(p.limit, 1) {
			t.Errorf("limit %v, want %v", p.limit, want.limit)
		}
	}
}

// A limit that is not made use of tells nothing about what more is allowed.
func TestLimiterClimbsOnlyWhenItIsUsed(t *testing.T) {
	p := newLimiter()
	work(&p, at(0), at(9.5), 50)
	p.refuse(at(9.5), at(9.5))
	work(&p, at(10), at(1000), 10)
	wantLimit(t, p, estimatedCut*50)
	work(&p, at(1000), at(1001), 1000)
	if p.limit < 1.05*estimatedCut*50 {
		t.Errorf("limit %v", p.limit)
	}
}

// load is transfers that make requests to an account whose limit is a token bucket, in the time of a synctest bubble.
type load struct {
	pacer  *Pacer
	bucket *rate.Limiter

	mu   sync.Mutex
	dice *rand.Rand
	done span
}

// span is what was done in some time.
type span struct {
	accepted, refused float64
	used              float64 // part of the limit
}

// share is the part of all requests that was refused.
func (s span) share() float64 { return s.refused / (s.accepted + s.refused) }

func (s span) String() string {
	return fmt.Sprintf(
		"%.3f of the limit was used; %v requests were refused, that is %.2f%%",
		s.used,
		s.refused,
		100*s.share(),
	)
}

// withLoad runs a test under a load: there is always more to do than any limit of these tests allows.
func withLoad(t *testing.T, transfers int, limit float64, burst int, test func(t *testing.T, l *load)) {
	synctest.Test(t, func(t *testing.T) {
		l := &load{pacer: New(), bucket: rate.NewLimiter(rate.Limit(limit), burst), dice: rand.New(rand.NewPCG(1, 2))}
		ctx, cancel := context.WithCancel(t.Context())
		away := 10 * time.Millisecond
		if transfers > 8 {
			away *= 3
		}
		var wg sync.WaitGroup
		for range transfers {
			wg.Go(func() {
				for ctx.Err() == nil {
					l.attempt(ctx, away)
				}
			})
		}
		test(t, l)
		cancel()
		wg.Wait()
	})
}

// attempt makes a request, up to five times.
func (l *load) attempt(ctx context.Context, away time.Duration) {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(250*time.Millisecond),
		backoff.WithMaxInterval(8*time.Second),
	)
	for range 5 {
		sent, err := l.pacer.Wait(ctx)
		if err != nil {
			return
		}
		if l.request(away) {
			l.pacer.Succeeded()
			return
		}
		l.pacer.Throttled(sent, 0)
		if Sleep(ctx, wait.NextBackOff()) != nil {
			return
		}
	}
}

// request is away for half to two and a half times as long as said, and it varies when it gets there.
func (l *load) request(away time.Duration) (ok bool) {
	l.mu.Lock()
	there := away/2 + time.Duration(l.dice.Int64N(int64(2*away)))
	l.mu.Unlock()
	time.Sleep(there)
	ok = l.bucket.Allow()
	time.Sleep(away / 2)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.done.refused++
		return false
	}
	l.done.accepted++
	return true
}

// over lets time pass and returns what was done in it.
func (l *load) over(d time.Duration) span {
	l.mu.Lock()
	l.done = span{}
	l.mu.Unlock()
	time.Sleep(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done.used = l.done.accepted / d.Seconds() / float64(l.bucket.Limit())
	return l.done
}

// limit is what the pacer allows.
func (l *load) limit() float64 {
	_, limit := l.pacer.Stats()
	return limit
}

// seconds is a time, but at least a minute.
func seconds(s float64) time.Duration { return max(time.Minute, time.Duration(s*float64(time.Second))) }

// Whatever the limit is, and for how long it can be saved up, it is used, and few requests are refused.
func TestLimiterFindsTheLimit(t *testing.T) {
	for _, limit := range []float64{2, 5, 10, 50, 200} {
		for _, saved := range []float64{1, 60} { // seconds; Google tells its limits by the minute
			for _, transfers := range []int{8, 64} {
				t.Run(
					fmt.Sprintf("%v a second, bucket of %v s, %d transfers", limit, saved, transfers),
					func(t *testing.T) {
						withLoad(t, transfers, limit, int(limit*saved), func(t *testing.T, l *load) {
							l.over(2 * time.Minute) // what was saved is used up, and the limit found
							if got := l.over(seconds(1000 / limit)); got.used < 0.95 || got.share() > 0.02 {
								t.Error(got)
							}
						})
					},
				)
			}
		}
	}
}

// A limit that falls or rises is soon found again, and little is refused on the way.
func TestLimiterFollowsTheLimit(t *testing.T) {
	for _, test := range []struct {
		from, to float64
		within   time.Duration
		refused  float64 // requests, in that time
	}{
		{200, 50, 10 * time.Second, 40},
		{200, 2, 20 * time.Second, 80},
		{50, 10, 10 * time.Second, 40},
		{10, 2, 20 * time.Second, 40},
		{50, 200, 30 * time.Second, 40},
		{10, 50, 40 * time.Second, 40},
		{2, 10, 2 * time.Minute, 40},
		{2, 200, 2 * time.Minute, 40},
	} {
		t.Run(fmt.Sprintf("from %v to %v a second", test.from, test.to), func(t *testing.T) {
			withLoad(t, 8, test.from, int(test.from), func(t *testing.T, l *load) {
				l.over(2 * time.Minute)
				l.bucket.SetLimit(rate.Limit(test.to))
				l.bucket.SetBurst(int(test.to))
				got := l.over(test.within)
				t.Log("on the way:", got)
				if got.refused > test.refused {
					t.Errorf("%v requests were refused on the way", got.refused)
				}
				if got := l.over(seconds(500 / test.to)); got.used < 0.95 || got.share() > 0.03 {
					t.Error("then:", got)
				}
			})
		})
	}
}

// Without a limit nothing waits, and a refusal for another reason is soon forgotten.
func TestLimiterWithoutLimit(t *testing.T) {
	withLoad(t, 8, 1e9, 1e9, func(t *testing.T, l *load) {
		before := l.over(10 * time.Second)
		if !math.IsInf(l.limit(), 1) {
			t.Errorf("limit %v", l.limit())
		}
		l.pacer.Throttled(time.Now(), 0)
		if math.IsInf(l.limit(), 1) {
			t.Error("no limit after a refusal")
		}
		l.over(20 * time.Second)
		if after := l.over(10 * time.Second); after.accepted < 0.95*before.accepted {
			t.Errorf("%v requests in 10 s, %v before the refusal", after.accepted, before.accepted)
		}
	})
}
