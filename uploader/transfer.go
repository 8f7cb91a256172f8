package uploader

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/watcher"
)

// transientDelay is how long a file is left alone when the site is busy or out of reach; see failing. The site itself
// has tried several times before it says so.
const transientDelay = 5 * time.Second

// flushAhead is of how many files for each transfer the outcome may be left to be written when it goes on with the
// next.
const flushAhead = 8

// transferLoop transfers one file after the other until ctx ends; a transfer goes on for as long as working, and its
// result is written for as long as writing, while the next file is transferred.
func (u *Uploader) transferLoop(ctx, working, writing context.Context, recording *errgroup.Group, spare bool) {
	for {
		t, err := u.scheduler.nextTask(ctx, spare)
		if err != nil {
			return
		}
		u.running.Add(1)
		t.transfer = u.activity.begin(t)
		t.progress = u.reportProgress(writing, t)
		r, wake := u.transfer(working, t)
		t.progress.end(r != nil)
		u.activity.end(t.transfer, r != nil && r.Error != "", wake)
		u.running.Add(-1)
		if results := u.scheduler.finish(t, r, wake); len(results) > 0 {
			recording.Go(func() error { u.record(writing, t.job, results); return nil })
		}
		if !spare {
			u.scheduler.free()
		}
	}
}

// transfer transfers one file. It returns what is to be recorded, if anything, and when to look again, 0 if
// there is no need.
func (u *Uploader) transfer(ctx context.Context, t task) (*result, time.Duration) {
	start := time.Now()
	if rest, why := u.failures.remaining(t.ref(), start); rest > 0 {
		t.transfer.err = why
		return nil, rest
	}
	held, size, obj, err := u.transferFile(ctx, t)
	now := time.Now()
	t.transfer.err = err
	if err != nil && ctx.Err() != nil {
		u.logFor(t.job.key).Info(u.Direction.Noun()+" interrupted; it resumes later", zap.String("path", t.file.Path))
		return nil, 0
	}
	class := site.ClassOf(err)
	scope, _ := site.ScopeOf(err)
	if class != site.Transient && class != site.Unavailable || err == nil {
		u.failures.ended(t.ref(), err == nil)
	}
	switch {
	case err == nil:
		u.service.observe(nil)
		return &result{Outcome: avalon.Outcome{File: t.file, RemoteID: obj.ID, At: now},
			bytes: size, took: now.Sub(start), seen: u.sourceWaits.finish(t)}, 0
	case class == site.NotReady:
		// A file that has failed has been waited for.
		if rec, _ := t.file.RecordFor(u.Rules.To); rec.Tries == 0 {
			if wake := u.sourceWaits.nextCheck(t, now, u.SourceGracePeriod); wake > 0 {
				u.logFor(t.job.key).Debug("source is waited for", zap.Error(err))
				return nil, wake
			}
		}
		return u.recordFailure(t, now, err)
	case class == site.Unavailable && scope == site.OneFile:
		u.logFor(t.job.key).Debug("the file has to wait for now; no try is spent", zap.Error(err))
		return nil, jitter(cmp.Or(site.RetryAfter(err), transientDelay))
	case class == site.Unavailable:
		if held.Target == siteTarget {
			u.scheduler.requeueNow(t.job) // nothing is planned before the hold ends
		} else {
			u.deferred.Add(1) // the poll that follows the hold finds it
		}
		if held.Kind != "" { // else it is held already
			u.breakers.trip(held, err)
		}
		return nil, 0
	case class == site.Transient:
		return u.throttled(ctx, t, now, err)
	}
	return u.recordFailure(t, now, err)
}

// throttled leaves a file alone for a while, as the site is busy or out of reach, unless that turns out to be the
// file's own failure.
func (u *Uploader) throttled(ctx context.Context, t task, now time.Time, err error) (*result, time.Duration) {
	if site.IsShared(err) {
		u.service.observe(err)
		return nil, jitter(transientDelay)
	}
	s := u.failures.failed(ctx, t.ref(), now, err, u.probeSite)
	switch {
	case s.own > 0:
		return u.recordFailure(t, now, ownFailure(err, s.own))
	case s.beside:
		u.logFor(t.job.key).Debug(u.Direction.Noun()+" failed, though others get through; it is tried again "+
			"and costs no try for now", zap.String("path", truncate(t.file.Path)), zap.Duration("again_in", s.rest),
			zap.Error(err))
	default:
		u.service.observe(err)
	}
	s.rest = max(s.rest, min(site.RetryAfter(err), maxRetryAfter))
	return nil, jitter(s.rest)
}

// transferFile finds the source and writes it to the target. The error is classed; held is what one of class
// [site.Unavailable] holds up, nothing if that is held already.
func (u *Uploader) transferFile(ctx context.Context, t task) (held trip, size int64, obj site.Object, err error) {
	if err := u.breakers.check(siteTarget); err != nil {
		return trip{Target: siteTarget, probe: u.probeSite}, 0, obj, site.Classed(site.Unavailable, err)
	}
	r, err := resolveRoots(&t.file, t.roots, u.LocalRoot, u.RemoteRoot)
	if err != nil {
		return trip{Target: Target{Settings, err.Error()}}, 0, obj, err
	}
	from, to := r.ends(u.Direction, &t.file, u.Rules.Route)
	for _, target := range []Target{u.widened(from.held), u.widened(to.held)} {
		if err := u.breakers.check(target); err != nil {
			return trip{}, 0, obj, site.Classed(site.Unavailable, err)
		}
	}
	if err := u.breakers.checkFolders(r.here, r.hereRel); err != nil {
		return trip{}, 0, obj, site.Classed(site.Unavailable, err)
	}
	live := t.lane == watcher.Live
	src, err := u.Source.Open(ctx, from.at, site.OpenOptions{Size: t.file.Size, Priority: live, WillRead: true,
		Siblings: func() []site.Location { return u.siblingSources(t) }, Next: u.nextSources})
	if err != nil {
		return u.sourceTrouble(err, from), 0, obj, err
	}
	defer src.Close()
	if err := u.checkStaleSource(ctx, t, src); err != nil {
		return u.sourceTrouble(err, from), 0, obj, err
	}
	in := site.Incoming{Root: to.root, Content: src, Size: src.Size(), ModTime: src.ModTime(), MD5: src.MD5(),
		Priority: live, OnProgress: t.transfer.sent.Store,
		Upcoming: func() []string { return u.siblingTargets(ctx, t) }}
	if in.Path, err = to.path(src.Reading()); err != nil {
		return trip{}, 0, obj, err
	}
	held, obj, err = u.put(ctx, in, to)
	if err == nil && obj.Replaced {
		u.logFor(t.job.key).Info("replaced other content", zap.String("path", truncate(in.Path)))
	}
	if readErr := src.ReadError(ctx, err); readErr != nil { // whatever the target made of it
		return u.sourceTrouble(readErr, from), src.Size(), obj, readErr
	}
	if err == nil || site.ClassOf(err) == site.FileError {
		if changed := src.Changed(ctx); changed != nil {
			return u.sourceTrouble(changed, from), src.Size(), obj, changed
		}
	}
	return held, src.Size(), obj, err
}

// sourceTrouble is what an error of a source holds up: the site, a root, a folder below it that is on a storage of its
// own, or files that the settings do not fit.
func (u *Uploader) sourceTrouble(err error, from end) trip {
	switch scope, folder := site.ScopeOf(err); scope {
	case site.WholeSite:
		return trip{Target: siteTarget, probe: u.probeSite}
	case site.Settings:
		return trip{Target: Target{Settings, err.Error()}}
	case site.OneFolder:
		return trip{Target: Target{ProjectFolder, folder},
			probe: func(ctx context.Context) error { return u.Source.CheckFolder(ctx, from.root, folder) }}
	}
	return trip{Target: u.widened(from.held),
		probe: func(ctx context.Context) error { return u.Source.CheckReadable(ctx, from.root) }}
}

// siblingSources returns where the files are that are read from the same folder soon.
func (u *Uploader) siblingSources(t task) (all []site.Location) {
	for _, other := range u.scheduler.siblings(t) {
		if r, err := resolveRoots(&other.file, other.roots, u.LocalRoot, u.RemoteRoot); err == nil {
			from, _ := r.ends(u.Direction, &other.file, u.Rules.Route)
			all = append(all, from.at)
		}
	}
	return all
}

// nextSources returns which files are read next, wherever they are.
func (u *Uploader) nextSources() (all []site.Expected) {
	for _, other := range u.scheduler.soon(u.Transfers) {
		if r, err := resolveRoots(&other.file, other.roots, u.LocalRoot, u.RemoteRoot); err == nil {
			from, _ := r.ends(u.Direction, &other.file, u.Rules.Route)
			all = append(all, site.Expected{Location: from.at, Size: other.file.Size})
		}
	}
	return all
}

// siblingTargets returns where the files will go that are written to the same folder soon.
func (u *Uploader) siblingTargets(ctx context.Context, t task) (paths []string) {
	for _, other := range u.scheduler.siblings(t) {
		r, err := resolveRoots(&other.file, other.roots, u.LocalRoot, u.RemoteRoot)
		if err != nil {
			continue
		}
		from, to := r.ends(u.Direction, &other.file, u.Rules.Route)
		at, err := u.Source.Resolve(ctx, from.at)
		if err != nil {
			continue
		}
		if p, err := to.path(at.Reading); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// maxErrorText bounds the text of an error in a document or a log, bytes.
const maxErrorText = 1000

func truncate(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "")
}

// recordFailure spends a try.
func (u *Uploader) recordFailure(t task, now time.Time, err error) (*result, time.Duration) {
	u.sourceWaits.finish(t)
	rec, _ := t.file.RecordFor(u.Rules.To)
	tries := rec.Tries + 1
	u.failedTries.Add(1)
	reason := truncate(err.Error())
	log := u.logFor(t.job.key).With(zap.String("path", truncate(t.file.Path)), zap.String("error", reason),
		zap.Int("tries", tries), zap.Int("retry_cnt", u.Rules.RetryCount))
	var wake time.Duration
	if tries < u.Rules.RetryCount {
		wake = u.Rules.Backoff(tries)
		log.Warn(u.Direction.Noun()+" failed", zap.Duration("again_in", wake))
	} else {
		u.failedFiles.Add(1)
		log.Error(u.Direction.Noun() + " failed for good; repair the cause, then: sitesync retry")
	}
	return &result{Outcome: avalon.Outcome{File: t.file, Error: reason, At: now}}, wake
}

// widened is the site for a root that is the only one on it; others are held by themselves.
func (u *Uploader) widened(t Target) Target {
	if t.Kind != RemoteRoot {
		return t
	}
	for _, other := range u.RemoteRoot.All() {
		if other != t.Name {
			return t
		}
	}
	return siteTarget
}

// checkRemoteRoot returns an error if a root on the remote site can't be used as the route has to.
func (u *Uploader) checkRemoteRoot(ctx context.Context, root string) error {
	if u.Direction == config.Down {
		return u.Source.CheckReadable(ctx, root)
	}
	return u.Target.CheckRoot(ctx, root)
}

// probeSite returns an error if the remote site as a whole is out of order. One root of several does not count.
func (u *Uploader) probeSite(ctx context.Context) error {
	for _, root := range u.RemoteRoot.All() {
		err := u.checkRemoteRoot(ctx, root)
		only := u.widened(Target{RemoteRoot, root}) == siteTarget
		if scope, _ := site.ScopeOf(err); err != nil && (scope == site.WholeSite || only) {
			return err
		}
	}
	return nil
}

// put writes a file to the target. held is as for transferFile.
func (u *Uploader) put(ctx context.Context, f site.Incoming, to end) (held trip, obj site.Object, err error) {
	large := Target{LargeFiles, f.Root}
	var trials []*breaker // that this file is the try of
	waits := false        // for a hold that there was before
	try := func(t Target) error {
		if slices.ContainsFunc(trials, func(h *breaker) bool { return h.Target == t }) {
			return nil
		}
		trial, err := u.breakers.try(t, f.Size)
		if trial != nil {
			trials = append(trials, trial)
		}
		if err != nil {
			waits = true
			return site.Classed(site.Unavailable, err)
		}
		return nil
	}
	if err := try(large); err != nil {
		return trip{}, obj, err
	}
	f.MayCreate = func(folder string) error {
		for _, t := range []Target{{NewFiles, f.Root}, {NewFiles, folder}} {
			if err := try(t); err != nil {
				return err
			}
		}
		return nil
	}
	obj, err = u.Target.Put(ctx, f)
	if site.ClassOf(err) == site.Unavailable && err != nil && !waits {
		held, err = u.heldBy(ctx, err, f, to)
	}
	for _, trial := range trials {
		var refused error
		if held.Target == trial.Target {
			refused = err
		}
		u.breakers.trialEnded(trial, err == nil, refused)
	}
	return held, obj, err
}

// heldBy returns what an error of the target, of class [site.Unavailable], holds.
func (u *Uploader) heldBy(ctx context.Context, err error, f site.Incoming, to end) (trip, error) {
	root := f.Root
	ofRoot := trip{Target: u.widened(to.held),
		probe: func(ctx context.Context) error { return u.Target.CheckRoot(ctx, root) }}
	scope, folder := site.ScopeOf(err)
	switch scope {
	case site.OneFile:
		return trip{}, err
	case site.Settings:
		return trip{Target: Target{Settings, err.Error()}}, err
	case site.OneRoot:
		return ofRoot, err
	case site.Creations:
		if folder == "" {
			folder = root
		}
		always := func(context.Context) error { return nil }
		return trip{Target: Target{NewFiles, folder}, probe: always, trial: true}, err
	case site.LargeOnes:
		t := trip{Target: Target{LargeFiles, root}, from: f.Size, size: f.Size}
		t.probe = func(ctx context.Context) error {
			left, known, err := u.Target.Left(ctx, root)
			if err != nil || !known {
				return err
			}
			return u.breakers.fit(t.Target, left)
		}
		left, known, leftErr := u.Target.Left(ctx, root)
		switch {
		case known && left <= 0:
			return ofRoot, err
		case known && left < f.Size:
			t.from = left + 1
			err = site.UnavailableIn(site.LargeOnes, u.breakers.roomLeft(left))
		case leftErr == nil: // it says that there is room
			t.trial = true
		}
		return t, err
	}
	if u.Direction == config.Down { // a storage of this machine has nothing that all of its roots need
		return ofRoot, err
	}
	return trip{Target: siteTarget, probe: u.probeSite}, err
}
