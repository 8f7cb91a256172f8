package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitesync/avalon"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/web"
)

var (
	_ web.Source  = (*adapter)(nil)
	_ web.Actions = (*adapter)(nil)
)

var errNotConnected = errors.New("not connected yet")

// open returns the databases. The error says that they are not connected to yet.
func (a *adapter) open() (databases, error) {
	db, _ := a.now()
	if db.store == nil {
		return db, errNotConnected
	}
	return db, nil
}

// Synced takes note of a file that was synced.
func (a *adapter) Synced(f uploader.SyncedFile) {
	a.Server.Synced(web.SyncedFile{File: fileOf(f.Key, f.Path, f.Bytes), Upload: f.Upload, Reaction: f.Reaction})
}

func fileOf(key avalon.Key, path string, size int64) web.File {
	return web.File{Project: key.Project, ID: key.ID, Path: path, Size: size}
}

// Activity is what the uploader does.
func (a *adapter) Activity() (out web.Activity) {
	_, c := a.now()
	up := c.uploader
	if up == nil {
		return out
	}
	now := up.Activity()
	out.Live, out.Backlog, out.Away = now.Live, now.Backlog, now.Away
	for _, t := range now.Transfers {
		out.Transfers = append(out.Transfers, web.Transfer{File: fileOf(t.Key, t.Path, t.Size), Number: t.ID, Sent: t.Sent, Began: t.Began})
	}
	for _, w := range now.Waiting {
		what := "its source"
		switch {
		case w.Failed:
			what = "the next try"
		case w.Away:
			what = a.cfg.RemoteSite
		}
		out.Waiting = append(out.Waiting, web.Waiting{File: fileOf(w.Key, w.Path, w.Size), What: what, Why: w.Why, Until: w.Until})
	}
	for _, h := range now.Held {
		out.Held = append(out.Held, web.Held{What: h.What, Why: h.Why, Since: h.Since, Next: h.Next})
	}
	return out
}

func (a *adapter) pauses(db *state.Database) *state.Pauses {
	return db.Pauses(state.LeaseName(a.cfg.Mongo.Database, a.cfg.RemoteSite))
}

// Paused is what people have paused.
func (a *adapter) Paused(ctx context.Context) (pauses []web.Pause, err error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	list, err := a.pauses(db.state).List(ctx)
	for _, p := range list {
		pauses = append(pauses, web.Pause{Project: p.Project, By: p.By, Why: p.Why, Since: p.Since})
	}
	return pauses, err
}

// Projects are the names of the projects.
func (a *adapter) Projects(ctx context.Context) (names []string, err error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	listed, err := db.store.Projects(ctx)
	for _, p := range listed {
		names = append(names, p.Name)
	}
	return names, err
}

// Count counts the files of a project.
func (a *adapter) Count(ctx context.Context, project string) (web.Counts, error) {
	db, err := a.open()
	if err != nil {
		return web.Counts{}, err
	}
	t, err := db.store.Tally(ctx, project, Rules(a.cfg), time.Now())
	return web.Counts{Pending: web.Count(t.Pending), Waiting: web.Count(t.Waiting), Paused: web.Count(t.Paused), Failed: web.Count(t.Failed), Synced: web.Count(t.Synced),
		Absent: web.Count(t.Absent), Unusable: web.Count(t.Unusable), Oldest: t.Oldest}, err
}

// Failed are files that have no tries left.
func (a *adapter) Failed(ctx context.Context, project string, most int) (list []web.FailedFile, err error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	failed, err := db.store.Failed(ctx, project, Rules(a.cfg), most)
	for _, f := range failed {
		list = append(list, web.FailedFile{File: fileOf(f.Key, f.Path, avalon.UnknownSize), Tries: f.Tries, Error: f.Error, LastFailed: f.LastFailed})
	}
	return list, err
}

// Room asks Drive how much space is left. A standby leaves that to who works.
func (a *adapter) Room(ctx context.Context) (web.Room, error) {
	_, c := a.now()
	quotaer, ok := c.backend.(site.Quotaer)
	if !ok {
		return web.Room{}, errors.New("this process is not the active one, or the site has no quota")
	}
	quota, err := quotaer.Quota(ctx)
	return web.Room(quota), err
}

// Explain says why a representation is synced or not.
func (a *adapter) Explain(ctx context.Context, project, id string) (*web.Explanation, error) {
	db, err := a.open()
	if err != nil {
		return nil, err
	}
	r, err := NewExplainer(a.cfg, db.store, db.state).Explain(ctx, project, id)
	var unknown *explain.NotFoundError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("%w: %w", web.ErrUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	e := &web.Explanation{Name: r.Name, Files: r.Files, Level: levels[r.Verdict], Do: r.Do, Steps: stepsOf(r.Steps)}
	if r.Published != nil {
		e.Published = *r.Published
	}
	for _, g := range r.Groups {
		f := g.Example
		group := web.FileGroup{Files: g.Files, Bytes: g.Bytes, First: f.Path, Last: g.Last, Level: levels[g.Verdict], State: string(f.State),
			Do: g.Do, Steps: stepsOf(f.Steps)}
		detail := func(name, text string) {
			if text != "" {
				group.Details = append(group.Details, web.Detail{Name: name, Text: text})
			}
		}
		detail("Read from", f.Source)
		detail("Goes to", f.Remote)
		detail("Id on "+r.RemoteSite, f.RemoteID)
		e.Groups = append(e.Groups, group)
	}
	return e, nil
}

var levels = map[explain.Verdict]web.Level{explain.OK: web.Good, explain.Waiting: web.Busy, explain.Unknown: web.Notice, explain.Wrong: web.Bad}

func stepsOf(steps []explain.Step) (out []web.Step) {
	for _, s := range steps {
		out = append(out, web.Step{Level: levels[s.Verdict], Rule: s.Rule, Found: s.Detail, Mend: s.Mend})
	}
	return out
}

// Retry takes failed files back to pending: of a project those without tries left, of a representation also those that
// wait for their next try, as somebody points at it.
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
