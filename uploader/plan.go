package uploader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
)

// rules decide which files of a representation are due.
type rules struct {
	activeSite, remoteSite string
	retryCount             int
	backoff                Backoff
}

// plan is what is to be done about a representation.
type plan struct {
	due      []avalon.File
	next     time.Duration // when to look again, as a file backs off; 0 if there is no need
	problems []string      // files that can't be worked with, each with its reason
}

// plan decides, file by file. A file is due if the remote site waits for it, the active site has it, there
// are tries left, and the wait after the last failed one is over.
func (r rules) plan(rep *avalon.Representation, now time.Time) plan {
	var p plan
	planned := map[avalon.FileKey]bool{}
	for i, f := range rep.Files {
		remote, wanted := f.On(r.remoteSite)
		if f.Problem != "" && (wanted && !remote.Created || len(f.Sites) == 0) {
			p.problems = append(p.problems, problem(i, f.Problem))
			continue
		}
		if !wanted || remote.Created || remote.Tries >= r.retryCount || planned[f.Key()] {
			continue
		}
		if remote.Problem != "" {
			p.problems = append(p.problems, problem(i, remote.Problem))
			continue
		}
		if active, ok := f.On(r.activeSite); !ok || !active.Created {
			continue // not a source
		}
		if remote.Tries > 0 && !remote.LastFailed.IsZero() {
			// A clock that is behind the one which wrote the date must not make the wait longer than it is.
			full := r.backoff.After(remote.Tries)
			if wait := min(remote.LastFailed.Add(full).Sub(now), full); wait > 0 {
				if p.next == 0 || wait < p.next {
					p.next = wait
				}
				continue
			}
		}
		planned[f.Key()] = true
		p.due = append(p.due, f)
	}
	return p
}

func problem(i int, reason string) string { return fmt.Sprintf("files[%d]: %s", i, reason) }

// plan reads a representation as it stands now and schedules what is due.
func (u *Uploader) plan(ctx context.Context, item watcher.Item) {
	j := u.schedule.begin(item)
	rep, err := u.Store.Representation(ctx, item.Key)
	var p plan
	var roots avalon.Roots
	var malformed *avalon.MalformedError
	switch {
	case ctx.Err() != nil:
	case err == nil:
		u.reading.saw(nil)
		p, roots = u.rules.plan(rep, time.Now()), rep.Roots
		if len(p.due) > 0 && len(roots) == 0 && u.LocalRoot.IsZero() {
			p.problems = append(p.problems, "its context.root is neither a path nor a dict of paths, and there is no local_root")
			p.due = nil
		}
		if refused := u.refusals.of(item.Key, item.Lane == watcher.Live); refused != nil {
			p.problems = append(p.problems, refused.Error())
			p.due = slices.DeleteFunc(p.due, func(f avalon.File) bool { return refused.Files[f.Key()] != nil })
		}
		u.reports.replace(item.Key, p.problems...)
		u.waits.keep(item.Key, p.due)
	case errors.As(err, &malformed):
		u.reports.replace(item.Key, malformed.Error())
		u.waits.keep(item.Key, nil)
	case errors.Is(err, avalon.ErrGone):
		u.reports.replace(item.Key)
		u.waits.keep(item.Key, nil)
	default:
		u.reading.saw(err)
		p.next = jitter(time.Second)
	}
	u.schedule.end(j, roots, p.due, p.next)
}
