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

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

const (
	// retryCount is the number of tries of a file. No fault here is a file's own, so none should be spent.
	retryCount = 3

	// stallTimeout is how long to wait in the end without any progress.
	stallTimeout = 60 * time.Second
)

// arguments of sitesync run. The grace period outlasts the time that the primary is away.
var arguments = []string{"--retry-delay", "2s", "--settle", "2m", "--loop-delay", "5"}

// chaos is a run.
type chaos struct {
	profile
	scenario scenario
	env      *testenv.Env
	avalon   *mongo.Database
	journal  *journal
	out      io.Writer
	start    time.Time
	requests int // to Drive, while there were faults
	refused  int // by faults

	mu            sync.Mutex
	phase         string
	reps          map[bson.ObjectID]*studio.Representation // as last published
	published     int                                      // files, by path
	again         int                                      // publishes of a path that was published before
	repeated      int                                      // publishes that were retried, as the database failed
	kills         map[killPoint]int
	primaryFaults map[faultKind]int
	tries         int      // in the log
	problems      []string // other than those of the checker
}

// run makes a whole run. The error says that a check failed.
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
	c := &chaos{profile: p, scenario: newScenario(p), journal: &journal{file: file}, out: out, phase: "publishing",
		reps: map[bson.ObjectID]*studio.Representation{}, kills: map[killPoint]int{},
		primaryFaults: map[faultKind]int{}}
	defer func() {
		keep := p.keep || err != nil && ctx.Err() == nil
		if c.env != nil {
			if keep {
				err = errors.Join(err, c.save(dir))
			}
			err = errors.Join(err, c.env.Close())
		}
		err = errors.Join(err, file.Close())
		if keep {
			fmt.Fprintf(out, "Logs and data are kept in %s; begin with run.log.\n", dir)
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
	found, err := (&checker{c.avalon, c.env.Drive, rootFolder, c.reps}).check(ctx)
	if err != nil {
		return err
	}
	return c.summary(found)
}

// rootFolder is the site's root on its shared drive.
const rootFolder = "projects"

// setUp starts all servers.
func (c *chaos) setUp(ctx context.Context, dir string) (err error) {
	c.env, err = testenv.Start(ctx, testenv.Options{
		Dir: dir, Members: 3, Seed: c.seed, Log: c.journal,
		Drive: drive.Settings{Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, ListingLag: c.listingLag,
			UploadBandwidth: 20_000_000},
		Presets: process.Presets{RetryCnt: retryCount},
		Args:    arguments,
		Step: func(what, _ string, do func() error) error {
			fmt.Fprintln(c.out, what, "...")
			return do()
		},
	})
	if err == nil {
		c.avalon = c.env.Mongo.Client().Database("avalon")
	}
	return err
}

// work runs the scenario, then waits until all is synced.
func (c *chaos) work(ctx context.Context) error {
	c.start = time.Now()
	c.journal.record("faults begin")
	for _, f := range faults(c.faultRate) {
		c.env.Drive.AddFault(f)
	}
	reporting, stop := context.WithCancel(ctx)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		c.reportProgress(reporting)
	}()
	defer func() {
		stop()
		<-reported
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.publishAll(gctx) })
	g.Go(func() error { return c.killAll(gctx) })
	g.Go(func() error { return c.injectPrimaryFaults(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	c.journal.record("faults end")
	for _, n := range c.env.Drive.Calls() {
		c.requests += n
	}
	for _, f := range c.env.Drive.Faults() {
		c.refused += f.Hits()
	}
	c.env.Drive.ClearFaults()
	c.env.Drive.UpdateSettings(func(s *drive.Settings) { s.UploadBandwidth = 0 })
	c.enter("waiting until all is synced")
	if err := c.waitSynced(ctx); err != nil {
		return err
	}
	// The last restart may have been a moment ago; sitesync stops cleanly only once it has started.
	if _, err := c.env.Daemon.Wait(ctx, process.Message("sitesync starts")); err != nil {
		return err
	}
	if err := c.env.Daemon.Stop(); err != nil {
		c.addProblem("%v", err)
	}
	c.checkLog(c.env.Daemon)
	return nil
}

// waitSynced waits until all is synced or has no tries left, or until there is no progress any more.
func (c *chaos) waitSynced(ctx context.Context) error {
	best := -1
	for since := time.Now(); time.Since(since) < stallTimeout; {
		synced, over, err := c.progress(ctx)
		if over || err != nil {
			return err
		}
		if synced > best {
			best, since = synced, time.Now()
		}
		if err := testenv.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// progress counts the synced records. It is over when all others have no tries left.
func (c *chaos) progress(ctx context.Context) (synced int, over bool, err error) {
	c.mu.Lock()
	wanted, reps := 0, map[bson.ObjectID]*studio.Representation{}
	for id, rep := range c.reps {
		wanted += len(rep.Files)
		reps[id] = rep
	}
	c.mu.Unlock()
	all, err := records(ctx, c.avalon, reps)
	failed := 0
	for id := range reps {
		for _, r := range all[id] {
			switch {
			case r.created:
				synced++
			case r.tries >= retryCount:
				failed++
			}
		}
	}
	return synced, synced+failed >= wanted, err
}

// enter sets the phase of the run.
func (c *chaos) enter(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

// addProblem reports something that should not have happened.
func (c *chaos) addProblem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.journal.record("WRONG: %s", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, text)
}
