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

// Rules decide which files of a representation are due.
type Rules struct {
	ActiveSite, RemoteSite string
	RetryCount             int // failed tries after which a file is left alone
	Backoff                Backoff
}

// Standing is what the rules say of one file.
type Standing int

// The standings, in the order in which the rules ask.
const (
	Unusable   Standing = iota // its entry or its record can't be worked with
	Unwanted                   // it has no record of the remote site
	Synced                     // it is on the remote site
	FilePaused                 // its record is paused
	GivenUp                    // it has no tries left
	Absent                     // the active site does not have it, so there is nothing to upload
	Resting                    // it waits for its next try
	Due                        // it is uploaded now or next
)

// Ruling is what the rules say of one file, and why.
type Ruling struct {
	Standing Standing
	Problem  string        // of an unusable one
	Wait     time.Duration // of a resting one
}

// Of decides on one file. It is due if the remote site waits for it, its record is not paused, the active site has it,
// there are tries left, and the wait after the last failed one is over.
func (r Rules) Of(f *avalon.File, now time.Time) Ruling {
	remote, wanted := f.On(r.RemoteSite)
	switch active, ok := f.On(r.ActiveSite); {
	case f.Problem != "" && (wanted && !remote.Created || len(f.Sites) == 0):
		return Ruling{Standing: Unusable, Problem: f.Problem}
	case !wanted:
		return Ruling{Standing: Unwanted}
	case remote.Created:
		return Ruling{Standing: Synced}
	case remote.Paused:
		return Ruling{Standing: FilePaused}
	case remote.Tries >= r.RetryCount:
		return Ruling{Standing: GivenUp}
	case remote.Problem != "":
		return Ruling{Standing: Unusable, Problem: remote.Problem}
	case !ok || !active.Created:
		return Ruling{Standing: Absent}
	}
	if remote.Tries > 0 && !remote.LastFailed.IsZero() {
		// A clock that is behind the one which wrote the date must not make the wait longer than it is.
		full := r.Backoff.After(remote.Tries)
		if wait := min(remote.LastFailed.Add(full).Sub(now), full); wait > 0 {
			return Ruling{Standing: Resting, Wait: wait}
		}
	}
	return Ruling{Standing: Due}
}

// plan is what is to be done about a representation.
type plan struct {
	due      []avalon.File
	next     time.Duration // when to look again, as a file backs off; 0 if there is no need
	problems []string      // files that can't be worked with, each with its reason
}

// plan decides, file by file.
func (r Rules) plan(rep *avalon.Representation, now time.Time) plan {
	var p plan
	planned := map[avalon.FileKey]bool{}
	for i, f := range rep.Files {
		switch ruling := r.Of(&f, now); ruling.Standing {
		case Unusable:
			p.problems = append(p.problems, problem(i, ruling.Problem))
		case Resting:
			if p.next == 0 || ruling.Wait < p.next {
				p.next = ruling.Wait
			}
		case Due:
			if !planned[f.Key()] {
				planned[f.Key()] = true
				p.due = append(p.due, f)
			}
		}
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
	idle := false // it can be left alone until it changes
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
		idle = len(p.due) == 0 && p.next == 0
		if refused := u.refusals.of(item.Key, item.Lane == watcher.Live); refused != nil {
			p.problems = append(p.problems, refused.Error())
			p.due = slices.DeleteFunc(p.due, func(f avalon.File) bool { return refused.Files[f.Key()] != nil })
		}
		u.reports.replace(item.Key, p.problems...)
		u.waits.keep(item.Key, p.due)
	case errors.As(err, &malformed):
		idle = true
		u.reports.replace(item.Key, malformed.Error())
		u.waits.keep(item.Key, nil)
	case errors.Is(err, avalon.ErrGone):
		u.reports.replace(item.Key)
		u.waits.keep(item.Key, nil)
	default:
		u.reading.saw(err)
		p.next = jitter(time.Second)
	}
	if idle && u.NothingDue != nil {
		u.NothingDue(item.Key)
	}
	u.schedule.end(j, roots, p.due, p.next)
}
