package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/explain"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

// pauseController passes pauses on to the components of a pipeline.
type pauseController struct {
	log  *zap.Logger
	up   *uploader.Uploader
	poll *watcher.Poll

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
			p.log.Warn("paused: running uploads finish, no other begins until it is resumed", pauseFields(pause)...)
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
		p.poll.Anew()
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

// leftPaused returns an error if not everything was synced, as it is paused.
func (p *pipeline) leftPaused(ctx context.Context, paused uploader.Paused) error {
	if paused.Site {
		return errors.New("the site is paused, so not everything is synced; sitesync resume ends that")
	}
	for _, project := range slices.Sorted(maps.Keys(paused.Projects)) {
		for _, err := range p.store.Pending(ctx, project, Rules(p.cfg)) {
			if err != nil {
				return err
			}
			return fmt.Errorf("project %s is paused, and has files that are pending; sitesync resume %s ends that",
				explain.ShellQuote(project),
				explain.ShellQuote(project))
		}
	}
	return nil
}
