package daemon

import (
	"context"
	"errors"
	"time"

	"sitesync/avalon"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
	"sitesync/web"
)

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

func (a *adapter) pauses(db *state.Database) *state.Pauses {
	return db.Pauses(state.LeaseName(a.cfg.Mongo.Database, a.cfg.RemoteSite))
}

// Pauses returns what people have paused.
func (a *adapter) Pauses(ctx context.Context) ([]state.Pause, error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	return a.pauses(db.state).List(ctx)
}

// Projects returns the projects.
func (a *adapter) Projects(ctx context.Context) ([]avalon.Project, error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	return db.store.Projects(ctx)
}

// Count counts the files of a project.
func (a *adapter) Count(ctx context.Context, project string) (avalon.Stats, error) {
	db, err := a.open()
	if err != nil {
		return avalon.Stats{}, err
	}
	return db.store.Stats(ctx, project, Rules(a.cfg), time.Now())
}

// Failed returns files that have no tries left.
func (a *adapter) Failed(ctx context.Context, project string, limit int) ([]avalon.FailedFile, error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	return db.store.Failed(ctx, project, Rules(a.cfg), limit)
}

// Quota asks the remote site how much space is left; only the active process does.
func (a *adapter) Quota(ctx context.Context) (site.Quota, error) {
	quotaer, ok := a.now().backend.(site.Quotaer)
	if !ok {
		return site.Quota{}, errors.New("this process is not the active one, or the site has no quota")
	}
	return quotaer.Quota(ctx)
}

// Explain says why a representation is synced or not.
func (a *adapter) Explain(ctx context.Context, project, id string) (*explain.Report, error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	return NewExplainer(a.cfg, db.store, db.state).Explain(ctx, project, id)
}

// Retry makes failed files pending again: of a project those without tries left, of a representation also those that
// wait for their next try.
func (a *adapter) Retry(ctx context.Context, project, id string) (int64, error) {
	db, err := a.open()
	if err != nil {
		return 0, err
	}
	r := avalon.Retry{Site: a.cfg.RemoteSite, MinTries: a.cfg.RetryCount}
	if id != "" {
		key, _, err := db.store.Find(ctx, project, id)
		if key.ID.IsZero() {
			return 0, err
		}
		r.MinTries, r.Representations = 1, []avalon.ID{key.ID}
	}
	edited, err := db.store.Retry(ctx, project, r)
	return edited.Files, err
}

// Pause pauses a project, or all if it is "".
func (a *adapter) Pause(ctx context.Context, project, by string) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	return a.pauses(db.state).Set(ctx, state.Pause{Project: project, By: by, Since: time.Now()})
}

// Resume ends a pause.
func (a *adapter) Resume(ctx context.Context, project string) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	_, err = a.pauses(db.state).Clear(ctx, project)
	return err
}
