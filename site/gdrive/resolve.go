package gdrive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/api/drive/v3"

	"sitesync/site"
)

const (
	// myDrive is how a root names the account's own Drive.
	myDrive = "My Drive"

	// folderTTL is how long the cache is valid, as others work on the Drive too.
	folderTTL = 5 * time.Minute

	// confirmedTTL is how recently Drive must have shown a file, and the folders above it, in their places before
	// content is written into it: what a person has renamed or moved keeps its content.
	confirmedTTL = 10 * time.Second
)

// location is what a path leads to.
type location struct {
	folder *folder
	above  string // id of the folder at the path above; empty for what a path begins with
	item   string // id of what has the name: the folder, or a shortcut to it
	parent string // the folder that the item is in; empty if we don't see it

	// Guarded by folderCache.mu.
	seen time.Time // when it was last known to be so
}

// upcoming is what is about to be created in a folder.
type upcoming struct {
	folder string // its path
	names  func() []string
}

// childNames returns the names of what will be created in the folder at a path, which is the one or is above it: those
// of the folders between the two, each in the one before and with a slash, and then those in the folder.
func (c *upcoming) childNames(p string) func() [][]string {
	if c == nil {
		return nil
	}
	return func() [][]string {
		names := [][]string{c.names()}
		for at := c.folder; at != p; at = path.Dir(at) {
			names = append(names, []string{path.Base(at) + "/"})
		}
		slices.Reverse(names)
		return names
	}
}

// resolve returns the folder at a path. Below the site's roots it is created if it does not exist. A missing root is
// an error of the site: it may be a typing error.
func (t *folderCache) resolve(ctx context.Context, p string) (*folder, error) {
	return t.resolveFor(ctx, p, nil, folderTTL)
}

// resolveFor is resolve for an upload that will create something in the folder; c is nil if that is not known. Folders
// below a root were seen at their place within maxAge then.
func (t *folderCache) resolveFor(ctx context.Context, p string, c *upcoming, maxAge time.Duration) (*folder, error) {
	if f, ok := t.cached(p, maxAge); ok {
		return f, nil
	}
	unlock, err := t.busy.Lock(ctx, "path "+normalize(p))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f, ok := t.cached(p, maxAge); ok {
		return f, nil
	}
	l, err := t.find(ctx, p, c, maxAge)
	if !t.mayCreate(p) {
		err = asRootError(err) // a root, or above one
	}
	if err != nil {
		return nil, err
	}
	return t.found(p, l), nil
}

// resolveCurrent is resolve for a root as it is now and not as cached. The cache is left alone unless it turns out to
// be wrong: one file has the root checked, and other uploads go on meanwhile.
func (t *folderCache) resolveCurrent(ctx context.Context, root string) (*folder, error) {
	if f, ok := t.cached(root, folderTTL); ok {
		if still, err := t.isUnchanged(ctx, root); still || err != nil {
			return f, asRootError(err)
		}
	}
	t.invalidate(root)
	return t.resolve(ctx, root)
}

// isUnchanged reports whether a known path leads where it did, asking for each part of it.
func (t *folderCache) isUnchanged(ctx context.Context, p string) (bool, error) {
	if p == "/" {
		return true, nil
	}
	l := t.at(p)
	if l == nil {
		return false, nil
	}
	if above, err := t.isUnchanged(ctx, path.Dir(p)); err != nil || !above {
		return false, err
	}
	if path.Dir(p) == "/" {
		top, err := t.findTop(ctx, path.Base(p))
		return err == nil && top.id == l.folder.id, err
	}
	return t.isStill(ctx, l, path.Base(p))
}

// found takes note of what a path leads to.
func (t *folderCache) found(p string, l *location) *folder {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.folder = t.current(l.folder)
	l.seen, l.folder.used = time.Now(), time.Now()
	t.paths[normalize(p)] = l
	t.grow(folderCost)
	return l.folder
}

// cached returns the folder at a path if there is no need to look again: it, and all that is above it, was seen lately,
// and what is above it is the same as when it was found.
func (t *folderCache) cached(p string, maxAge time.Duration) (*folder, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := normalize(p)
	l := t.paths[key]
	if l == nil {
		return nil, false
	}
	for at := l; ; {
		at.folder.used = time.Now()
		limit := folderTTL
		if t.mayCreate(key) {
			limit = maxAge
		}
		if time.Since(at.seen) >= limit {
			return nil, false
		}
		if key = path.Dir(key); key == "/" {
			return l.folder, true
		}
		above := t.paths[key]
		if above == nil || above.folder.id != at.above {
			return nil, false
		}
		at = above
	}
}

// find finds what a path leads to on Drive, or creates it.
func (t *folderCache) find(ctx context.Context, p string, c *upcoming, maxAge time.Duration) (*location, error) {
	if path.Dir(p) == "/" {
		f, err := t.findTop(ctx, path.Base(p))
		if err != nil {
			return nil, err
		}
		return &location{folder: f, item: f.id}, nil
	}
	parent, err := t.resolveFor(ctx, path.Dir(p), c, maxAge)
	if err != nil {
		return nil, err
	}
	// This is asked only now, as a folder above that has gone takes it along.
	if old := t.at(p); old != nil {
		if old.above == parent.id {
			still, err := t.isStill(ctx, old, path.Base(p))
			if err != nil {
				return nil, fmt.Errorf("look up folder %s: %w", p, err)
			}
			if still {
				return old, nil
			}
			// Whoever took it away may have taken what is above it too, and nothing is to be made in there.
			t.invalidate(path.Dir(p))
			if parent, err = t.resolveFor(ctx, path.Dir(p), c, maxAge); err != nil {
				return nil, err
			}
			t.remove(parent, path.Base(p))
		}
		t.removeBelow(p)
	}
	return t.child(ctx, parent, p, c)
}

// at returns what we know a path to lead to; nil if we know nothing.
func (t *folderCache) at(p string) *location {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.paths[normalize(p)]; l != nil {
		return new(*l)
	}
	return nil
}

// findTop returns what a path's first component names: My Drive or a shared drive.
func (t *folderCache) findTop(ctx context.Context, name string) (*folder, error) {
	if name == myDrive {
		root, err := t.site.get(ctx, "root", "id")
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", myDrive, err)
		}
		return t.folder(root.Id, ""), nil
	}
	var ids []string
	err := t.site.attempt(ctx, func() error {
		ids = nil
		return t.site.api.Drives.List().PageSize(100).Fields("nextPageToken,drives(id,name)").
			Pages(ctx, func(page *drive.DriveList) error {
				for _, d := range page.Drives {
					if sameName(d.Name, name) {
						ids = append(ids, d.Id)
					}
				}
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("list shared drives: %w", err)
	}
	switch len(ids) {
	case 0:
		return nil, rootError("no shared drive %q that %s is a member of: add it as Content manager, or fix root in "+
			"gdrive.json", name, t.site.Account())
	case 1:
		return t.folder(ids[0], ids[0]), nil
	}
	return nil, rootError("%d shared drives are called %q: rename all but one", len(ids), name)
}

// child returns what a path leads to whose parent is known: a folder of the name, whatever else has it, else what a
// shortcut of the name points to. If there is neither a folder is made, beside what else has the name.
func (t *folderCache) child(ctx context.Context, parent *folder, p string, c *upcoming) (*location, error) {
	name := path.Base(p)
	items, err := t.lookup(ctx, parent, name, folderItem, nil)
	if err != nil {
		return nil, fmt.Errorf("look up folder %s: %w", p, err)
	}
	if e := items[folderItem]; e.id != "" {
		return &location{folder: t.folder(e.id, parent.driveID), above: parent.id, item: e.id, parent: parent.id}, nil
	}
	if e := items[shortcutItem]; e.id != "" {
		f, err := t.follow(ctx, e.id, p, parent)
		if err != nil {
			return nil, fmt.Errorf("look up folder %s: %w", p, err)
		}
		return &location{folder: f, above: parent.id, item: e.id, parent: parent.id}, nil
	}
	if normalize(path.Dir(p)) == "/"+myDrive {
		shared, err := t.sharedWithMe(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("look up shared folder %s: %w", p, err)
		}
		if shared != nil {
			f := t.folder(shared.Id, "")
			return &location{folder: f, above: parent.id, item: shared.Id, parent: parentOf(shared)}, nil
		}
	}
	switch {
	case t.mayCreate(p):
	case items[fileItem].id != "" || items[otherItem].id != "":
		return nil, rootError("%s is a file on Drive, or a shortcut to one, not a folder: fix root in gdrive.json, or "+
			"put a folder there", p)
	default:
		return nil, rootError("there is no folder %s on Drive, or it is not shared with %s: create or share it, or "+
			"fix root in gdrive.json", p, t.site.Account())
	}
	if err := mayCreate(ctx, path.Dir(p)); err != nil {
		return nil, err
	}
	f, err := t.create(ctx, parent, name, c.childNames(p))
	if err != nil {
		return nil, fmt.Errorf("create folder %s: %w", p, asCreationError(err, path.Dir(p)))
	}
	return &location{folder: f, above: parent.id, item: f.id, parent: parent.id}, nil
}

// follow returns the folder that a shortcut at the path points to. It may be on another drive.
func (t *folderCache) follow(ctx context.Context, shortcut, p string, parent *folder) (*folder, error) {
	got, err := t.site.get(ctx, shortcut, "trashed,shortcutDetails")
	if isNotFound(err) || err == nil && (got.Trashed || got.ShortcutDetails == nil) {
		return nil, errCacheInvalid
	}
	if err != nil {
		return nil, err
	}
	id := got.ShortcutDetails.TargetId
	broken := func(why string) error {
		err := fmt.Errorf("%s is a shortcut on Drive to a folder that %s: put the folder itself there, or fix the "+
			"shortcut", p, why)
		if t.mayCreate(p) {
			return site.Classed(site.FileError, err)
		}
		return site.UnavailableIn(site.OneRoot, err)
	}
	target, err := t.site.get(ctx, id, "id,mimeType,trashed,driveId")
	switch {
	case isNotFound(err):
		return nil, broken("is gone, or is not shared with " + t.site.Account())
	case err != nil:
		return nil, err
	case target.Trashed:
		return nil, broken("is in the trash")
	case target.MimeType != folderType:
		return nil, broken("is none any more")
	}
	driveID := target.DriveId
	if driveID != "" && driveID != parent.driveID {
		// Whoever is no member of the drive finds what is shared of it as in My Drive.
		err := t.site.attempt(ctx, func() error {
			_, err := t.site.api.Drives.Get(driveID).Fields("id").Context(ctx).Do()
			return err
		})
		if isRefused(err) {
			driveID = ""
		} else if err != nil {
			return nil, err
		}
	}
	return t.folder(target.Id, driveID), nil
}

// create makes a folder. childNames returns what will be created in it, see idPool.reserve; nil if that is not known.
func (t *folderCache) create(ctx context.Context, parent *folder, name string,
	childNames func() [][]string) (*folder, error) {
	at := newNameKey(parent.id, name+"/")
	c, err := t.site.ids.reserve(ctx, at, nil, childNames)
	if err != nil {
		return nil, err
	}
	made, isNew, err := t.site.createOnce(ctx, at, c, parent, func(k *keeper) (made *drive.File, err error) {
		f := &drive.File{Id: k.id, Name: name, MimeType: folderType, Parents: []string{parent.id}}
		err = t.site.attempt(k.ctx, func() (err error) {
			made, err = t.site.api.Files.Create(f).SupportsAllDrives(true).Fields(uploadFields).Context(k.ctx).Do()
			return err
		})
		return made, err
	})
	switch {
	case isNotFound(err):
		t.site.ids.release(at)
		t.remove(parent, name)
		return nil, errCacheInvalid
	case err == nil && (!isAt(made, parent.id, name) || made.MimeType != folderType):
		if !trashedWithParent(made) || !slices.Contains(made.Parents, parent.id) {
			t.site.ids.discard(at, made.Id)
			t.remove(parent, name)
		}
		return nil, errCacheInvalid
	case errors.Is(err, errClaimLost):
		t.site.ids.release(at)
	case errors.Is(err, errGhost), errors.Is(err, errUnusable):
		t.remove(parent, name)
	}
	if err != nil {
		return nil, err
	}
	t.put(parent, name, entryOf(made))
	t.site.ids.release(at)
	f := t.folder(made.Id, parent.driveID)
	if isNew { // so nothing is in it
		t.mu.Lock()
		f.listed = time.Now()
		t.mu.Unlock()
	}
	return f, nil
}

// mayCreate reports whether the path belongs to a root. A root, and what is above one, is never created, also where it
// is below another root.
func (t *folderCache) mayCreate(p string) bool {
	p = normalize(p)
	below := false
	for _, root := range t.site.roots {
		root = normalize(root)
		if root == p || strings.HasPrefix(root, p+"/") {
			return false
		}
		below = below || belongsTo(p, root)
	}
	return below
}

// belongsTo reports whether a path is below a root, or in a folder beside it whose name begins with the root's:
// publishers write {root[work]}jects/... where the text of a root is how another folder begins.
func belongsTo(p, root string) bool {
	p, root = normalize(p), normalize(root)
	return strings.HasPrefix(p, root+"/") || path.Dir(root) != "/" && strings.HasPrefix(p, root) && p != root
}

// isStill reports whether a path leads where it did: nothing on it was renamed, moved, trashed or deleted.
func (t *folderCache) isStill(ctx context.Context, l *location, name string) (bool, error) {
	got, err := t.site.get(ctx, l.item, "name,trashed,parents,shortcutDetails")
	if err == nil && l.item != l.folder.id {
		if got.ShortcutDetails == nil || got.ShortcutDetails.TargetId != l.folder.id {
			return false, nil // it points elsewhere now
		}
		var target *drive.File
		if target, err = t.site.get(ctx, l.folder.id, "trashed"); err == nil && target.Trashed {
			return false, nil
		}
	}
	if isNotFound(err) {
		return false, nil
	}
	return err == nil && isAt(got, l.parent, name), err
}

// isAt reports whether something on Drive has the name in the folder, which is empty if we don't see it, and is not in
// the trash.
func isAt(f *drive.File, parent, name string) bool {
	in := slices.Contains(f.Parents, parent) || parent == "" && len(f.Parents) == 0
	return in && sameName(f.Name, name) && !f.Trashed
}

// parentOf is the folder that a file is in; empty if we don't see it. Files of old may be in several.
func parentOf(f *drive.File) string {
	if len(f.Parents) == 0 {
		return ""
	}
	return f.Parents[0]
}

// sharedWithMe finds a folder that is shared with the account, which stands in no folder of its own Drive. It returns
// nil if there is none, and the oldest of several.
func (t *folderCache) sharedWithMe(ctx context.Context, name string) (found *drive.File, err error) {
	err = t.site.attempt(ctx, func() error {
		found = nil
		return t.site.api.Files.List().
			Q("sharedWithMe = true and trashed = false and mimeType = "+quote(folderType)+" and "+named(name)).
			PageSize(1000).Fields("nextPageToken,files(id,name,mimeType,createdTime,parents)").
			SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
			Pages(ctx, func(page *drive.FileList) error {
				for _, f := range page.Files {
					if sameName(f.Name, name) && (found == nil || entryOf(f).older(entryOf(found))) {
						found = f
					}
				}
				return nil
			})
	})
	return found, err
}

// removeBelow forgets where the path, and all below it, leads to.
func (t *folderCache) removeBelow(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := normalize(p)
	maps.DeleteFunc(t.paths, func(known string, _ *location) bool {
		return known == key || strings.HasPrefix(known, key+"/")
	})
}

// invalidate makes sure that the path, and what is above it, is looked up again.
func (t *folderCache) invalidate(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := normalize(p)
	for at := key; at != "/" && at != "."; at = path.Dir(at) {
		if l := t.paths[at]; l != nil {
			l.seen = time.Now().Add(-folderTTL)
			if at != key {
				l.folder.listed = time.Time{}
			}
		}
	}
}

// findExisting returns the folder at a path, nil if there is none. Nothing is created.
func (t *folderCache) findExisting(ctx context.Context, p string) (*folder, error) {
	if f, ok := t.cached(p, folderTTL); ok {
		return f, nil
	}
	if !t.mayCreate(p) {
		return t.resolve(ctx, p)
	}
	parent, err := t.findExisting(ctx, path.Dir(p))
	if err != nil || parent == nil {
		return nil, err
	}
	items, err := t.lookup(ctx, parent, path.Base(p), folderItem, nil)
	if err != nil {
		return nil, err
	}
	e, f := items[folderItem], (*folder)(nil)
	if e.id != "" {
		f = t.folder(e.id, parent.driveID)
	} else if e = items[shortcutItem]; e.id == "" {
		return nil, nil
	} else if f, err = t.follow(ctx, e.id, p, parent); errors.Is(err, errCacheInvalid) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return t.found(p, &location{folder: f, above: parent.id, item: e.id, parent: parent.id}), nil
}

// normalize is what a name, or a path, is known by: Drive keeps the composed and the decomposed form of a letter apart
// (macOS writes the latter), but they look the same to people, and are one name to us.
func normalize(name string) string { return norm.NFC.String(name) }

// sameName reports whether two names are one to people.
func sameName(a, b string) bool { return a == b || normalize(a) == normalize(b) }

// named is the condition of a query for what has the name in any form. Drive ignores case there, so that more may be
// found.
func named(name string) string {
	var forms []string
	for _, form := range []string{name, norm.NFC.String(name), norm.NFD.String(name)} {
		if cond := "name = " + quote(form); !slices.Contains(forms, cond) {
			forms = append(forms, cond)
		}
	}
	if len(forms) == 1 {
		return forms[0]
	}
	return "(" + strings.Join(forms, " or ") + ")"
}

// quote writes a text as a string of Drive's query language.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
