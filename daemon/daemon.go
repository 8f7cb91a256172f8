// Package daemon is sitesync at work: for each route, up and down, it waits for the lease, serves the route with a
// pipeline while the lease is held, and shows all of it on the page, as health and as metrics. It handles no signals
// and ends no process, so that tests start it in their own.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/mongodb"
	"sitesync/site/pacer"
	"sitesync/site/registry"
	"sitesync/state"
	"sitesync/uploader"
)

// disconnectTimeout is how long MongoDB's driver may take to close its connections when all else has ended.
const disconnectTimeout = time.Second

// Options are what the settings do not say.
type Options struct {
	// Once has it sync what is pending, then end; nothing is served then, as a daemon on this machine may have the port
	Once    bool
	Version string // of sitesync, for the page
}

// Daemon is sitesync on one machine.
type Daemon struct {
	cfg     *config.Config
	log     *zap.Logger
	once    bool
	adapter *adapter

	stopping context.Context // ends when Stop is called
	stop     context.CancelFunc
	running  sync.Mutex // while Run runs
}

// New returns a daemon, which serves the page, health and metrics already. Run or Stop must follow. The error says why
// the address can't be listened on.
func New(cfg *config.Config, log *zap.Logger, o Options) (*Daemon, error) {
	d := &Daemon{cfg: cfg, log: log, once: o.Once}
	d.stopping, d.stop = context.WithCancel(context.Background())
	d.adapter = newAdapter(cfg, log, o.Version)
	if o.Once {
		return d, nil
	}
	if err := d.adapter.Start(); err != nil {
		return nil, err
	}
	return d, nil
}

// Addr is where the page, health and metrics are served; nil if they are not.
func (d *Daemon) Addr() net.Addr { return d.adapter.Addr() }

// Stop ends Run in the same way as its context, and waits for it. It may be called before Run, and more than once.
func (d *Daemon) Stop() {
	d.stop()
	d.running.Lock()
	defer d.running.Unlock()
	d.adapter.Stop()
}

// Run works until ctx ends or Stop is called; running transfers may finish for cfg.ShutdownTimeout then. With
// [Options.Once] it ends when all that is pending is synced, and the error says what was not. It may be called once.
func (d *Daemon) Run(ctx context.Context) error {
	d.running.Lock()
	defer d.running.Unlock()
	defer d.adapter.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.stopping, cancel)()
	defer context.AfterFunc(ctx, d.adapter.setStopping)()

	remote, ok := d.cfg.Remote()
	if !ok {
		d.log.Warn("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
		if !d.once {
			<-ctx.Done()
		}
		return nil
	}
	connect := mongodb.ConnectWhenResolved
	if d.once {
		connect = func(_ context.Context, cfg config.Mongo, log *zap.Logger) (*mongodb.Client, error) {
			return mongodb.Connect(cfg, log)
		}
	}
	client, err := connect(ctx, d.cfg.Mongo, d.log)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), disconnectTimeout)
		defer cancel()
		_ = client.Disconnect(ctx) // a server that hangs is not waited for
	}()
	return d.serve(ctx, client, remote)
}

// route is one of the routes that the daemon serves, under a lease of its own.
type route struct {
	direction config.Direction
	rules     avalon.Rules
	lease     *state.Lease
	pauses    *state.Pauses
	log       *zap.Logger
}

// serve serves all routes between the active site and the remote one.
func (d *Daemon) serve(ctx context.Context, client *mongodb.Client, remote config.Site) error {
	db := state.Open(client.Client, d.cfg.Mongo.State)
	store := avalon.NewStore(client.Client, d.cfg.Mongo.Database)
	self := state.Self()
	var routes []*route
	for _, direction := range d.cfg.Directions() {
		r := &route{direction: direction, rules: Rules(d.cfg, direction),
			log: d.log.With(zap.String("site", remote.Name), zap.String("direction", string(direction)))}
		name := state.LeaseName(d.cfg.Mongo.Database, r.rules.Route)
		r.lease = db.NewLease(name, self, r.log, func() state.WorkerStatus { return d.adapter.workerStatus(direction) })
		r.pauses = db.Pauses(name)
		routes = append(routes, r)
	}
	d.adapter.setDatabases(databases{client, store, db, routes})
	// Credentials that can't be read are an error at once, also for a process that stands by.
	storage, err := registry.Open(ctx, remote, registry.Options{})
	if err != nil {
		return err
	}
	_ = storage.Close() // nothing was asked of it
	d.log.Info("sitesync starts", zap.Object("config", d.cfg))
	if d.cfg.Direction == config.Both && len(d.cfg.LocalRoot) == 0 {
		d.log.Info("nothing is downloaded: there is no local_root that says where files may be written to on this " +
			"machine; with --direction up this is not mentioned")
	}

	stop, err := d.keepAccessible(ctx, store, db)
	defer stop()

	shared := shared{cfg: d.cfg, once: d.once, remote: remote, store: store, state: db, adapter: d.adapter,
		budget: uploader.NewBudget(d.cfg.Transfers), pacer: pacer.New()}
	errs := make([]error, len(routes))
	serve, end := context.WithCancel(ctx)
	defer end()
	var serving sync.WaitGroup
	for i, r := range routes {
		serving.Go(func() {
			err := shared.serve(serve, r)
			if err != nil && len(routes) > 1 {
				err = fmt.Errorf("%ss: %w", r.direction.Noun(), err)
			}
			if errs[i] = err; err != nil && !d.once {
				end() // what has started us may start us again; with half of the routes it would not
			}
		})
	}
	serving.Wait()
	return errors.Join(append(errs, err)...)
}

// serve waits for the lease of a route, and runs a pipeline while it is held.
func (s *shared) serve(ctx context.Context, r *route) error {
	var total uploader.Stats
	var failed error
	// What another process has done while it held the lease is not known, so each time all is built anew.
	work := func(ctx, fenced context.Context) {
		p := &pipeline{shared: s, route: r}
		failed = p.run(ctx, fenced)
		total.Synced += p.stats.Synced
		total.FailedTries += p.stats.FailedTries
		total.FailedFiles += p.stats.FailedFiles + p.stats.InvalidDocs
	}
	var err error
	if s.once {
		err = r.lease.TryRun(ctx, work)
	} else {
		r.lease.Run(ctx, work)
	}
	r.log.Info("stopped", zap.Int64("synced", total.Synced), zap.Int64("failed_tries", total.FailedTries),
		zap.Int64("given_up", total.FailedFiles))
	return errors.Join(failed, err)
}
