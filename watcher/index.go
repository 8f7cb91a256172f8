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

// slowIndex is after how long it is told that an index is still not there.
const slowIndex = 30 * time.Second

// Index creates the indexes that the poll needs, in projects that have none. It is no part of the poll, which works
// without, as MongoDB may take long: it reads all documents, and waits for every member of the replica set.
type Index struct {
	Store    *avalon.Store
	Route    avalon.Route
	Interval time.Duration // from one look for projects without to the next
	Log      *zap.Logger

	made   map[avalon.Project]bool
	failed bool // it was told that one can't be created
}

// Run works until ctx ends.
func (x *Index) Run(ctx context.Context) {
	for {
		x.Once(ctx)
		select {
		case <-time.After(x.Interval):
		case <-ctx.Done():
			return
		}
	}
}

// Once looks at every project. What can't be done is logged, once, since what keeps an index from being made in one
// project will do so in all.
func (x *Index) Once(ctx context.Context) {
	projects, err := x.Store.Projects(ctx)
	if err != nil {
		x.Log.Debug("projects can't be listed for their indexes", zap.Error(err)) // the poll tells of it
		return
	}
	if x.made == nil {
		x.made = map[avalon.Project]bool{}
	}
	maps.DeleteFunc(x.made, func(p avalon.Project, _ bool) bool { return !slices.Contains(projects, p) })
	for _, p := range projects {
		if x.made[p] {
			continue
		}
		slow := time.AfterFunc(slowIndex, func() {
			x.Log.Warn("the index for the poll is still being created; polls work without, but slower",
				zap.String("project", p.Name), zap.Duration("for", slowIndex))
		})
		err := x.Store.EnsureIndex(ctx, p, x.Route)
		slow.Stop()
		switch {
		case err == nil:
			x.made[p], x.failed = true, false
		case errors.Is(err, avalon.ErrNotFound), ctx.Err() != nil, x.failed:
		default:
			x.failed = true
			x.Log.Warn("no index for the poll, which will be slow in large projects; let the user create indexes, or create "+
				"it by hand and run with --no-index", zap.String("project", p.Name), zap.Error(err))
		}
	}
}
