package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

// pausing passes pauses on to those who work.
type pausing struct {
	log  *zap.Logger
	up   *uploader.Uploader
	poll *watcher.Poll

	mu    sync.Mutex
	last  []state.Pause
	ended bool // a pause has, since left was asked
}

// set says what is paused from now on. What a pause has left alone is found by a poll.
func (p *pausing) set(list []state.Pause) {
	now := uploader.Paused{Projects: map[string]bool{}}
	for _, pause := range list {
		if pause.Project == "" {
			now.Site = true
		} else {
			now.Projects[pause.Project] = true
		}
		if !slices.Contains(p.last, pause) {
			p.log.Warn("paused: running uploads finish, no other begins until it is resumed", about(pause)...)
		}
	}
	for _, pause := range p.last {
		if !slices.ContainsFunc(list, func(other state.Pause) bool { return other.Project == pause.Project }) {
			p.log.Info("resumed", about(pause)...)
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

// left tells what is paused, and whether a pause has ended since it was last asked.
func (p *pausing) left() (now uploader.Paused, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended, p.ended = p.ended, false
	return p.up.Paused(), ended
}

func about(p state.Pause) []zap.Field {
	what := zap.String("paused", "site")
	if p.Project != "" {
		what = zap.String("project", p.Project)
	}
	return []zap.Field{what, zap.String("by", p.By), zap.Time("since", p.Since), zap.String("why", p.Why)}
}

// paused reads what is paused, for as long as it takes: what is must not be begun. A run that ends by itself does not
// wait for the database.
func (d *daemon) paused(ctx context.Context) ([]state.Pause, error) {
	for told := false; ; told = true {
		list, err := d.pauses.List(ctx)
		if err == nil || d.once {
			return list, err
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if !told {
			d.log.Warn("it can't be told what is paused; nothing is synced meanwhile", zap.Error(err))
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// leftPaused tells that not everything was synced, as it is paused.
func (d *daemon) leftPaused(ctx context.Context, p uploader.Paused) error {
	if p.Site {
		return errors.New("the site is paused, so not everything is synced; sitesync resume ends that")
	}
	for _, project := range slices.Sorted(maps.Keys(p.Projects)) {
		for _, err := range d.store.Pending(ctx, project, pendingRules(d.cfg)) {
			if err != nil {
				return err
			}
			return fmt.Errorf("project %s is paused, and has files that are pending; sitesync %s ends that", printable(project), resumeOf(project))
		}
	}
	return nil
}
