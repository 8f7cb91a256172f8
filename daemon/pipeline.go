package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/site/pacer"
	"sitesync/site/registry"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

const (
	// queueCapacity is how many keys wait in each lane of the queue, about 3 MB. The poll waits for room, so a larger
	// queue would only be larger.
	queueCapacity = 10_000

	// indexRetry is the wait after the indexes of the state database could not be created.
	indexRetry = time.Hour
)

// shared is what the pipelines of a daemon have in common.
type shared struct {
	cfg     *config.Config
	once    bool
	remote  config.Site
	store   *avalon.Store
	state   *state.Database
	adapter *adapter
	budget  *uploader.Budget
	pacer   *pacer.Pacer // of the remote site: its limits are those of the account
}

// pipeline serves one route while its lease is held: it watches the documents, and moves the files that are due.
type pipeline struct {
	*shared
	*route

	stats uploader.Stats // when it has ended
}

// run wires the components together, and waits for them until ctx ends or, once, until all that is pending is synced.
// When fenced ends, everything does at once, as another process may be at work.
func (p *pipeline) run(ctx, fenced context.Context) error {
	fence := p.lease.Check
	journal := &state.Journal{Database: p.state, Lease: p.lease}
	remote, err := registry.Open(ctx, p.remote, registry.Options{Connections: p.cfg.Transfers + 4, Journal: journal,
		Fence: fence, Pacer: p.pacer})
	if err != nil {
		return err
	}
	defer remote.Close()
	local, err := registry.Open(ctx, p.cfg.Active(), registry.Options{Fence: fence})
	if err != nil {
		return err
	}
	defer local.Close()
	source, target := local, remote
	if p.direction == config.Down {
		source, target = remote, local
	}
	if err := journal.Inherit(ctx); err != nil { // they expire later then
		p.log.Debug("cannot take over the claims of the last process", zap.Error(err))
	}
	paused, err := p.readPauses(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	cfg, log, rules := p.cfg, p.log, p.rules
	queue := watcher.NewQueue(queueCapacity)
	defer queue.Close()
	poll := watcher.NewPoller(p.store, rules, queue, log)
	poll.Interval = cfg.LoopDelay
	up := uploader.New(uploader.Options{Rules: rules, Direction: p.direction, Queue: queue, Store: p.store,
		SourceGracePeriod: cfg.SourceGracePeriod, Transfers: cfg.Transfers, Budget: p.budget,
		RecordProgress: cfg.RecordProgress, DrainTimeout: cfg.ShutdownTimeout * 7 / 10,
		FlushTimeout: cfg.ShutdownTimeout * 8 / 10, Source: source, Target: target, LocalRoot: cfg.LocalRoot,
		RemoteRoot: p.shared.remote.Root, Recorder: p.store.Recorder(rules.Route, fence), Poll: poll.Trigger,
		NothingDue: poll.NothingDue, Log: log,
		Synced: func(f uploader.SyncedFile) { p.adapter.Synced(f); poll.Recorded(f.Key) }})
	pausing := &pauseController{log: log, up: up, poll: poll}
	pausing.set(paused)
	poll.Skip = func(project string) bool { return up.Paused().Is(project) }
	stream := &watcher.Stream{Store: p.store, Route: rules.Route, Queue: queue, Poll: func() {}, Gap: func() {},
		Log: log}
	shown := components{queue: queue, stream: stream, uploader: up, remote: remote}
	if cfg.Poll && !p.once {
		shown.poll, stream.Poll, stream.Gap = poll, poll.Trigger, poll.TriggerAfterGap
		poll.StreamOpen = func() bool { return stream.State() == watcher.StreamOpen }
	}
	p.adapter.setComponents(p.direction, shown)
	defer p.adapter.setComponents(p.direction, components{})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { up.Run(ctx, fenced) })
	wg.Go(func() { p.pauses.Watch(ctx, paused, pausing.set) })
	wg.Go(func() { p.ensureStateIndexes(ctx, journal) })
	if cfg.Index {
		index := &watcher.IndexEnsurer{Store: p.store, Route: rules.Route, Interval: cfg.LoopDelay, Log: log}
		wg.Go(func() { index.Run(ctx) })
	}
	if p.once {
		err = p.drainAll(ctx, poll, up, pausing)
		cancel()
	} else {
		// Without regular polls there is one after a hold or a pause, as nothing else reports what that has left.
		poll.OnlyTriggered = !cfg.Poll
		wg.Go(func() { poll.Run(ctx) })
		if cfg.Stream {
			wg.Go(func() { stream.Run(ctx) })
		}
		<-ctx.Done()
		if fenced.Err() == nil {
			log.Info("stopping; running transfers may finish", zap.Duration("within", cfg.ShutdownTimeout))
		}
	}
	p.awaitShutdown(&wg)
	p.stats = up.Stats()
	return err
}

// ensureStateIndexes creates the indexes of the state database, for as long as it takes. All works without them, but
// what has expired stays.
func (p *pipeline) ensureStateIndexes(ctx context.Context, journal *state.Journal) {
	for err := journal.EnsureIndexes(ctx); err != nil && ctx.Err() == nil; err = journal.EnsureIndexes(ctx) {
		p.log.Warn("cannot create the expiry indexes of the state database; retrying", zap.Duration("in", indexRetry),
			zap.Error(err))
		select {
		case <-time.After(indexRetry):
		case <-ctx.Done():
		}
	}
}

// awaitShutdown waits for everything to end, but not for a call that hangs, such as a read from a storage that has
// gone.
func (p *pipeline) awaitShutdown(wg *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(p.cfg.ShutdownTimeout * 9 / 10):
		p.log.Warn("shutdown timed out; abandoning running transfers")
	}
}

// drainAll drains until no pause has ended meanwhile. The error says what was not synced.
func (p *pipeline) drainAll(ctx context.Context, poll *watcher.Poller, up *uploader.Uploader,
	pausing *pauseController) error {
	for {
		if err := drain(ctx, poll, up); err != nil {
			return err
		}
		if paused, ended := pausing.state(); !ended {
			return p.leftPaused(ctx, paused)
		}
	}
}

// drainInterval is how often it is checked whether all is done.
const drainInterval = 20 * time.Millisecond

// drain polls once and waits until all that was found is synced or given up.
func drain(ctx context.Context, poll *watcher.Poller, up *uploader.Uploader) error {
	ctx, cancel := context.WithCancel(ctx)
	polled := make(chan error, 1)
	go func() { polled <- poll.Once(ctx) }()
	defer func() {
		cancel()
		<-polled
	}()
	tick := time.NewTicker(drainInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("interrupted before everything was synced")
		case <-tick.C:
		}
		if err := up.SiteHeld(); err != nil {
			return fmt.Errorf("the site is held: %w", err)
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
			return left(up.Stats())
		default:
		}
	}
}

// pauseController passes pauses on to the components of a pipeline.
type pauseController struct {
	log  *zap.Logger
	up   *uploader.Uploader
	poll *watcher.Poller

	mu    sync.Mutex
	last  []state.Pause
	ended bool // a pause has, since state was called
}

// set pauses what is listed and resumes all else. What a pause has left alone is found by a poll.
func (p *pauseController) set(list []state.Pause) {
	now := uploader.Paused{Projects: map[string]bool{}}
	for _, pause := range list {
		if pause.Project == "" {
			now.Site = true
		} else {
			now.Projects[pause.Project] = true
		}
		if !slices.Contains(p.last, pause) {
			p.log.Warn("paused: running "+p.up.Direction.Noun()+"s finish, no other begins until it is resumed",
				pauseFields(pause)...)
		}
	}
	for _, pause := range p.last {
		if !slices.ContainsFunc(list, func(other state.Pause) bool { return other.Project == pause.Project }) {
			p.log.Info("resumed", pauseFields(pause)...)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = list
	if p.up.Pause(now) {
		p.ended = true
		p.poll.Restart()
	}
}

// state is what is paused, and whether a pause has ended since it was last called.
func (p *pauseController) state() (now uploader.Paused, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended, p.ended = p.ended, false
	return p.up.Paused(), ended
}

func pauseFields(p state.Pause) []zap.Field {
	what := zap.String("paused", "site")
	if p.Project != "" {
		what = zap.String("project", p.Project)
	}
	return []zap.Field{what, zap.String("by", p.By), zap.Time("since", p.Since), zap.String("why", p.Why)}
}

// pausesRetry is the wait after the pauses could not be read.
const pausesRetry = time.Second

// readPauses reads what is paused, and retries for ever: nothing of that may be begun. A run that ends by itself does
// not wait for the database.
func (p *pipeline) readPauses(ctx context.Context) ([]state.Pause, error) {
	for logged := false; ; logged = true {
		list, err := p.pauses.List(ctx)
		if err == nil || p.once {
			return list, err
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if !logged {
			p.log.Warn("cannot read the pauses; syncing waits until it can", zap.Error(err))
		}
		select {
		case <-time.After(pausesRetry):
		case <-ctx.Done():
		}
	}
}

// left returns an error if not everything was synced that was found.
func left(s uploader.Stats) error {
	var parts []string
	for _, part := range []struct {
		n    int64
		what string
	}{{s.FailedFiles, "file"}, {s.InvalidDocs, "invalid document"}, {s.Deferred, "held file"}} {
		if part.n > 0 {
			parts = append(parts, explain.Plural(part.n, part.what))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("not synced: %s; see above", strings.Join(parts, ", "))
}

// leftPaused returns an error if not everything was synced, as it is paused.
func (p *pipeline) leftPaused(ctx context.Context, paused uploader.Paused) error {
	if paused.Site {
		return errors.New("the site is paused, so not everything is synced; sitesync resume ends that")
	}
	for _, project := range slices.Sorted(maps.Keys(paused.Projects)) {
		for _, err := range p.store.Pending(ctx, project, p.rules) {
			if err != nil {
				return err
			}
			return fmt.Errorf("project %s is paused, and has files that are pending; sitesync resume %s ends that",
				explain.ShellQuote(project), explain.ShellQuote(project))
		}
	}
	return nil
}

// Rules are the rules of the route in a direction, which is Up or Down.
func Rules(cfg *config.Config, d config.Direction) avalon.Rules {
	route := avalon.Route{From: cfg.ActiveSite, To: cfg.RemoteSite}
	if d == config.Down {
		route.From, route.To = route.To, route.From
	}
	return avalon.Rules{Route: route, RetryCount: cfg.RetryCount,
		Backoff: avalon.ExponentialBackoff(cfg.RetryDelay, cfg.MaxRetryDelay)}
}

// NewExplainer returns an explainer that looks where the daemon would look, and changes nothing.
func NewExplainer(cfg *config.Config, store *avalon.Store, db *state.Database) *explain.Explainer {
	return &explain.Explainer{Config: cfg, Store: store, State: db,
		Rules: func(d config.Direction) avalon.Rules { return Rules(cfg, d) },
		OpenRemote: func(ctx context.Context) (site.Storage, error) {
			remote, _ := cfg.Remote()
			return registry.Open(ctx, remote, registry.Options{})
		}, OpenLocal: func() site.Storage { return InspectionStorage(cfg) }}
}

// InspectionStorage is the storage of this machine to be looked at: it waits once for one that hangs.
func InspectionStorage(cfg *config.Config) site.Storage {
	return registry.Local(cfg.Active(), registry.Options{Timeout: uploader.InspectionTimeout, AvoidStalled: true})
}
