package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/testenv"
)

const (
	// retryCount is the number of tries of a file. No fault here is a file's own, so none should be spent.
	retryCount = 3

	// stallTimeout is how long to wait in the end without any progress: longer than a name that a process has claimed,
	// which was killed, is kept from the other account.
	stallTimeout = 4 * time.Minute
)

// arguments of sitesync run. The grace period outlasts the time that the primary is away.
var arguments = []string{"--retry-delay", "2s", "--settle", "2m", "--loop-delay", "5"}

// chaos is a run.
type chaos struct {
	profile
	scenario scenario
	env      *testenv.Env
	home     *testenv.Machine // of the artist
	avalon   *mongo.Database
	journal  *journal
	out      io.Writer
	start    time.Time
	visible  visible
	requests int // to Drive, while there were faults
	refused  int // by faults

	mu            sync.Mutex
	phase         string
	reps          map[bson.ObjectID]published // as last published
	published     int                         // files, by path
	again         int                         // publishes of a path that was published before
	repeated      int                         // publishes that were retried, as the database failed
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
		visible: visible{contents: map[string][]string{}, seen: map[string]string{}, unknown: map[string]string{}},
		reps:    map[bson.ObjectID]published{}, kills: map[killPoint]int{},
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
		Down:    true,
		Args:    arguments,
		Step: func(what, _ string, do func() error) error {
			fmt.Fprintln(c.out, what, "...")
			return do()
		},
	})
	if err != nil {
		return err
	}
	c.avalon = c.env.Mongo.Client().Database("avalon")
	c.home, err = c.env.AddMachine(ctx, homeSite, process.Presets{RetryCnt: retryCount})
	return err
}

// homeSite is the name of the storage of the artist at home.
const homeSite = "art-17"

// machine is the one of the studio or of the artist at home.
func (c *chaos) machine(home bool) *testenv.Machine {
	if home {
		return c.home
	}
	return &c.env.Machine
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
	looking := make(chan struct{})
	go func() {
		defer close(looking)
		c.visible.watch(reporting, func() []published {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.Collect(maps.Values(c.reps))
		})
	}()
	defer func() {
		stop()
		<-looking
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
	for _, home := range []bool{false, true} {
		d := c.machine(home).Daemon
		// The last restart may have been a moment ago; sitesync stops cleanly only once it has started.
		if _, err := d.Wait(ctx, process.Message("sitesync starts")); err != nil {
			return err
		}
		if err := d.Stop(); err != nil {
			c.addProblem("%v", err)
		}
		c.checkLog(d)
	}
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
	wanted, reps := 0, maps.Clone(c.reps)
	c.mu.Unlock()
	for _, rep := range reps {
		wanted += 2 * len(rep.Files) // to Drive, and to the other storage
	}
	all, err := records(ctx, c.avalon, reps)
	failed := 0
	for id, rep := range reps {
		for _, sites := range all[id] {
			for _, site := range []string{testenv.RemoteSite, rep.to} {
				switch r := sites[site]; {
				case r.created:
					synced++
				case r.tries >= retryCount:
					failed++
				}
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
