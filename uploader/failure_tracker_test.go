package uploader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/watcher"
)

var errTrouble = site.Classed(site.Transient, errors.New("google drive answered 500"))

func failingRef(name string) fileRef { return fileRef{key("a"), (&avalon.File{Path: name}).Key()} }

// A file that fails for ever while others get through costs a try after some minutes, and stops in the end.
func TestOneFileThatFailsForEver(t *testing.T) {
	inBubble(t, func(w *world) {
		for range 1000 {
			w.site.put = append(w.site.put, errTrouble)
		}
		// Others succeed all the time.
		ctx, cancel := context.WithCancel(w.t.Context())
		go func() {
			for ctx.Err() == nil {
				w.up.failures.ended(failingRef("other"), true)
				w.up.Queue.Add(key("a"), watcher.Backlog) // a poll, which must not shorten its rest
				time.Sleep(100 * time.Millisecond)
			}
		}()
		w.run(time.Minute)
		if rec := w.store.record(); rec.Tries != 0 {
			t.Errorf("after a minute the record is %+v", rec)
		}
		w.run(3 * time.Minute)
		if rec := w.store.record(); rec.Tries != 1 || !strings.Contains(rec.Error, "answered 500") ||
			!strings.Contains(rec.Error, "though the site works otherwise") {
			t.Errorf("after four minutes the record is %+v", rec)
		}
		w.run(10 * time.Minute)
		if rec := w.store.record(); rec.Tries != 3 {
			t.Errorf("in the end the record is %+v", rec)
		}
		puts := len(w.site.puts)
		if puts > 30 {
			t.Errorf("%d uploads", puts)
		}
		w.run(time.Hour)
		if len(w.site.puts) != puts || len(w.site.checks) > 2 || len(w.up.failures.all) != 0 {
			t.Errorf("%d uploads, then %d; %d checks; remembered %v", puts, len(w.site.puts), len(w.site.checks),
				w.up.failures.all)
		}
		cancel()
		synctest.Wait()
		time.Sleep(time.Second)
	})
}

// Where nothing else is uploaded, a check tells the file's trouble from an outage.
func TestOnlyFileThatFails(t *testing.T) {
	for _, out := range []bool{false, true} {
		inBubble(t, func(w *world) {
			for range 10_000 {
				w.site.put = append(w.site.put, errTrouble)
				if out {
					w.site.check = append(w.site.check, errTrouble)
				}
			}
			w.run(5 * time.Hour)
			if rec := w.store.record(); rec.Tries != map[bool]int{false: 3, true: 0}[out] {
				t.Errorf("outage %v: the record is %+v", out, rec)
			}
			w.site.mu.Lock()
			w.site.put, w.site.check = nil, nil
			w.site.mu.Unlock()
			w.run(10 * time.Second)
			if out {
				w.wantSynced()
			}
		})
	}
}

// A limit, or our own database, is never a file's trouble.
func TestSharedTroubleIsNoFiles(t *testing.T) {
	inBubble(t, func(w *world) {
		for range 10_000 {
			w.site.put = append(w.site.put, &site.Error{Class: site.Transient, Shared: true,
				Err: errors.New("rate limit")})
		}
		w.run(5 * time.Hour)
		if rec := w.store.record(); rec.Tries != 0 || len(w.site.checks) != 0 {
			t.Errorf("the record is %+v, %d checks", rec, len(w.site.checks))
		}
	})
}

func TestWhoseFailure(t *testing.T) {
	ctx := t.Context()
	well := func(context.Context) error { return nil }
	never := func(context.Context) error { t.Error("asked"); return nil }
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ill := failingRef("ill")

	t.Run("an outage with files of all kinds", func(t *testing.T) {
		var f failureTracker
		for round := range 100 {
			for i := range 50 {
				if s := f.failed(ctx, failingRef(fmt.Sprint(i)), now.Add(time.Duration(round)*time.Minute), errTrouble,
					never); s.own != 0 || s.rest != transientDelay {
					t.Fatalf("round %d: %+v", round, s)
				}
			}
		}
	})
	t.Run("the time of an outage does not count", func(t *testing.T) {
		var f failureTracker
		at := now
		for range 60 {
			f.failed(ctx, ill, at, errTrouble, func(context.Context) error { return errTrouble })
			at = at.Add(time.Minute)
		}
		for range 5 {
			f.ended(failingRef("other"), true)
		}
		if s := f.failed(ctx, ill, at, errTrouble, never); !s.beside || s.own != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("several beside many", func(t *testing.T) {
		var f failureTracker
		own := 0
		for round := range 8 {
			for i := range 3 {
				if s := f.failed(ctx, failingRef(fmt.Sprint(i)), now.Add(time.Duration(round)*30*time.Second),
					errTrouble, well); s.own > 0 {
					own++
				}
			}
			if round == 0 {
				for range 200 {
					f.ended(failingRef("other"), true)
				}
			}
		}
		if own != 3 {
			t.Errorf("%d have failed by themselves", own)
		}
	})
	t.Run("two beside one", func(t *testing.T) {
		for _, out := range []bool{false, true} {
			var f failureTracker
			own := 0
			for round := range 8 {
				for i := range 2 {
					check := well
					if out {
						check = func(context.Context) error { return errTrouble }
					}
					if s := f.failed(ctx, failingRef(fmt.Sprint(i)), now.Add(time.Duration(round)*30*time.Second),
						errTrouble, check); s.own > 0 {
						own++
					}
				}
				if round == 0 {
					f.ended(failingRef("other"), true)
				}
			}
			if want := map[bool]int{false: 2, true: 0}[out]; own != want {
				t.Errorf("outage %v: %d have failed by themselves", out, own)
			}
		}
	})
	t.Run("memory", func(t *testing.T) {
		var f failureTracker
		for i := range 10 * maxFailing {
			f.failed(ctx, failingRef(fmt.Sprint(i)), now, errTrouble, never)
		}
		if len(f.all) != maxFailing {
			t.Errorf("%d are remembered", len(f.all))
		}
		f.failed(ctx, ill, now.Add(2*forgetFailing), errTrouble, never)
		if len(f.all) != 1 {
			t.Errorf("%d are remembered", len(f.all))
		}
	})
}
