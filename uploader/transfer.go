package uploader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/watcher"
)

// throttledWait is how long a file is left alone when the site is busy or out of reach; see failing. The site itself has
// tried several times before it says so.
const throttledWait = 5 * time.Second

// recordAhead is of how many files for each transfer the outcome may be left to be written when it goes on with the next.
const recordAhead = 8

// transferLoop uploads one file after the other until ctx ends; an upload goes on for as long as working, and its
// result is written for as long as writing, while the next file is uploaded.
func (u *Uploader) transferLoop(ctx, working, writing context.Context, recording *errgroup.Group, spare bool) {
	for {
		t, err := u.schedule.next(ctx, spare)
		if err != nil {
			return
		}
		u.running.Add(1)
		t.transfer = u.activity.begin(t)
		t.progress = u.follow(writing, t)
		r, wake := u.transfer(working, t)
		t.progress.end(r != nil)
		u.activity.end(t.transfer, r != nil && r.Error != "", wake)
		u.running.Add(-1)
		if results := u.schedule.finish(t, r, wake); len(results) > 0 {
			recording.Go(func() error { u.record(writing, t.job, results); return nil })
		}
		if !spare {
			u.schedule.free()
		}
	}
}

// transfer uploads one file. It returns what is to be recorded, if anything, and when to look again, 0 if
// there is no need.
func (u *Uploader) transfer(ctx context.Context, t task) (*result, time.Duration) {
	start := time.Now()
	if rest, why := u.failing.left(t.ref(), start); rest > 0 {
		t.transfer.err = why
		return nil, rest
	}
	held, size, obj, err := u.put(ctx, t)
	now := time.Now()
	t.transfer.err = err
	if err != nil && ctx.Err() != nil {
		u.about(t.job.key).Info("upload stopped; it is taken up again later", zap.String("path", t.file.Path))
		return nil, 0
	}
	class := site.ClassOf(err)
	if class != site.Transient && class != site.Unavailable || err == nil {
		u.failing.ended(t.ref(), err == nil)
	}
	switch {
	case err == nil:
		u.service.saw(nil)
		return &result{Outcome: avalon.Outcome{File: t.file, RemoteID: obj.ID, At: now},
			bytes: size, took: now.Sub(start), seen: u.waits.done(t)}, 0
	case class == site.NotReady:
		// A file that has failed has been waited for.
		if rec, _ := t.file.On(u.Rules.To); rec.Tries == 0 {
			if wake := u.waits.next(t, now, u.Settle); wake > 0 {
				u.about(t.job.key).Debug("source is waited for", zap.Error(err))
				return nil, wake
			}
		}
		return u.failure(t, now, err)
	case class == site.Unavailable && hangsAgain(err):
		// Its storage is well otherwise, or it would be held.
		u.about(t.job.key).Debug("the source still hangs", zap.Error(err))
		return nil, jitter(restHung)
	case class == site.Unavailable:
		if held.Target == theSite {
			u.schedule.again(t.job) // nothing is planned before the hold ends
		} else {
			u.held.Add(1) // the poll that follows the hold finds it
		}
		if held.Kind != "" { // else it is held already
			u.holds.hold(held, err)
		}
		return nil, 0
	case class == site.Transient:
		return u.throttled(ctx, t, now, err)
	}
	return u.failure(t, now, err)
}

// throttled leaves a file alone for a while, as the site is busy or out of reach, unless that turns out to be the file's
// own trouble.
func (u *Uploader) throttled(ctx context.Context, t task, now time.Time, err error) (*result, time.Duration) {
	if site.IsShared(err) {
		u.service.saw(err)
		return nil, jitter(throttledWait)
	}
	s := u.failing.failed(ctx, t.ref(), now, err, u.checkSite)
	switch {
	case s.own > 0:
		return u.failure(t, now, ownTrouble(err, s.own))
	case s.beside:
		u.about(t.job.key).Debug("upload failed, though others get through; it is tried again and costs no try for now",
			zap.String("path", truncate(t.file.Path)), zap.Duration("again_in", s.rest), zap.Error(err))
	default:
		u.service.saw(err)
	}
	var e *site.Error
	if errors.As(err, &e) {
		s.rest = max(s.rest, min(e.RetryAfter, mostRetryAfter))
	}
	return nil, jitter(s.rest)
}

// put finds the source and uploads it. The error is classed; held is what one of class [site.Unavailable] holds up, nothing if
// that is held already.
func (u *Uploader) put(ctx context.Context, t task) (held trouble, size int64, obj site.Object, err error) {
	if err := u.holds.check(theSite); err != nil {
		return trouble{Target: theSite, probe: u.checkSite}, 0, obj, site.Classed(site.Unavailable, err)
	}
	r, err := resolveRoots(&t.file, t.roots, u.LocalRoot, u.RemoteRoot)
	if err != nil {
		return trouble{Target: Target{Settings, err.Error()}}, 0, obj, err
	}
	here, root := r.here, r.there
	local := trouble{Target: Target{LocalRoot, here}, probe: func(ctx context.Context) error { return u.files.mounted(ctx, here) }}
	for _, target := range []Target{u.rootTarget(root), local.Target} {
		if err := u.holds.check(target); err != nil {
			return trouble{}, 0, obj, site.Classed(site.Unavailable, err)
		}
	}
	if err := u.holds.checkFolders(here, r.hereRel); err != nil {
		return trouble{}, 0, obj, site.Classed(site.Unavailable, err)
	}
	src, f, info, err := u.open(ctx, t, here)
	if err != nil {
		return u.whatIsAway(err, local, src), 0, obj, u.whoHangs(err)
	}
	defer f.Close()
	size = info.Size()
	upload := site.Upload{Path: src.remote, Content: f, Size: size, ModTime: info.ModTime(), Priority: t.lane == watcher.Live,
		OnProgress: t.transfer.sent.Store, Upcoming: func() []string { return u.along(ctx, t, here) }}
	held, obj, err = u.send(ctx, upload, root)
	var hangs *hangError
	if errors.As(err, &hangs) {
		return local, size, obj, u.whoHangs(site.Classed(site.Unavailable, hangs))
	}
	if failed := f.failure(); failed != nil && ctx.Err() == nil { // whatever the site made of it
		err = u.files.does(ctx, here, src.String(), func() error { return src.missed(failed) })
		return u.whatIsAway(err, local, src), size, obj, u.whoHangs(err)
	}
	if err == nil || site.ClassOf(err) == site.FileError {
		if changed := u.files.does(ctx, here, src.String(), func() error { return src.changed(f.file, info) }); changed != nil {
			return local, size, obj, u.whoHangs(changed)
		}
	}
	return held, size, obj, err
}

// open finds and opens the source. What takes long is given up.
func (u *Uploader) open(ctx context.Context, t task, root string) (source, *guardedFile, os.FileInfo, error) {
	type opened struct {
		source
		file *os.File
		info os.FileInfo
	}
	o, err := answer(ctx, u.files, root, t.file.Path, func() (o opened, err error) {
		if o.source, err = find(&t.file, t.roots, u.LocalRoot, u.RemoteRoot); err != nil {
			return o, err
		}
		if o.file, o.info, err = o.source.open(t.file.Size); err != nil {
			return o, err
		}
		if err = u.stale(t, o.source, o.info); err != nil {
			o.file.Close()
		}
		return o, err
	}, func(o opened) { o.file.Close() })
	if err != nil {
		return o.source, nil, nil, err
	}
	return o.source, &guardedFile{ctx: ctx, calls: u.files, root: root, path: t.file.Path, file: o.file}, o.info, nil
}

// whatIsAway is what an error of a source holds up: the root, a folder below it that is on a storage of its own, or
// files that the settings do not fit.
func (u *Uploader) whatIsAway(err error, root trouble, src source) trouble {
	var away *awayError
	var hangs *hangError
	switch {
	case site.ClassOf(err) != site.Unavailable || errors.As(err, &hangs):
		return root
	case !errors.As(err, &away):
		return trouble{Target: Target{Settings, err.Error()}}
	case away.folder == src.root:
		return root
	}
	return trouble{Target: Target{ProjectFolder, away.folder}, probe: func(ctx context.Context) error {
		return u.files.does(ctx, src.root, away.folder, func() error { return src.there(away.folder) })
	}}
}

// whoHangs makes a storage that hangs the trouble of the file if others of the same root can be read.
func (u *Uploader) whoHangs(err error) error {
	var hangs *hangError
	if errors.As(err, &hangs) && u.files.isFiles(hangs) {
		return site.Classed(site.FileError, fmt.Errorf("%w; other files of it are read meanwhile", hangs))
	}
	return err
}

// hangsAgain reports whether a file was not asked for, as an earlier call for it still hangs.
func hangsAgain(err error) bool {
	var hangs *hangError
	return errors.As(err, &hangs) && hangs.again
}

// along returns where the files will go that are uploaded into the same folder soon.
func (u *Uploader) along(ctx context.Context, t task, root string) []string {
	// Each of them may be looked for.
	paths, _ := answer(ctx, u.files, root, "files beside "+t.file.Path, func() (paths []string, err error) {
		for _, other := range u.schedule.beside(t) {
			if src, err := locate(&other.file, other.roots, u.LocalRoot, u.RemoteRoot); err == nil {
				paths = append(paths, src.remote)
			}
		}
		return paths, nil
	}, nil)
	return paths
}

// maxErrorText bounds what is told of an error in a document or a log, bytes.
const maxErrorText = 1000

func truncate(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "")
}

// failure spends a try.
func (u *Uploader) failure(t task, now time.Time, err error) (*result, time.Duration) {
	u.waits.done(t)
	rec, _ := t.file.On(u.Rules.To)
	tries := rec.Tries + 1
	u.failed.Add(1)
	reason := truncate(err.Error())
	log := u.about(t.job.key).With(zap.String("path", truncate(t.file.Path)), zap.String("error", reason),
		zap.Int("tries", tries), zap.Int("retry_cnt", u.Rules.RetryCount))
	var wake time.Duration
	if tries < u.Rules.RetryCount {
		wake = u.Rules.Backoff(tries)
		log.Warn("upload failed", zap.Duration("again_in", wake))
	} else {
		u.givenUp.Add(1)
		log.Error("upload failed for good; repair the cause, then: sitesync retry")
	}
	return &result{Outcome: avalon.Outcome{File: t.file, Error: reason, At: now}}, wake
}
