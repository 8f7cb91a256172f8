package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.uber.org/zap"

	"sitesync/config"
	"sitesync/site/gdrive"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
	"sitesync/web"
)

// monitor serves the page, health and metrics of what runs.
type monitor struct {
	*web.Server
	ctx  context.Context // of run
	idle bool

	cfg *config.Config

	mu        sync.Mutex
	parts     parts
	databases databases
}

// parts are what a monitor looks at. What is nil is not there yet.
type parts struct {
	client   *mongo.Client
	servers  *servers
	lease    func() state.LeaseState
	queue    *watcher.Queue
	stream   *watcher.Stream
	poll     *watcher.Poll // nil, too, if it is not used
	uploader *uploader.Uploader
	drive    *gdrive.Site
}

// newMonitor returns a monitor that serves nothing before it is started.
func newMonitor(ctx context.Context, cfg *config.Config, log *zap.Logger) *monitor {
	_, works := cfg.Remote()
	m := &monitor{ctx: ctx, idle: !works, cfg: cfg}
	host, _ := os.Hostname() // for people only
	o := web.Options{Listen: cfg.Listen, Pprof: cfg.Pprof, Snapshot: m.snapshot, Ping: m.ping, Log: log,
		About: web.About{ActiveSite: cfg.ActiveSite, RemoteSite: cfg.RemoteSite, Host: host, Version: thisBuild().Version},
		Token: cfg.WebToken.Reveal()}
	if works {
		o.Source, o.Actions = m, m
	}
	m.Server = web.New(o)
	return m
}

// watch has the monitor look at these parts from now on.
func (m *monitor) watch(p parts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts = p
}

func (m *monitor) watched() parts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parts
}

// ping asks the primary, which all reads and writes go to.
func (m *monitor) ping(ctx context.Context) error {
	client := m.watched().client
	if client == nil {
		return errors.New("not connected yet")
	}
	return client.Ping(ctx, readpref.Primary())
}

func (m *monitor) snapshot() web.Snapshot {
	p := m.watched()
	s := web.Snapshot{Idle: m.idle, Stopping: m.ctx.Err() != nil}
	if p.servers != nil {
		if lost := p.servers.lost(); lost != nil {
			s.Majority = lost.String()
		}
	}
	if p.lease != nil {
		now := p.lease()
		s.Lease = web.Lease{Held: now.Held, Standby: !now.Held && now.Holder != nil}
		if now.Holder != nil {
			s.Lease.Host, s.Lease.PID, s.Lease.Since = now.Holder.Host, now.Holder.PID, now.Holder.Since
		}
	}
	if p.queue != nil {
		s.Queue = web.Queue{Live: p.queue.Len(watcher.Live), Backlog: p.queue.Len(watcher.Backlog), Delayed: p.queue.Delayed()}
	}
	if p.stream != nil {
		c := p.stream.Counts()
		s.Watcher.Stream, s.Watcher.Opened, s.Watcher.Lost = p.stream.State().String(), c.Opened, map[string]int64{}
		for reason, n := range c.Lost {
			s.Watcher.Lost[string(reason)] = n
		}
	}
	if p.poll != nil {
		c := p.poll.Counts()
		s.Watcher.Polls, s.Watcher.PollFailing = true, c.Failing
		s.Watcher.PollRuns, s.Watcher.PollFailures, s.Watcher.PollSucceeded = c.Runs, c.Failures, c.Success
	}
	if p.uploader != nil {
		c := p.uploader.Counts()
		s.Uploader = web.Uploader{Files: c.Files, Bytes: c.Bytes, FailedTries: c.FailedTries, GivenUp: c.GivenUp,
			Documents: c.Documents, Transfers: c.Transfers, HungCalls: c.HungCalls, Holding: web.Holds(c.Holding), Holds: web.Holds(c.Holds)}
		for _, h := range p.uploader.Held() {
			s.Uploader.Held = append(s.Uploader.Held, h.What)
		}
		paused := p.uploader.Paused()
		s.Paused = web.Paused{Site: paused.Site, Projects: len(paused.Projects)}
	}
	if p.drive != nil {
		c := p.drive.Counts()
		s.Drive = web.Drive{Requests: map[web.Request]int64{}, Throttled: c.Throttled, Limit: c.Limit}
		for r, n := range c.Requests {
			s.Drive.Requests[web.Request(r)] = n
		}
	}
	return s
}
