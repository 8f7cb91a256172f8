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

// plan is what is to be done about a representation.
type plan struct {
	due      []avalon.File
	next     time.Duration // when to look again, as a file backs off; 0 if there is no need
	problems []string      // invalid files, each with its reason
}

// newPlan decides, file by file.
func newPlan(r avalon.Rules, rep *avalon.Representation, now time.Time) plan {
	var p plan
	planned := map[avalon.FileKey]bool{}
	for i, f := range rep.Files {
		switch d := r.Evaluate(&f, now); d.Status {
		case avalon.Invalid:
			p.problems = append(p.problems, fmt.Sprintf("files[%d]: %s", i, d.Problem))
		case avalon.BackingOff:
			if p.next == 0 || d.Wait < p.next {
				p.next = d.Wait
			}
		case avalon.Pending:
			if !planned[f.Key()] {
				planned[f.Key()] = true
				p.due = append(p.due, f)
			}
		}
	}
	return p
}

// plan reads a representation as it stands now and schedules what is due.
func (u *Uploader) plan(ctx context.Context, item watcher.Item) {
	j := u.scheduler.begin(item)
	rep, err := u.Store.OpenRepresentation(ctx, item.Key, u.Rules.To)
	var p plan
	var roots avalon.Roots
	idle := false // it can be left alone until it changes
	var malformed *avalon.MalformedError
	switch {
	case ctx.Err() != nil:
	case err == nil:
		u.reading.observe(nil)
		p, roots = newPlan(u.Rules, rep, time.Now()), rep.Roots
		if len(p.due) > 0 && len(roots) == 0 && len(u.LocalRoot) == 0 {
			p.problems = append(p.problems, "its context.root is neither a path nor a dict of paths, and there is no "+
				"local_root")
			p.due = nil
		}
		idle = len(p.due) == 0 && p.next == 0
		if refused := u.rejections.of(item.Key, item.Lane == watcher.Live); refused != nil {
			p.problems = append(p.problems, refused.Error())
			p.due = slices.DeleteFunc(p.due, func(f avalon.File) bool { return refused.Files[f.Key()] != nil })
		}
		u.invalidDocs.replace(item.Key, p.problems...)
		u.sourceWaits.retain(item.Key, p.due)
	case errors.As(err, &malformed):
		idle = true
		u.invalidDocs.replace(item.Key, malformed.Error())
		u.sourceWaits.retain(item.Key, nil)
	case errors.Is(err, avalon.ErrNotFound):
		u.invalidDocs.replace(item.Key)
		u.sourceWaits.retain(item.Key, nil)
	default:
		u.reading.observe(err)
		p.next = jitter(time.Second)
	}
	if idle && u.NothingDue != nil {
		u.NothingDue(item.Key)
	}
	u.scheduler.end(j, roots, p.due, p.next)
}
