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

	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

const (
	// maxUnsynced bounds the publishes under way.
	maxUnsynced = 100
	// maxBytes bounds what is on the storage, bytes; old publishes are deleted. Drive has as much.
	maxBytes = 500 << 20
)

// stallTimeout is how long to wait without any progress.
func stallTimeout(s settings) time.Duration { return 30*time.Second + 5*s.Latency }

// runner is the studio at work.
type runner struct {
	settings settings
	env      *testenv.Env
	tracker  *tracker
}

// run publishes until the time is over or finish ends, then waits until all is synced or there is no progress.
func (r *runner) run(ctx, finish context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if status, err := r.env.Daemon.Exit(ctx); err == nil {
			cancel(fmt.Errorf("sitesync ended with status %d:\n%s", status, r.env.Daemon.Tail(20)))
		}
	}()
	err := r.publishAll(ctx, finish)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-watched
	return err
}

func (r *runner) publishAll(ctx, finish context.Context) error {
	open := map[string]*studio.Project{}
	for _, name := range projects {
		p, err := r.env.Studio.Project(ctx, name)
		if err != nil {
			return err
		}
		open[name] = p
	}
	if !r.settings.Forever {
		var cancel context.CancelFunc
		finish, cancel = context.WithTimeout(finish, r.settings.Duration)
		defer cancel()
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.settings.Rate))
	defer tick.Stop()
	scenario := newScenario(r.settings)
	artists, ctx := errgroup.WithContext(ctx)
	artists.SetLimit(maxUnsynced)
	for i := 0; finish.Err() == nil && ctx.Err() == nil; i++ {
		spec := scenario.spec(i)
		artists.Go(func() error { return r.publish(ctx, finish, open[spec.project], spec) })
		select {
		case <-tick.C:
		case <-finish.Done():
		case <-ctx.Done():
		}
	}
	r.tracker.enter(waiting)
	err := artists.Wait()
	r.tracker.stopClock()
	return err
}

// publish publishes one representation and waits until it is synced.
func (r *runner) publish(ctx, finish context.Context, p *studio.Project, spec publishSpec) error {
	it := newItem(spec, time.Now())
	r.tracker.add(it)
	rep, err := p.Publish(ctx, spec.publish)
	if err != nil {
		return err
	}
	r.tracker.published(it, rep)
	since := rep.Acknowledged
	if spec.kind == broken {
		if since, err = r.breakAndRepair(ctx, finish, it); err != nil {
			return err
		}
	}
	at, err := r.waitSynced(ctx, it, since)
	if err != nil {
		return err
	}
	if at.IsZero() {
		r.tracker.abandoned(it)
		return nil
	}
	r.tracker.synced(it, at.Sub(since))
	return r.deleteOld(ctx)
}

// waitSynced waits until a publish is synced and returns when that could be read; zero if there is no progress any
// more. It polls less and less often, but is never late by more than 2 % of the time that has passed.
func (r *runner) waitSynced(ctx context.Context, it *item, since time.Time) (time.Time, error) {
	const (
		minWait  = 2 * time.Millisecond
		progress = 100 * time.Millisecond
	)
	lastProgress := time.Now()
	for {
		synced, err := r.env.Studio.Synced(ctx, it.rep)
		now := time.Now()
		switch {
		case err != nil:
			return time.Time{}, err
		case synced:
			return now, nil
		case r.tracker.stalled(stallTimeout(r.settings)):
			return time.Time{}, nil
		}
		if it.files > 1 && now.Sub(lastProgress) > progress {
			n, err := syncedFiles(ctx, it.rep)
			if err != nil {
				return time.Time{}, err
			}
			r.tracker.uploaded(it, n)
			lastProgress = now
		}
		if err := testenv.Sleep(ctx, max(minWait, now.Sub(since)/50)); err != nil {
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
			if site.Name == testenv.RemoteSite && site.Created != nil {
				n++
			}
		}
	}
	return n, nil
}

// breakAndRepair leaves a folder where the file of a publish should be until no tries are left. Then it does what a
// person does: runs sitesync explain, fixes the cause, and runs sitesync retry. It returns the time of the retry.
func (r *runner) breakAndRepair(ctx, finish context.Context, it *item) (time.Time, error) {
	f := it.rep.Files[0]
	if err := os.Mkdir(f.Local, 0o755); err != nil {
		return time.Time{}, err
	}
	for tries := 0; tries < retryCount && !r.tracker.stalled(stallTimeout(r.settings)); {
		record, err := it.rep.Record(ctx, 0, testenv.RemoteSite)
		if err != nil {
			return time.Time{}, err
		}
		if n, _ := record.Lookup("tries").AsInt64OK(); int(n) > tries {
			tries = int(n)
			reason, _ := record.Lookup("error").StringValueOK()
			reason = strings.ReplaceAll(reason, f.Local, filepath.Base(f.Local)) // a line has little room
			r.tracker.failed(it, tries, fmt.Sprintf("try %d of %d: %s", tries, retryCount, reason))
		}
		if err := testenv.Sleep(ctx, 20*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	explained, err := r.env.Command(ctx, "explain", it.project, it.rep.ID.Hex())
	if explained == "" {
		return time.Time{}, err // its exit status is not 0, as there is something to do
	}
	r.tracker.explained(it, explained)
	// Time to read, unless we are asked to finish.
	reading, cancel := context.WithTimeout(finish, 2*pace(r.settings))
	defer cancel()
	<-reading.Done()
	if err := errors.Join(os.Remove(f.Local), it.rep.Finish()); err != nil {
		return time.Time{}, err
	}
	if _, err := r.env.Command(ctx, "retry", it.project, "--representation", it.rep.ID.Hex()); err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	r.tracker.repaired(it, "the file is back: sitesync retry "+it.project)
	return at, nil
}

// deleteOld compares and deletes the oldest publishes, on the storage and on Drive, when the storage has too much.
func (r *runner) deleteOld(ctx context.Context) error {
	for {
		it := r.tracker.removeOldest(maxBytes)
		if it == nil {
			return nil
		}
		if err := r.compare(ctx, it); err != nil {
			return err
		}
		if err := r.delete(ctx, it); err != nil {
			return err
		}
	}
}

// delete deletes the files of a publish on the storage and on Drive.
func (r *runner) delete(ctx context.Context, it *item) error {
	for i, f := range it.rep.Files {
		record, err := it.rep.Record(ctx, i, testenv.RemoteSite)
		if err != nil {
			return err
		}
		if id, ok := record.Lookup("id").StringValueOK(); ok {
			r.env.Drive.Delete(id)
		}
		if err := os.Remove(f.Local); err != nil {
			return err
		}
	}
	return nil
}
