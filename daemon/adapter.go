package daemon

import (
	"context"
	"os"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/mongodb"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
	"sitesync/web"
)

// adapter shows what the daemon does on the page, as health and as metrics, and to other processes by the lease's
// report.
type adapter struct {
	*web.Server
	cfg  *config.Config
	idle bool

	mu       sync.Mutex
	stopping bool
	databases
	components components
}

// databases are what the page reads and changes. They are nil before they are connected to.
type databases struct {
	client *mongodb.Client
	store  *avalon.Store
	state  *state.Database
	lease  *state.Lease
}

// components are those of the running pipeline. They are nil while there is none.
type components struct {
	queue    *watcher.Queue
	stream   *watcher.Stream
	poll     *watcher.Poll // nil, too, if it is not used
	uploader *uploader.Uploader
	backend  site.Backend
}

// newAdapter returns an adapter that serves nothing before it is started.
func newAdapter(cfg *config.Config, log *zap.Logger, version string) *adapter {
	_, works := cfg.Remote()
	a := &adapter{idle: !works, cfg: cfg}
	host, _ := os.Hostname() // for people only
	o := web.Options{Listen: cfg.Listen, Pprof: cfg.Pprof, Snapshot: a.snapshot, Ping: a.ping, Log: log,
		About: web.About{ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite, Host: host, Version: version},
		Token: cfg.WebToken.Reveal()}
	if works {
		o.Source, o.Actions = a, a
	}
	a.Server = web.New(o)
	return a
}

// connected has the page show what is in these databases.
func (a *adapter) connected(client *mongodb.Client, store *avalon.Store, db *state.Database, lease *state.Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.databases = databases{client, store, db, lease}
}

// setComponents has the page show these components from now on.
func (a *adapter) setComponents(c components) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.components = c
}

func (a *adapter) setStopping() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopping = true
}

// now are the databases and components of this moment.
func (a *adapter) now() (databases, components) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.databases, a.components
}

// ping asks the primary, which all reads and writes go to.
func (a *adapter) ping(ctx context.Context) error {
	db, _ := a.now()
	if db.client == nil {
		return errNotConnected
	}
	return db.client.Ping(ctx, readpref.Primary())
}

// Bounds of what others can read of what is held, in holds and in bytes of a reason: it is written each time that the
// lease is renewed.
const (
	maxReportedHolds = 100
	maxReason        = 500
)

// leaseReport is what other processes can read of the work.
func (a *adapter) leaseReport() state.WorkerStatus {
	_, c := a.now()
	if c.uploader == nil {
		return state.WorkerStatus{Stream: watcher.StreamClosed.String()}
	}
	r := state.WorkerStatus{Stream: c.stream.State().String()}
	for i, h := range c.uploader.Held() {
		if i == maxReportedHolds {
			break
		}
		why := strings.ToValidUTF8(h.Why[:min(len(h.Why), maxReason)], "") // not cut within a character
		r.Holds = append(r.Holds, state.Hold{Kind: string(h.Kind), Name: h.Name, From: h.From, Hang: h.Hangs,
			What: h.Subject(), Why: why})
	}
	return r
}

func (a *adapter) snapshot() web.Snapshot {
	db, c := a.now()
	s := web.Snapshot{Idle: a.idle, Stopping: a.isStopping()}
	if db.client != nil {
		if lost := db.client.LostMajority(); lost != nil {
			s.Majority = lost.String()
		}
		s.Lease = db.lease.State()
	}
	if c.uploader != nil {
		s.Stream, s.Streams = c.stream.State(), c.stream.Counts()
		s.Queue = web.Queue{Live: c.queue.Len(watcher.Live), Backlog: c.queue.Len(watcher.Backlog),
			Delayed: c.queue.Delayed()}
		s.Uploader, s.Activity, s.Paused = c.uploader.Stats(), c.uploader.Activity(), c.uploader.Paused()
	}
	if c.poll != nil {
		s.Polling, s.Polls = true, c.poll.Counts()
	}
	if statser, ok := c.backend.(site.Statser); ok {
		s.Site = statser.Stats()
	}
	return s
}

func (a *adapter) isStopping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopping
}
