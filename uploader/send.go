package uploader

import (
	"context"
	"slices"

	"sitesync/site"
)

// rootTarget is what a root on the site is held as: the site, if it is the only one.
func (u *Uploader) rootTarget(root string) Target {
	for _, other := range u.RemoteRoot.All() {
		if other != root {
			return Target{RemoteRoot, root}
		}
	}
	return siteTarget
}

// probeSite returns an error if the site as a whole is out of order. One root of several does not count.
func (u *Uploader) probeSite(ctx context.Context) error {
	for _, root := range u.RemoteRoot.All() {
		err := u.Site.CheckRoot(ctx, root)
		if scope, _ := site.ScopeOf(err); err != nil && (scope == site.WholeSite || u.rootTarget(root) == siteTarget) {
			return err
		}
	}
	return nil
}

// send uploads a file below a root on the site. held is as for put.
func (u *Uploader) send(ctx context.Context, f site.Upload, root string) (held trip, obj site.Object, err error) {
	large := Target{LargeFiles, root}
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
		for _, t := range []Target{{NewFiles, root}, {NewFiles, folder}} {
			if err := try(t); err != nil {
				return err
			}
		}
		return nil
	}
	obj, err = u.Site.Put(ctx, f)
	if site.ClassOf(err) == site.Unavailable && err != nil && !waits {
		held, err = u.heldBy(ctx, err, f, root)
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

// heldBy returns what an error of class [site.Unavailable] holds.
func (u *Uploader) heldBy(ctx context.Context, err error, f site.Upload, root string) (trip, error) {
	ofRoot := trip{Target: u.rootTarget(root),
		probe: func(ctx context.Context) error { return u.Site.CheckRoot(ctx, root) }}
	scope, folder := site.ScopeOf(err)
	switch scope {
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
			left, known, err := u.Site.Left(ctx, root)
			if err != nil || !known {
				return err
			}
			return u.breakers.fit(t.Target, left)
		}
		left, known, leftErr := u.Site.Left(ctx, root)
		switch {
		case known && left <= 0:
			return ofRoot, err
		case known && left < f.Size:
			t.from = left + 1
			err = site.UnavailableIn(site.LargeOnes, roomLeft(left))
		case leftErr == nil: // it says that there is room
			t.trial = true
		}
		return t, err
	}
	return trip{Target: siteTarget, probe: u.probeSite}, err
}
