package watcher

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"sitesync/avalon"
)

// slowIndex is the time after which an index that is still being created is logged.
const slowIndex = 30 * time.Second

// IndexEnsurer creates the indexes that polls use, in projects without. Polls do not wait for it, as MongoDB may take
// long: it reads all documents, and waits for every member of the replica set.
type IndexEnsurer struct {
	Store    *avalon.Store
	Route    avalon.Route
	Interval time.Duration // between looks for new projects
	Log      *zap.Logger

	done   map[avalon.Project]bool
	failed bool // this was logged
}

// Run works until ctx ends.
func (x *IndexEnsurer) Run(ctx context.Context) {
	for {
		x.Once(ctx)
		select {
		case <-time.After(x.Interval):
		case <-ctx.Done():
			return
		}
	}
}

// Once ensures the indexes of every project. A failure is logged once, since its cause is the same in all projects.
func (x *IndexEnsurer) Once(ctx context.Context) {
	projects, err := x.Store.Projects(ctx)
	if err != nil {
		x.Log.Debug("cannot list the projects for their indexes", zap.Error(err)) // polls log it as a warning
		return
	}
	if x.done == nil {
		x.done = map[avalon.Project]bool{}
	}
	maps.DeleteFunc(x.done, func(p avalon.Project, _ bool) bool { return !slices.Contains(projects, p) })
	for _, p := range projects {
		if x.done[p] {
			continue
		}
		slow := time.AfterFunc(slowIndex, func() {
			x.Log.Warn("the index for polls is still being created; until then, polls are slower",
				zap.String("project", p.Name), zap.Duration("for", slowIndex))
		})
		err := x.Store.EnsureIndex(ctx, p, x.Route)
		slow.Stop()
		switch {
		case err == nil:
			x.done[p], x.failed = true, false
		case errors.Is(err, avalon.ErrNotFound), ctx.Err() != nil, x.failed:
		default:
			x.failed = true
			x.Log.Warn("cannot create the index for polls, which will be slow in large projects; allow the user to "+
				"create indexes, or create it by hand and run with --no-index", zap.String("project",
				p.Name), zap.Error(err))
		}
	}
}
