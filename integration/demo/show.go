package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

const (
	// mostUnsynced bounds the publishes under way: with more, the artists wait.
	mostUnsynced = 100
	// mostBytes is from how many bytes on the storage on old publishes are deleted. Drive has them once more.
	mostBytes = 500 << 20
)

// patience is for how long nothing at all may move before what is not synced is given up.
func patience(s settings) time.Duration { return 30*time.Second + 5*s.Latency }

// show is the studio at work.
type show struct {
	settings settings
	stage    *stage.Stage
	board    *board
}

// run publishes until the time is over or finish ends, and waits until all is synced or nothing moves any more.
func (s *show) run(ctx, finish context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if status, err := s.stage.Daemon.Exit(ctx); err == nil {
			cancel(fmt.Errorf("sitesync has ended with status %d:\n%s", status, s.stage.Daemon.Tail(20)))
		}
	}()
	err := s.publishAll(ctx, finish)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-watched
	return err
}

func (s *show) publishAll(ctx, finish context.Context) error {
	open := map[string]*studio.Project{}
	for _, name := range projects {
		p, err := s.stage.Studio.Project(ctx, name)
		if err != nil {
			return err
		}
		open[name] = p
	}
	if !s.settings.Forever {
		var cancel context.CancelFunc
		finish, cancel = context.WithTimeout(finish, s.settings.Duration)
		defer cancel()
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.settings.Rate))
	defer tick.Stop()
	script := newScript(s.settings)
	artists, ctx := errgroup.WithContext(ctx)
	artists.SetLimit(mostUnsynced)
	for i := 0; finish.Err() == nil && ctx.Err() == nil; i++ {
		a := script.act(i)
		artists.Go(func() error { return s.publish(ctx, finish, open[a.project], a) })
		select {
		case <-tick.C:
		case <-finish.Done():
		case <-ctx.Done():
		}
	}
	s.board.enter(waiting)
	err := artists.Wait()
	s.board.stopClock()
	return err
}

// publish publishes one representation and waits until it is synced.
func (s *show) publish(ctx, finish context.Context, p *studio.Project, a act) error {
	it := newItem(a, time.Now())
	s.board.add(it)
	rep, err := p.Publish(ctx, a.publish)
	if err != nil {
		return err
	}
	s.board.published(it, rep)
	since := rep.Acknowledged
	if a.kind == broken {
		if since, err = s.breakAndRepair(ctx, finish, it); err != nil {
			return err
		}
	}
	at, err := s.waitSynced(ctx, it, since)
	if err != nil {
		return err
	}
	if at.IsZero() {
		s.board.abandoned(it)
		return nil
	}
	s.board.synced(it, at.Sub(since))
	return s.deleteOld(ctx)
}

// waitSynced waits until a publish is synced and returns when that could be read; zero if nothing moves any more.
// It looks less and less often, so that waiting costs little, but never later than 2 % of the time that has passed.
func (s *show) waitSynced(ctx context.Context, it *item, since time.Time) (time.Time, error) {
	const (
		soonest  = 2 * time.Millisecond
		progress = 100 * time.Millisecond
	)
	lastProgress := time.Now()
	for {
		synced, err := s.stage.Studio.Synced(ctx, it.rep)
		now := time.Now()
		switch {
		case err != nil:
			return time.Time{}, err
		case synced:
			return now, nil
		case s.board.stalled(patience(s.settings)):
			return time.Time{}, nil
		}
		if it.files > 1 && now.Sub(lastProgress) > progress {
			n, err := syncedFiles(ctx, it.rep)
			if err != nil {
				return time.Time{}, err
			}
			s.board.uploaded(it, n)
			lastProgress = now
		}
		if err := stage.Pause(ctx, max(soonest, now.Sub(since)/50)); err != nil {
			return time.Time{}, err
		}
	}
}

// syncedFiles counts the files of a representation that are synced.
func syncedFiles(ctx context.Context, rep *studio.Representation) (int, error) {
	raw, err := rep.Document(ctx)
	if err != nil {
		return 0, err
	}
	var doc struct {
		Files []struct {
			Sites []struct {
				Name    string
				Created *time.Time `bson:"created_dt"`
			}
		}
	}
	if err := bson.Unmarshal(raw, &doc); err != nil {
		return 0, fmt.Errorf("read %s: %w", rep, err)
	}
	n := 0
	for _, file := range doc.Files {
		for _, site := range file.Sites {
			if site.Name == stage.RemoteSite && site.Created != nil {
				n++
			}
		}
	}
	return n, nil
}

// breakAndRepair leaves a folder where the file of a publish should be, until sitesync gives it up. Then it does
// what a person does: asks sitesync why, repairs the cause, and has it tried again. It returns when that was done.
func (s *show) breakAndRepair(ctx, finish context.Context, it *item) (time.Time, error) {
	f := it.rep.Files[0]
	if err := os.Mkdir(f.Local, 0o755); err != nil {
		return time.Time{}, err
	}
	for tries := 0; tries < retryCount && !s.board.stalled(patience(s.settings)); {
		record, err := it.rep.Record(ctx, 0, stage.RemoteSite)
		if err != nil {
			return time.Time{}, err
		}
		if n, _ := record.Lookup("tries").AsInt64OK(); int(n) > tries {
			tries = int(n)
			reason, _ := record.Lookup("error").StringValueOK()
			reason = strings.ReplaceAll(reason, f.Local, filepath.Base(f.Local)) // a line has little room
			s.board.failed(it, tries, fmt.Sprintf("try %d of %d: %s", tries, retryCount, reason))
		}
		if err := stage.Pause(ctx, 20*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	explained, err := s.stage.Command(ctx, "explain", it.project, it.rep.ID.Hex())
	if explained == "" {
		return time.Time{}, err // its exit status tells that there is something to do
	}
	s.board.explained(it, explained)
	// Time to read, unless we are asked to finish.
	reading, cancel := context.WithTimeout(finish, 2*pace(s.settings))
	defer cancel()
	<-reading.Done()
	if err := errors.Join(os.Remove(f.Local), it.rep.Finish()); err != nil {
		return time.Time{}, err
	}
	if _, err := s.stage.Command(ctx, "retry", it.project, "--representation", it.rep.ID.Hex()); err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	s.board.repaired(it, "the file is in its place again: sitesync retry "+it.project)
	return at, nil
}

// deleteOld compares and deletes the oldest publishes, on the storage and on Drive, when the storage has too much.
func (s *show) deleteOld(ctx context.Context) error {
	for {
		it := s.board.oldest(mostBytes)
		if it == nil {
			return nil
		}
		if err := s.compare(ctx, it); err != nil {
			return err
		}
		if err := s.delete(ctx, it); err != nil {
			return err
		}
	}
}

// delete deletes the files of a publish on the storage and on Drive.
func (s *show) delete(ctx context.Context, it *item) error {
	for i, f := range it.rep.Files {
		record, err := it.rep.Record(ctx, i, stage.RemoteSite)
		if err != nil {
			return err
		}
		if id, ok := record.Lookup("id").StringValueOK(); ok {
			s.stage.Drive.Delete(id)
		}
		if err := os.Remove(f.Local); err != nil {
			return err
		}
	}
	return nil
}
