package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
)

// source is a source in memory.
type source struct {
	mu       sync.Mutex
	paused   []state.Pause
	projects []string
	counts   avalon.Stats
	failed   []avalon.FailedFile
	room     site.Quota
	err      error         // what the database answers
	takes    time.Duration // how long it takes to count or list a project

	counted, listed, asked int
	at, most               int // questions to the database now, and at once at the most

	explain func(project, id string) (*explain.Report, error)

	// What differs for downloads; all else is the same both ways.
	pausedDown []state.Pause
	countsDown avalon.Stats
	failedDown []avalon.FailedFile
}

func (s *source) ask(ctx context.Context, n *int) error {
	s.mu.Lock()
	*n++
	s.at++
	s.most = max(s.most, s.at)
	takes, err := s.takes, s.err
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	s.at--
	s.mu.Unlock()
	return err
}

func (s *source) Pauses(_ context.Context, d config.Direction) ([]state.Pause, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == config.Down {
		return s.pausedDown, nil
	}
	return s.paused, nil
}

func (s *source) Projects(context.Context) (list []avalon.Project, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.projects {
		list = append(list, avalon.Project{Name: name})
	}
	return list, s.err
}

func (s *source) Count(ctx context.Context, d config.Direction, _ string) (avalon.Stats, error) {
	if d == config.Down {
		return s.countsDown, s.ask(ctx, &s.counted)
	}
	return s.counts, s.ask(ctx, &s.counted)
}

func (s *source) Failed(ctx context.Context, d config.Direction, project string, limit int) ([]avalon.FailedFile,
	error) {
	err := s.ask(ctx, &s.listed)
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []avalon.FailedFile
	failed := s.failed
	if d == config.Down {
		failed = s.failedDown
	}
	for _, f := range failed {
		if f.Key.Project == project && len(list) < limit {
			list = append(list, f)
		}
	}
	return list, err
}

func (s *source) Quota(ctx context.Context) (site.Quota, error) { return s.room, s.ask(ctx, &s.asked) }

func (s *source) Explain(_ context.Context, project, id string) (*explain.Report, error) {
	if s.explain == nil {
		return nil, &explain.NotFoundError{Err: errors.New("there is no such representation")}
	}
	return s.explain(project, id)
}

// set changes the source.
func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// calls returns how often it was asked for counts, failed files and the quota since the last call.
func (s *source) calls() (counted, listed, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted, listed, asked = s.counted, s.listed, s.asked
	s.counted, s.listed, s.asked = 0, 0, 0
	return counted, listed, asked
}

// The directions that tests serve.
var (
	up     = []config.Direction{config.Up}
	upDown = []config.Direction{config.Up, config.Down}
)

func failedFile(project, rep, path string, at time.Time) avalon.FailedFile {
	return avalon.FailedFile{Key: key(project, rep), Path: path, Tries: 3, Error: "refused", LastFailed: at}
}

// The database is asked while a page is open, at most every few seconds, and not at all otherwise.
func TestStatsAskOnlyWhileAPageIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{projects: []string{"A"}, counts: avalon.Stats{Synced: avalon.FileCount{Files: 3, Bytes: 30}}}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		time.Sleep(time.Hour)
		if c, l, r := s.calls(); c+l+r != 0 {
			t.Errorf("asked though no page is open: %d, %d, %d", c, l, r)
		}
		// An hour of somebody who looks all the time, and of many more.
		for range 3600 {
			for range 10 {
				c.Get(t.Context(), 0)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if c, l, r := s.calls(); c > 3600/5+1 || c < 600 || l > 3600/2+1 || l < 1500 || r > 13 || r < 11 {
			t.Errorf("asked %d, %d, %d times", c, l, r)
		}
		if got := c.Get(t.Context(), 0); got.Total.Synced != (avalon.FileCount{Files: 3, Bytes: 30}) ||
			got.Counted.IsZero() ||
			got.Unavailable {
			t.Errorf("%+v", got)
		}
		time.Sleep(2 * statsTTL)
		synctest.Wait()
		s.calls()
		time.Sleep(time.Hour)
		if c, l, r := s.calls(); c+l+r != 0 {
			t.Errorf("asked after the last page was closed: %d, %d, %d", c, l, r)
		}
	})
}

// A slow database is asked less often, one question at a time.
func TestStatsSpareALargeDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{projects: []string{"A"}, takes: 10 * time.Second}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		for range 3600 {
			c.Get(t.Context(), 0)
			time.Sleep(time.Second)
		}
		if c, l, _ := s.calls(); c > 3600/200+1 || l > 3600/200+1 || c < 10 || l < 10 || s.most != 1 {
			t.Errorf("asked %d, %d times, %d at once", c, l, s.most)
		}
	})
}

// A look now and then costs no more than one that lasts.
func TestStatsAreNotCountedAtEachLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{
			projects: []string{"A"},
			takes:    10 * time.Second,
			failed:   []avalon.FailedFile{failedFile("A", "a", "a.ma", time.Now())},
		}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		for i := range 60 {
			c.Get(t.Context(), 0)
			time.Sleep(statsTTL / 2)
			if got := c.Get(t.Context(), 0); i > 0 && (len(got.Failed) != 1 || got.Counted.IsZero()) {
				t.Fatalf("at the look %d: %+v", i, got)
			}
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if c, l, _ := s.calls(); c > 60*75/200+1 || l > 60*75/200+1 || c < 10 || l < 10 {
			t.Errorf("asked %d, %d times", c, l)
		}
	})
}

// Sizes that are not true are no reason to show a negative sum.
func TestStatsOfHugeSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{
			projects: []string{"A", "B", "C"},
			counts: avalon.Stats{
				Synced:  avalon.FileCount{Files: 1, Bytes: math.MaxInt64 - 1},
				Pending: avalon.FileCount{Files: 1, Bytes: math.MaxInt64},
			},
		}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		total := c.Get(t.Context(), time.Second).Total
		if total.Synced != (avalon.FileCount{Files: 3, Bytes: math.MaxInt64}) ||
			toDo(total.Stats).Bytes != math.MaxInt64 {
			t.Errorf("%+v", total)
		}
	})
}

// The first page waits for the answers, but not for long.
func TestStatsFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{
			projects: []string{"A"},
			takes:    10 * time.Millisecond,
			failed:   []avalon.FailedFile{failedFile("A", "a", "a.ma", time.Now())},
		}
		c := newStatsCache(s, up, zap.NewNop())
		start := time.Now()
		if got := c.Get(t.Context(), time.Second); len(got.Failed) != 1 || got.Counted.IsZero() ||
			time.Since(start) > 100*time.Millisecond {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
		c.Close()
		s.takes = time.Minute
		c = newStatsCache(s, up, zap.NewNop())
		start = time.Now()
		if got := c.Get(t.Context(), 100*time.Millisecond); !got.Listed.IsZero() ||
			time.Since(start) != 100*time.Millisecond {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
		c.Close() // in the middle of a question
	})
}

// What a person has changed is shown at once.
func TestStatsAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{projects: []string{"A"}}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		c.Get(t.Context(), time.Second)
		s.set(func(s *source) { s.paused = []state.Pause{{Project: "A"}} })
		c.Refresh()
		if got := c.Get(t.Context(), 0); len(got.Paused) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// An outage of the database is shown, and what was known stays.
func TestStatsOfADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{projects: []string{"A"}, counts: avalon.Stats{Synced: avalon.FileCount{Files: 1, Bytes: 1}}}
		c := newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		c.Get(t.Context(), time.Second)
		s.set(func(s *source) { s.err = errors.New("away") })
		for range 10 {
			c.Get(t.Context(), 0)
			time.Sleep(time.Second)
		}
		if got := c.Get(t.Context(), 0); !got.Unavailable || got.Total.Synced.Files != 1 {
			t.Errorf("%+v", got)
		}
		s.set(func(s *source) { s.err = nil })
		for range 10 {
			c.Get(t.Context(), 0)
			time.Sleep(time.Second)
		}
		if c.Get(t.Context(), 0).Unavailable {
			t.Error("it is back, and nobody has noticed")
		}
	})
}

// Failed files are gathered by representation, the last to fail first, and there is a limit.
func TestStatsOfFailedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		s := &source{projects: []string{"A", "B"}, failed: []avalon.FailedFile{
			failedFile("A", "seq", "s.1002.exr", now.Add(-time.Minute)),
			failedFile("A", "seq", "s.1001.exr", now.Add(-2*time.Minute)),
			failedFile("A", "old", "o.ma", time.Time{}),
			failedFile("B", "seq", "b.ma", now),
		}}
		c := newStatsCache(s, up, zap.NewNop())
		got := c.Get(t.Context(), time.Second)
		c.Close()
		text := ""
		for _, g := range got.Failed {
			text += fmt.Sprint(g.Key.Project, " ", g.Key.ID, " ", g.Path, " ", g.Files, "|")
		}
		if want := "B seq b.ma 1|A seq s.1002.exr 2|A old o.ma 1|"; text != want || got.FailedFiles != 4 {
			t.Errorf("%q, %d files, want %q", text, got.FailedFiles, want)
		}
		for i := range maxFailed + 10 {
			s.failed = append(s.failed, failedFile("A", fmt.Sprint(i), "x.ma", now))
		}
		c = newStatsCache(s, up, zap.NewNop())
		defer c.Close()
		if got := c.Get(t.Context(), time.Second); got.FailedFiles != maxFailed {
			t.Errorf("%d files were read", got.FailedFiles)
		}
	})
}

// Each direction counts by its own rules, and has pauses and failed files of its own.
func TestStatsOfBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		s := &source{
			projects:   []string{"A", "B"},
			counts:     avalon.Stats{Pending: avalon.FileCount{Files: 1, Bytes: 10}},
			countsDown: avalon.Stats{Pending: avalon.FileCount{Files: 2, Bytes: 200}, Oldest: now},
			pausedDown: []state.Pause{{Project: "B"}},
			failed:     []avalon.FailedFile{failedFile("A", "seq", "s.1001.exr", now.Add(-time.Minute))},
			failedDown: []avalon.FailedFile{failedFile("A", "seq", "s.1001.exr", now)},
		}
		c := newStatsCache(s, upDown, zap.NewNop())
		defer c.Close()
		got := c.Get(t.Context(), time.Second)
		if p := got.Projects[1]; p.Up != s.counts || p.Down != s.countsDown || p.Pending.Files != 3 ||
			p.Oldest != now {
			t.Errorf("project B: %+v", p)
		}
		if n := got.Total; n.Up.Pending.Bytes != 20 || n.Down.Pending.Bytes != 400 || n.Pending.Files != 6 {
			t.Errorf("all: %+v", n)
		}
		if len(got.Paused) != 1 || got.Paused[0].Direction != config.Down || got.Paused[0].Project != "B" {
			t.Errorf("paused: %+v", got.Paused)
		}
		if len(got.Failed) != 2 || got.Failed[0].Direction != config.Down || got.Failed[1].Direction != config.Up ||
			got.FailedFiles != 2 {
			t.Errorf("failed: %+v", got.Failed)
		}
	})
}
