package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitesync/avalon"
	"sitesync/explain"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/web"
)

// databases are what the page reads and changes. They are nil before they are connected to.
type databases struct {
	store *avalon.Store
	state *state.Database
}

var (
	_ web.Source  = (*monitor)(nil)
	_ web.Actions = (*monitor)(nil)
)

var errNotConnected = errors.New("not connected yet")

// opened has the page show what is in these databases.
func (m *monitor) opened(store *avalon.Store, db *state.Database) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.databases = databases{store, db}
}

func (m *monitor) open() (databases, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.databases.store == nil {
		return databases{}, errNotConnected
	}
	return m.databases, nil
}

// Synced takes note of a file that was synced.
func (m *monitor) Synced(f uploader.SyncedFile) {
	m.Server.Synced(web.SyncedFile{File: fileOf(f.Key, f.Path, f.Bytes), Upload: f.Upload, Reaction: f.Reaction})
}

func fileOf(key avalon.Key, path string, size int64) web.File {
	return web.File{Project: key.Project, ID: key.ID, Path: path, Size: size}
}

// Activity is what the uploader does.
func (m *monitor) Activity() (a web.Activity) {
	up := m.watched().uploader
	if up == nil {
		return a
	}
	now := up.Activity()
	a.Live, a.Backlog, a.Away = now.Live, now.Backlog, now.Away
	for _, t := range now.Transfers {
		a.Transfers = append(a.Transfers, web.Transfer{File: fileOf(t.Key, t.Path, t.Size), Number: t.ID, Sent: t.Sent, Began: t.Began})
	}
	for _, w := range now.Waiting {
		what := "its source"
		switch {
		case w.Failed:
			what = "the next try"
		case w.Away:
			what = m.cfg.RemoteSite
		}
		a.Waiting = append(a.Waiting, web.Waiting{File: fileOf(w.Key, w.Path, w.Size), What: what, Why: w.Why, Until: w.Until})
	}
	for _, h := range now.Held {
		a.Held = append(a.Held, web.Held{What: h.What, Why: h.Why, Since: h.Since, Next: h.Next})
	}
	return a
}

func (m *monitor) pauses(db *state.Database) *state.Pauses {
	return db.Pauses(state.LeaseName(m.cfg.Mongo.Database, m.cfg.RemoteSite))
}

// Paused is what people have paused.
func (m *monitor) Paused(ctx context.Context) (pauses []web.Pause, err error) {
	db, err := m.open()
	if err != nil {
		return nil, err
	}
	list, err := m.pauses(db.state).List(ctx)
	for _, p := range list {
		pauses = append(pauses, web.Pause{Project: p.Project, By: p.By, Why: p.Why, Since: p.Since})
	}
	return pauses, err
}

// Projects are the names of the projects.
func (m *monitor) Projects(ctx context.Context) (names []string, err error) {
	db, err := m.open()
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
func (m *monitor) Count(ctx context.Context, project string) (web.Counts, error) {
	db, err := m.open()
	if err != nil {
		return web.Counts{}, err
	}
	t, err := db.store.Tally(ctx, project, tallyRules(m.cfg), time.Now())
	return web.Counts{Pending: web.Count(t.Pending), Waiting: web.Count(t.Waiting), Paused: web.Count(t.Paused), Failed: web.Count(t.Failed), Synced: web.Count(t.Synced),
		Absent: web.Count(t.Absent), Unusable: web.Count(t.Unusable), Oldest: t.Oldest}, err
}

// Failed are files that have no tries left.
func (m *monitor) Failed(ctx context.Context, project string, most int) (list []web.FailedFile, err error) {
	db, err := m.open()
	if err != nil {
		return nil, err
	}
	failed, err := db.store.Failed(ctx, project, tallyRules(m.cfg), most)
	for _, f := range failed {
		list = append(list, web.FailedFile{File: fileOf(f.Key, f.Path, avalon.UnknownSize), Tries: f.Tries, Error: f.Error, LastFailed: f.LastFailed})
	}
	return list, err
}

// Room asks Drive how much space is left. A standby leaves that to who works.
func (m *monitor) Room(ctx context.Context) (web.Room, error) {
	drive := m.watched().drive
	if drive == nil {
		return web.Room{}, errors.New("nothing works yet")
	}
	room, err := drive.Room(ctx)
	return web.Room(room), err
}

// Explain says why a representation is synced or not.
func (m *monitor) Explain(ctx context.Context, project, id string) (*web.Explanation, error) {
	db, err := m.open()
	if err != nil {
		return nil, err
	}
	r, err := newExplainer(m.cfg, db.store, db.state).Explain(ctx, project, id)
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
func (m *monitor) Retry(ctx context.Context, project, id string) (int64, error) {
	db, err := m.open()
	if err != nil {
		return 0, err
	}
	r := avalon.Retry{Site: m.cfg.RemoteSite, MinTries: m.cfg.RetryCount}
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
func (m *monitor) Pause(ctx context.Context, project, by string) error {
	db, err := m.open()
	if err != nil {
		return err
	}
	return m.pauses(db.state).Set(ctx, state.Pause{Project: project, By: by, Since: time.Now()})
}

// Resume ends a pause.
func (m *monitor) Resume(ctx context.Context, project string) error {
	db, err := m.open()
	if err != nil {
		return err
	}
	_, err = m.pauses(db.state).Clear(ctx, project)
	return err
}
