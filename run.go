package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site/gdrive"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

// queueRoom is how many keys wait in each lane of the queue, about 3 MB. The poll waits for room, so more would only be
// more.
const queueRoom = 10_000

// run waits for the lease of the remote site and works while it is held.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger, once bool) error {
	monitor := newMonitor(ctx, cfg, log)
	if !once { // which is over soon, and a daemon on this machine may have the port
		if err := monitor.Start(); err != nil {
			return err
		}
		defer monitor.Stop()
	}
	remote, ok := cfg.Remote()
	if !ok {
		log.Warn("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
		if once {
			return nil
		}
		<-ctx.Done()
		return nil
	}
	seen := &servers{
		tell: func(host, trouble string) {
			log.Warn("no connection to a server of MongoDB", zap.String("server", host), zap.String("error", trouble))
		},
		tellSet: func(trouble string) {
			if trouble == "" {
				log.Info("the replica set has a majority again")
				return
			}
			log.Error("nothing is synced until MongoDB confirms writes again; no try is spent", zap.String("error", trouble))
		},
	}
	client, err := connectWhenResolved(ctx, cfg, seen, log, once)
	if err != nil || client == nil {
		return err
	}
	// It is not disconnected in the end: that takes its time when the server hangs, and the process ends anyway.
	d := &daemon{cfg: cfg, remote: remote, log: log, monitor: monitor, store: avalon.NewStore(client, cfg.Mongo.Database), once: once}
	db := state.Open(client, cfg.Mongo.State)
	name := state.LeaseName(cfg.Mongo.Database, remote.Name)
	lease := db.NewLease(name, state.Self(), log, d.report)
	d.journal, d.pauses = &state.Journal{Database: db, Lease: lease}, db.Pauses(name)
	d.store.Fence = lease.Check
	monitor.watch(parts{client: client, servers: seen, lease: lease.State})
	monitor.opened(d.store, db)
	// Credentials that can't be read are told of now, also by one that stands by.
	drive, err := openSite(ctx, cfg, remote, nil)
	if err != nil {
		return err
	}
	drive.Close()
	log.Info("sitesync starts", zap.Object("config", cfg))

	var failed error
	work := func(ctx, fenced context.Context) { failed = d.work(ctx, fenced) }
	if once {
		err = lease.TryRun(ctx, work)
	} else {
		lease.Run(ctx, work)
	}
	log.Info("stopped", zap.Int64("synced", d.totals.Synced), zap.Int64("failed_tries", d.totals.Failed),
		zap.Int64("given_up", d.totals.GivenUp))
	return errors.Join(failed, err)
}

// daemon is what works while the lease is held. Each time that it is, all is built anew: what another process may
// have done meanwhile is not known.
type daemon struct {
	cfg     *config.Config
	remote  config.Site
	log     *zap.Logger
	monitor *monitor
	store   *avalon.Store
	journal *state.Journal
	pauses  *state.Pauses
	once    bool
	totals  uploader.Totals // of all that has ended
}

// work wires the parts together and waits for them.
func (d *daemon) work(ctx, fenced context.Context) error {
	cfg, log := d.cfg, d.log
	drive, err := openSite(ctx, cfg, d.remote, d.journal)
	if err != nil {
		return err
	}
	defer drive.Close()
	paused, err := d.paused(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	queue := watcher.NewQueue(queueRoom)
	defer queue.Close()
	poll := watcher.NewPoll(d.store, cfg.ActiveSite, d.remote.Name, queue, log)
	poll.RetryCount, poll.Interval = cfg.RetryCount, cfg.LoopDelay
	up := uploader.New(uploader.Options{
		ActiveSite: cfg.ActiveSite, RemoteSite: d.remote.Name,
		RetryCount: cfg.RetryCount, Backoff: uploader.Backoff{First: cfg.RetryDelay, Max: cfg.MaxRetryDelay},
		Settle: cfg.Settle, Transfers: cfg.Transfers, RecordProgress: cfg.RecordProgress, LocalRoot: cfg.LocalRoot, RemoteRoot: d.remote.Root,
		Grace: cfg.ShutdownTimeout * 7 / 10, Stop: cfg.ShutdownTimeout * 8 / 10,
		Queue: queue, Store: d.store, Site: drive, Poll: poll.Now, Log: log,
		Synced:     func(f uploader.SyncedFile) { d.monitor.Synced(f); poll.Recorded(f.Key) },
		NothingDue: poll.NothingDue,
	})
	pausing := &pausing{log: log, up: up, poll: poll}
	pausing.set(paused)
	poll.Skip = func(project string) bool { return up.Paused().Is(project) }
	stream := &watcher.Stream{Store: d.store, Active: cfg.ActiveSite, Remote: d.remote.Name, Queue: queue, Poll: func() {}, Gap: func() {}, Log: log}
	standing := d.monitor.watched()
	defer d.monitor.watch(standing)
	watched := parts{client: standing.client, servers: standing.servers, lease: standing.lease, queue: queue, stream: stream, uploader: up, drive: drive}
	if cfg.Poll && !d.once {
		watched.poll, stream.Poll, stream.Gap = poll, poll.Now, poll.Gap
		poll.Watched = func() bool { return stream.State() == watcher.StreamOpen }
	}
	d.monitor.watch(watched)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { up.Run(ctx, fenced) })
	wg.Go(func() { d.pauses.Follow(ctx, paused, pausing.set) })
	wg.Go(func() {
		for err := d.journal.Prepare(ctx); err != nil && ctx.Err() == nil; err = d.journal.Prepare(ctx) {
			log.Warn("what is of no more use stays in sitesync's own database for now", zap.Error(err))
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
			}
		}
	})
	if cfg.Index {
		index := &watcher.Index{Store: d.store, Active: cfg.ActiveSite, Remote: d.remote.Name, Interval: cfg.LoopDelay, Log: log}
		wg.Go(func() { index.Run(ctx) })
	}
	if d.once {
		var paused uploader.Paused
		for again := true; again && err == nil; {
			err = drain(ctx, poll, up)
			paused, again = pausing.left()
		}
		if err == nil {
			err = d.leftPaused(ctx, paused)
		}
		cancel()
	} else {
		// Without polls there is one after a hold or a pause, as nobody else tells of what that has left.
		poll.OnlyAsked = !cfg.Poll
		wg.Go(func() { poll.Run(ctx) })
		if cfg.Stream {
			wg.Go(func() { stream.Run(ctx) })
		}
		<-ctx.Done()
		if fenced.Err() == nil {
			log.Info("stopping; running uploads may finish", zap.Duration("within", cfg.ShutdownTimeout))
		}
	}
	d.finish(&wg, up)
	return err
}

// report is what others can read of the work.
func (d *daemon) report() state.Report {
	p := d.monitor.watched()
	if p.uploader == nil { // nothing works yet
		return state.Report{Stream: watcher.StreamClosed.String()}
	}
	r := state.Report{Stream: p.stream.State().String()}
	for i, h := range p.uploader.Held() {
		if i == mostReported {
			break
		}
		why := strings.ToValidUTF8(h.Why[:min(len(h.Why), mostWhy)], "") // not cut within a character
		r.Held = append(r.Held, state.Held{Kind: string(h.Kind), Name: h.Name, From: h.From, Hang: h.Hangs, What: h.What, Why: why})
	}
	return r
}

// Bounds of what others can read of what is held, in holds and in bytes of a reason: it is written each time that the
// lease is renewed.
const (
	mostReported = 100
	mostWhy      = 500
)

// finish waits for everything to end, but not for what hangs, such as a read from a storage that has gone.
func (d *daemon) finish(wg *sync.WaitGroup, up *uploader.Uploader) {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(d.cfg.ShutdownTimeout * 9 / 10):
		d.log.Warn("something does not end; it is left alone")
	}
	t := up.Totals()
	d.totals.Synced += t.Synced
	d.totals.Failed += t.Failed
	d.totals.GivenUp += t.GivenUp
}

// connectTimeout is how long opening a connection to MongoDB may take, unless the connection string says otherwise.
const connectTimeout = 5 * time.Second

// Waits between two tries to look up the servers of a mongodb+srv connection string.
const (
	firstLookup = time.Second
	lastLookup  = 30 * time.Second
)

// connectWhenResolved is connect, but waits while DNS can't tell the servers of a mongodb+srv connection string: to the
// driver that is an error in it, to a studio an outage like any other. The client is nil if ctx ends first.
func connectWhenResolved(ctx context.Context, cfg *config.Config, seen *servers, log *zap.Logger, once bool) (*mongo.Client, error) {
	var unresolved *net.DNSError
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstLookup), backoff.WithMaxInterval(lastLookup),
		backoff.WithMaxElapsedTime(0))
	for told := false; ; {
		client, err := connect(cfg, seen)
		if !errors.As(err, &unresolved) || once {
			if err == nil && told {
				log.Info("the servers of MongoDB were found in DNS")
			}
			return client, err
		}
		if !told {
			log.Warn("the servers of MongoDB are not found in DNS; that is tried again, and costs no try", zap.Error(err))
			told = true
		}
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func connect(cfg *config.Config, seen *servers) (*mongo.Client, error) {
	var opened connections
	o := options.Client().SetAppName("sitesync").SetDialer(&opened).SetMonitor(opened.monitor()).SetServerMonitor(seen.monitor()).
		// Short enough to find another primary while a publish is still fresh. The URI may say otherwise.
		SetServerSelectionTimeout(5 * time.Second).SetConnectTimeout(connectTimeout).
		// A server that hangs is given up after this and twice the time to connect; the driver's 10 s are too long.
		SetHeartbeatInterval(2 * time.Second).
		ApplyURI(cfg.Mongo.URI.Reveal())
	seen.tls = o.TLSConfig != nil
	client, err := mongo.Connect(o)
	if unresolved := new(net.DNSError); errors.As(err, &unresolved) {
		return nil, fmt.Errorf("mongo %s: %w; check the host in the connection string, and this machine's DNS server", cfg.Mongo.URI, unresolved)
	}
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", cfg.Mongo.URI, err)
	}
	return client, nil
}

// openSite opens the remote site; without a journal, only for looking at it.
func openSite(ctx context.Context, cfg *config.Config, remote config.Site, journal *state.Journal) (*gdrive.Site, error) {
	var roots []string
	for _, root := range remote.Root.All() {
		roots = append(roots, root)
	}
	c := gdrive.Config{Credentials: remote.Credentials, Subject: remote.Subject,
		Endpoint: remote.Endpoint, Roots: roots, Connections: cfg.Transfers + 4}
	if journal != nil {
		c.Journal, c.Fence = journal, journal.Lease.Check
	}
	s, err := gdrive.New(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", remote.Name, err)
	}
	return s, nil
}

// drain polls once and waits until all that was found is synced or given up.
func drain(ctx context.Context, poll *watcher.Poll, up *uploader.Uploader) error {
	ctx, cancel := context.WithCancel(ctx)
	polled := make(chan error, 1)
	go func() { polled <- poll.Once(ctx) }()
	defer func() {
		cancel()
		<-polled
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("interrupted before everything was synced")
		case <-tick.C:
		}
		if err := up.SiteHeld(); err != nil {
			return fmt.Errorf("uploads are held: %w", err)
		}
		select {
		case err := <-polled:
			polled <- err
			if err != nil {
				return fmt.Errorf("poll: %w", err)
			}
			if !up.Idle() {
				continue
			}
			if up.Left() {
				return drain(ctx, poll, up)
			}
			if t := up.Totals(); t.GivenUp+t.Held > 0 {
				return fmt.Errorf("%d file(s) or document(s) can't be synced, %d are held up; see above", t.GivenUp, t.Held)
			}
			return nil
		default:
		}
	}
}
