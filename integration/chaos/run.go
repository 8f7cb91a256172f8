package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"sitesync/integration/daemon"
	"sitesync/integration/drive"
	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

const (
	// retryCount is after how many tries a file is given up. Nothing that happens here is the fault of a file, so
	// none should be spent.
	retryCount = 3

	// patience is for how long nothing may move in the end before what is not synced is given up.
	patience = 60 * time.Second
)

// arguments of sitesync run. A publish is not waited for in vain while the primary is away.
var arguments = []string{"--retry-delay", "2s", "--settle", "2m", "--loop-delay", "5"}

// chaos is a run.
type chaos struct {
	profile
	script   script
	stage    *stage.Stage
	avalon   *mongo.Database
	journal  *journal
	out      io.Writer
	start    time.Time
	requests int // to Drive, during the storm
	refused  int // by faults

	mu        sync.Mutex
	phase     string
	reps      map[bson.ObjectID]*studio.Representation // as each was published last
	published int                                      // files, by path
	again     int                                      // publishes of what was published before
	repeated  int                                      // publishes that had to be made once more, as the database failed
	kills     map[moment]int
	strikes   map[blow]int
	tries     int      // as the log tells
	trouble   []string // what should not have happened besides
}

// run is the whole run. The error says that something is not as it should be.
func run(ctx context.Context, p profile, out io.Writer) (err error) {
	fmt.Fprintf(out, "seed %d\n", p.seed)
	dir, err := os.MkdirTemp("", "sitesync-chaos-")
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "run.log"))
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	c := &chaos{profile: p, script: newScript(p), journal: &journal{file: file}, out: out, phase: "publishing",
		reps: map[bson.ObjectID]*studio.Representation{}, kills: map[moment]int{}, strikes: map[blow]int{}}
	defer func() {
		keep := p.keep || err != nil && ctx.Err() == nil
		if c.stage != nil {
			if keep {
				err = errors.Join(err, c.save(dir))
			}
			err = errors.Join(err, c.stage.Close())
		}
		err = errors.Join(err, file.Close())
		if keep {
			fmt.Fprintf(out, "Logs and data are kept in %s; run.log tells what happened.\n", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := c.setUp(ctx, dir); err != nil {
		return err
	}
	if err := c.work(ctx); err != nil {
		return err
	}
	c.enter("comparing")
	found, err := (&checker{c.avalon, c.stage.Drive, rootFolder, c.reps}).check(ctx)
	if err != nil {
		return err
	}
	return c.summary(found)
}

// rootFolder is the site's root on its shared drive.
const rootFolder = "projects"

// setUp starts everything.
func (c *chaos) setUp(ctx context.Context, dir string) (err error) {
	c.stage, err = stage.Start(ctx, stage.Options{
		Dir: dir, Members: 3, Seed: c.seed, Log: c.journal, Build: c.build,
		Drive: drive.Settings{Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, ListingLag: c.listingLag,
			UploadBandwidth: 20_000_000},
		Presets: daemon.Presets{RetryCnt: retryCount},
		Args:    arguments,
		Step: func(what, _ string, do func() error) error {
			fmt.Fprintln(c.out, what, "...")
			return do()
		},
	})
	if err == nil {
		c.avalon = c.stage.Mongo.Client().Database("avalon")
	}
	return err
}

// work does all of the script, and then waits until all is synced.
func (c *chaos) work(ctx context.Context) error {
	c.start = time.Now()
	c.journal.tell("it begins")
	for _, f := range faults(c.faultRate) {
		c.stage.Drive.AddFault(f)
	}
	telling, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.tell(telling)
	}()
	defer func() {
		stop()
		<-told
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.publishAll(gctx) })
	g.Go(func() error { return c.killAll(gctx) })
	g.Go(func() error { return c.strikeAll(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	c.journal.tell("it ends")
	for _, n := range c.stage.Drive.Calls() {
		c.requests += n
	}
	for _, f := range c.stage.Drive.Faults() {
		c.refused += f.Hits()
	}
	c.stage.Drive.ClearFaults()
	c.stage.Drive.UpdateSettings(func(s *drive.Settings) { s.UploadBandwidth = 0 })
	c.enter("waiting until all is synced")
	if err := c.waitSynced(ctx); err != nil {
		return err
	}
	// The last kill may have been a moment ago: only a sitesync that has begun can stop orderly.
	if _, err := c.stage.Daemon.Wait(ctx, daemon.Message("sitesync starts")); err != nil {
		return err
	}
	if err := c.stage.Daemon.Stop(); err != nil {
		c.wrong("%v", err)
	}
	c.bury(c.stage.Daemon)
	return nil
}

// waitSynced waits until all is synced or given up, or until nothing moves any more.
func (c *chaos) waitSynced(ctx context.Context) error {
	best := -1
	for since := time.Now(); time.Since(since) < patience; {
		synced, over, err := c.progress(ctx)
		if over || err != nil {
			return err
		}
		if synced > best {
			best, since = synced, time.Now()
		}
		if err := stage.Pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// progress counts the records that are synced. It is over when the others have no tries left.
func (c *chaos) progress(ctx context.Context) (synced int, over bool, err error) {
	c.mu.Lock()
	wanted, reps := 0, map[bson.ObjectID]*studio.Representation{}
	for id, rep := range c.reps {
		wanted += len(rep.Files)
		reps[id] = rep
	}
	c.mu.Unlock()
	all, err := records(ctx, c.avalon, reps)
	given := 0
	for id := range reps {
		for _, r := range all[id] {
			switch {
			case r.created:
				synced++
			case r.tries >= retryCount:
				given++
			}
		}
	}
	return synced, synced+given >= wanted, err
}

// enter begins a phase of the run.
func (c *chaos) enter(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

// wrong adds to what should not have happened.
func (c *chaos) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.journal.tell("WRONG: %s", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = append(c.trouble, text)
}
