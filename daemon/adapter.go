package daemon

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/mongodb"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
	"sitesync/web"
)

// adapter is what the page, health and metrics show of the daemon, and other processes by its lease.
type adapter struct {
	*web.Server
	cfg  *config.Config
	idle bool

	mu      sync.Mutex
	current parts
}

// parts are those of the daemon at one moment.
type parts struct {
	stopping bool
	databases
	running       map[config.Direction]components // by direction; never changed, but replaced
	accessibility *accessibility                  // nil if always_accessible_on is not set
}

// databases are nil before they are connected to.
type databases struct {
	client *mongodb.Client
	store  *avalon.Store
	state  *state.Database
	routes []*route
}

// route is the route in a direction; nil before the databases are connected to.
func (d *databases) route(direction config.Direction) *route {
	for _, r := range d.routes {
		if r.direction == direction {
			return r
		}
	}
	return nil
}

// components of a running pipeline are nil while there is none.
type components struct {
	queue    *watcher.Queue
	stream   *watcher.Stream
	poll     *watcher.Poller // also nil if it is not used
	uploader *uploader.Uploader
	remote   site.Storage
}

// newAdapter returns an adapter that serves nothing before it is started.
func newAdapter(cfg *config.Config, log *zap.Logger, version string) *adapter {
	_, works := cfg.Remote()
	a := &adapter{idle: !works, cfg: cfg}
	host, _ := os.Hostname() // for people only
	o := web.Options{Listen: cfg.Listen, Pprof: cfg.Pprof, Snapshot: a.snapshot, Ping: a.ping, Log: log,
		About: web.About{ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite, Host: host, Version: version,
			Directions: cfg.Directions()},
		Token: cfg.WebToken.Reveal()}
	if works {
		o.Source, o.Actions = a, a
	}
	a.Server = web.New(o)
	return a
}

func (a *adapter) setDatabases(d databases) { a.update(func(p *parts) { p.databases = d }) }
func (a *adapter) setStopping()             { a.update(func(p *parts) { p.stopping = true }) }

// setComponents replaces the components of a direction.
func (a *adapter) setComponents(d config.Direction, c components) {
	a.update(func(p *parts) {
		p.running = maps.Clone(p.running)
		if p.running == nil {
			p.running = map[config.Direction]components{}
		}
		p.running[d] = c
	})
}

func (a *adapter) update(change func(*parts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.current)
}

// now returns the parts of this moment.
func (a *adapter) now() parts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// ping asks the primary, which all reads and writes go to.
func (a *adapter) ping(ctx context.Context) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	return db.client.Ping(ctx, readpref.Primary())
}

// Bounds of a status, in holds and in bytes of a reason: it is written each time that the lease is renewed.
const (
	maxReportedHolds = 100
	maxReason        = 500
)

// workerStatus is what other processes can read of a route.
func (a *adapter) workerStatus(d config.Direction) state.WorkerStatus {
	p := a.now().running[d]
	if p.uploader == nil {
		return state.WorkerStatus{Stream: watcher.StreamClosed.String()}
	}
	r := state.WorkerStatus{Stream: p.stream.State().String()}
	held := p.uploader.Held()
	for _, h := range held[:min(len(held), maxReportedHolds)] {
		why := strings.ToValidUTF8(h.Why[:min(len(h.Why), maxReason)], "") // not cut within a character
		r.Holds = append(r.Holds, state.Hold{Kind: string(h.Kind), Name: h.Name, From: h.From, Hang: h.Hangs,
			What: h.Subject(), Why: why})
	}
	return r
}

func (a *adapter) snapshot() web.Snapshot {
	all := a.now()
	s := web.Snapshot{Idle: a.idle, Stopping: all.stopping}
	if all.client != nil {
		if lost := all.client.LostMajority(); lost != nil {
			s.Majority = lost.String()
		}
	}
	if all.accessibility != nil {
		s.MadeAccessible = all.accessibility.files.Load()
	}
	for _, d := range a.cfg.Directions() {
		s.Routes = append(s.Routes, all.routeState(d))
	}
	return s
}

// routeState is the state of the route in a direction.
func (p *parts) routeState(d config.Direction) web.Route {
	r := web.Route{Direction: d}
	if of := p.route(d); of != nil {
		r.Lease = of.lease.State()
	}
	c := p.running[d]
	if c.uploader != nil {
		r.Stream, r.Streams = c.stream.State(), c.stream.Counts()
		r.Queue = web.Queue{Live: c.queue.Len(watcher.Live), Backlog: c.queue.Len(watcher.Backlog),
			Delayed: c.queue.Delayed()}
		r.Uploader, r.Activity, r.Paused = c.uploader.Stats(), c.uploader.Activity(), c.uploader.Paused()
	}
	if c.poll != nil {
		r.Polling, r.Polls = true, c.poll.Counts()
	}
	if statser, ok := c.remote.(site.Statser); ok {
		r.Site = statser.Stats()
	}
	return r
}

var (
	_ web.Source  = (*adapter)(nil)
	_ web.Actions = (*adapter)(nil)
)

var errNotConnected = errors.New("not connected yet")

// open returns the databases, or an error before they are connected to.
func (a *adapter) open() (databases, error) {
	db := a.now().databases
	if db.store == nil {
		return db, errNotConnected
	}
	return db, nil
}

// read reads from the databases. The error is that of open, or of what reads.
func read[T any](a *adapter, from func(databases) (T, error)) (result T, err error) {
	db, err := a.open()
	if err != nil {
		return result, err
	}
	return from(db)
}

// Pauses returns what people have paused of a direction.
func (a *adapter) Pauses(ctx context.Context, d config.Direction) ([]state.Pause, error) {
	return read(a, func(db databases) ([]state.Pause, error) { return db.route(d).pauses.List(ctx) })
}

// Projects returns the projects.
func (a *adapter) Projects(ctx context.Context) ([]avalon.Project, error) {
	return read(a, func(db databases) ([]avalon.Project, error) { return db.store.Projects(ctx) })
}

// Count counts the files of a project by the rules of a direction.
func (a *adapter) Count(ctx context.Context, d config.Direction, project string) (avalon.Stats, error) {
	return read(a, func(db databases) (avalon.Stats, error) {
		return db.store.Stats(ctx, project, db.route(d).rules, time.Now())
	})
}

// Failed returns files that have no tries left in a direction.
func (a *adapter) Failed(ctx context.Context, d config.Direction, project string, limit int) ([]avalon.FailedFile,
	error) {
	return read(a, func(db databases) ([]avalon.FailedFile, error) {
		return db.store.Failed(ctx, project, db.route(d).rules, limit)
	})
}

// Quota asks the remote site how much space is left; only the active process does.
func (a *adapter) Quota(ctx context.Context) (site.Quota, error) {
	for _, c := range a.now().running {
		if quotaer, ok := c.remote.(site.Quotaer); ok {
			return quotaer.Quota(ctx)
		}
	}
	return site.Quota{}, errors.New("this process is not the active one, or the site has no quota")
}

// Explain says why a representation is synced or not.
func (a *adapter) Explain(ctx context.Context, project, id string) (*explain.Report, error) {
	return read(a, func(db databases) (*explain.Report, error) {
		return NewExplainer(a.cfg, db.store, db.state).Explain(ctx, project, id)
	})
}

// Retry makes failed files pending again: of a project those without tries left, of a representation also those that
// wait for their next try.
func (a *adapter) Retry(ctx context.Context, project, id string) (int64, error) {
	db, err := a.open()
	if err != nil {
		return 0, err
	}
	retry := avalon.Retry{MinTries: a.cfg.RetryCount}
	if id != "" {
		key, _, err := db.store.Find(ctx, project, id)
		if key.ID.IsZero() {
			return 0, err
		}
		retry.MinTries, retry.Representations = 1, []avalon.ID{key.ID}
	}
	var files int64
	var errs []error
	for _, r := range db.routes {
		retry.Site = r.rules.To
		edited, err := db.store.Retry(ctx, project, retry)
		files += edited.Files
		errs = append(errs, err)
	}
	return files, errors.Join(errs...)
}

// Pause pauses a project, or all if it is "".
func (a *adapter) Pause(ctx context.Context, project, by string) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	pause := state.Pause{Project: project, By: by, Since: time.Now()}
	var errs []error
	for _, r := range db.routes {
		errs = append(errs, r.pauses.Set(ctx, pause))
	}
	return errors.Join(errs...)
}

// Resume ends a pause, also in a direction that is off here: sitesync pause sets it for other machines as well.
func (a *adapter) Resume(ctx context.Context, project string) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range []config.Direction{config.Up, config.Down} {
		_, err := db.state.Pauses(state.LeaseName(a.cfg.Mongo.Database, Rules(a.cfg, d).Route)).Clear(ctx, project)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
