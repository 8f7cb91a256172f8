package gdrive

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/drive/v3"

	"sitesync/uploader/site"
)

const (
	// folderType is the MIME type that makes a file a folder.
	folderType = "application/vnd.google-apps.folder"

	// myDrive is how a root names the account's own Drive.
	myDrive = "My Drive"

	// freshFor is how long what was seen on Drive is taken to be so still, as others work there too.
	freshFor = 5 * time.Minute

	// listingLag is how long a listing may lack what was created, on shared drives by Google's word. For as
	// long our own memory of it counts more.
	listingLag = time.Hour

	// maxPages is how many pages of up to 1000 entries are read of a folder. In a longer one each name is
	// looked up by itself.
	maxPages = 10

	// sweepEvery is how often what is of no more use is forgotten.
	sweepEvery = 10 * time.Minute

	// mostKnown is how many folders, and names in them, are remembered at the most: about 5 MB. What is forgotten
	// before listings show it is still in the journal.
	mostKnown = 10_000
)

// tree remembers folders by path and what is in them, so that a new file in a known folder costs one
// request. Folders are looked up and created once, however many files wait for them.
type tree struct {
	site  *Site
	busy  keyedMutex // what is being found out
	fresh time.Duration
	most  int

	mu      sync.Mutex
	folders map[string]*folder // by path
	swept   time.Time
	learnt  int // folders and names since then
}

// folder is a folder on Drive.
type folder struct {
	id      string
	driveID string // of the shared drive it is in; empty in My Drive
	parent  string // the folder it is in; empty if we don't see it

	// Guarded by tree.mu.
	seen    time.Time        // when it was last known to be at its path
	used    time.Time        // when it was last asked for
	entries map[string]entry // what we know to be in it, by name
	listed  time.Time        // when entries was complete; zero if it never was
	long    bool             // longer than maxPages
}

// entry is a file or folder in a folder.
type entry struct {
	id      string
	folder  bool
	size    int64
	md5     digest    // of a file's content when it was seen
	created string    // RFC 3339, to tell the oldest of several of one name
	seen    time.Time // when it was last known to be there
	written time.Time // when we put it there; zero if we did not
}

func newTree(s *Site) *tree {
	return &tree{site: s, fresh: freshFor, most: mostKnown, folders: map[string]*folder{}}
}

func (t *tree) isFresh(seen time.Time) bool { return time.Since(seen) < t.fresh }

// coming is what is about to be created in a folder.
type coming struct {
	folder string // its path
	names  func() []string
}

// inside tells the names of what will be created in the folder at a path, which is the one or is above it: those of the
// folders between the two, each in the one before, and then those in the folder.
func (c *coming) inside(p string) func() [][]string {
	if c == nil {
		return nil
	}
	return func() [][]string {
		names := [][]string{c.names()}
		for at := c.folder; at != p; at = path.Dir(at) {
			names = append(names, []string{path.Base(at)})
		}
		slices.Reverse(names)
		return names
	}
}

// resolve returns the folder at a path. Below the site's roots it is created if it is not there; a root
// that is missing is a trouble of the site, not something to be made up for a typing error.
func (t *tree) resolve(ctx context.Context, p string) (*folder, error) {
	return t.resolveFor(ctx, p, nil)
}

// resolveFor is resolve for somebody who will create something in the folder; nil if that is not known.
func (t *tree) resolveFor(ctx context.Context, p string, c *coming) (*folder, error) {
	if f, fresh := t.cached(p); fresh {
		return f, nil
	}
	unlock, err := t.busy.lock(ctx, "path "+p)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f, fresh := t.cached(p); fresh {
		return f, nil
	}
	f, err := t.find(ctx, p, c)
	if err != nil && !t.mayCreate(p) {
		return nil, ofRoot(err) // a root, or above one
	}
	if err != nil {
		return nil, err
	}
	return t.found(p, f), nil
}

// found takes note of the folder at a path. It returns the one that is remembered, with what we know of it.
func (t *tree) found(p string, f *folder) *folder {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.folders[p]; old != nil && old.id == f.id {
		f = old
	}
	f.seen, f.used = time.Now(), time.Now()
	t.folders[p] = f
	t.learn(1)
	return f
}

// learn takes note of how much was learnt, and forgets other things when it is much. t.mu must be held.
func (t *tree) learn(n int) {
	if t.learnt += n; t.learnt > t.most/2 || time.Since(t.swept) > sweepEvery {
		t.sweep()
	}
}

// sweep forgets what was not used for longer than a listing may lag and, where that is not enough, the folders that
// were not used for the longest time. t.mu must be held.
func (t *tree) sweep() {
	t.swept, t.learnt = time.Now(), 0
	maps.DeleteFunc(t.folders, func(_ string, f *folder) bool { return time.Since(f.seen) > listingLag })
	known := len(t.folders)
	for _, f := range t.folders {
		maps.DeleteFunc(f.entries, func(_ string, e entry) bool {
			return !t.isFresh(e.seen) && time.Since(e.written) > listingLag
		})
	}
	for _, f := range t.folders {
		known += len(f.entries)
	}
	byUse := slices.SortedFunc(maps.Keys(t.folders), func(a, b string) int { return t.folders[a].used.Compare(t.folders[b].used) })
	for _, p := range byUse {
		if known <= t.most/2 {
			break
		}
		known -= 1 + len(t.folders[p].entries)
		delete(t.folders, p)
	}
	inUse := map[string]bool{}
	for _, f := range t.folders {
		inUse[f.id] = true
	}
	t.site.ids.sweep(func(id string) bool { return inUse[id] })
}

// cached returns the folder that we know at a path, nil if we know none, and whether there is no need to
// look again.
func (t *tree) cached(p string) (f *folder, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f = t.folders[p]; f != nil {
		f.used = time.Now()
	}
	return f, f != nil && t.isFresh(f.seen)
}

// find finds the folder at a path on Drive, or creates it.
func (t *tree) find(ctx context.Context, p string, c *coming) (*folder, error) {
	if path.Dir(p) == "/" {
		return t.top(ctx, path.Base(p))
	}
	parent, err := t.resolveFor(ctx, path.Dir(p), c)
	if err != nil {
		return nil, err
	}
	// This is asked only now, as a folder above that has gone takes it along.
	if old, _ := t.cached(p); old != nil {
		still, err := t.isStill(ctx, old, path.Base(p))
		if err != nil {
			return nil, fmt.Errorf("look up folder %s: %w", p, err)
		}
		if still {
			return old, nil
		}
		// Whoever took it away may have taken what is above it too, and nothing is to be made in there.
		t.doubt(path.Dir(p))
		if parent, err = t.resolveFor(ctx, path.Dir(p), c); err != nil {
			return nil, err
		}
		t.drop(parent, path.Base(p))
		t.dropBelow(p)
	}
	return t.child(ctx, parent, p, c)
}

// top returns what a path's first component names: My Drive or a shared drive.
func (t *tree) top(ctx context.Context, name string) (*folder, error) {
	if name == myDrive {
		root, err := t.site.get(ctx, "root", "id")
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", myDrive, err)
		}
		return &folder{id: root.Id}, nil
	}
	var ids []string
	err := t.site.call(ctx, func(ctx context.Context) error {
		ids = nil
		return t.site.api.Drives.List().PageSize(100).Fields("nextPageToken,drives(id,name)").
			Pages(ctx, func(page *drive.DriveList) error {
				for _, d := range page.Drives {
					if d.Name == name {
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
		return nil, site.HeldIn(site.OneRoot, fmt.Errorf("no shared drive %q that %s is a member of: add it as Content manager, "+
			"or mend root in gdrive.json", name, t.site.Account()))
	case 1:
		return &folder{id: ids[0], driveID: ids[0]}, nil
	}
	return nil, site.HeldIn(site.OneRoot, fmt.Errorf("%d shared drives are called %q: rename all but one", len(ids), name))
}

// child returns the folder at a path whose parent is known.
func (t *tree) child(ctx context.Context, parent *folder, p string, c *coming) (*folder, error) {
	name := path.Base(p)
	e, found, err := t.lookup(ctx, parent, name)
	if err != nil {
		return nil, fmt.Errorf("look up folder %s: %w", p, err)
	}
	if found && !e.folder && !t.mayCreate(p) {
		return nil, site.HeldIn(site.OneRoot, fmt.Errorf("%s is a file or a shortcut on Drive, not a folder: mend root in "+
			"gdrive.json, or put a folder there", p))
	}
	if found && !e.folder {
		return nil, site.Classed(site.File, fmt.Errorf("%s is a file on Drive, not a folder", p))
	}
	if found {
		return &folder{id: e.id, driveID: parent.driveID, parent: parent.id}, nil
	}
	if path.Dir(p) == "/"+myDrive {
		shared, err := t.sharedWithMe(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("look up shared folder %s: %w", p, err)
		}
		if shared != nil {
			return &folder{id: shared.Id, parent: parentOf(shared)}, nil
		}
	}
	if !t.mayCreate(p) {
		return nil, site.HeldIn(site.OneRoot, fmt.Errorf("there is no folder %s on Drive, or it is not shared with %s: create or "+
			"share it, or mend root in gdrive.json", p, t.site.Account()))
	}
	if err := mayCreate(ctx, path.Dir(p)); err != nil {
		return nil, err
	}
	f, err := t.create(ctx, parent, name, c.inside(p))
	if err != nil {
		return nil, fmt.Errorf("create folder %s: %w", p, ofCreation(err, path.Dir(p)))
	}
	return f, nil
}

// create makes a folder. If it is known what will be created in it, inside tells that; see idPool.reserve.
func (t *tree) create(ctx context.Context, parent *folder, name string, inside func() [][]string) (*folder, error) {
	at := place{parent.id, name}
	id, err := t.site.ids.reserve(ctx, at, nil, inside)
	if err != nil {
		return nil, err
	}
	var made *drive.File
	err = t.site.call(ctx, func(ctx context.Context) (err error) {
		made, err = t.site.api.Files.Create(&drive.File{Id: id, Name: name, MimeType: folderType, Parents: []string{parent.id}}).
			SupportsAllDrives(true).Fields(uploadFields).Context(ctx).Do()
		return err
	})
	f := &folder{id: id, driveID: parent.driveID, parent: parent.id}
	if isConflict(err) {
		// An earlier create did its work and its answer was lost.
		made, err = t.site.made(ctx, id)
	} else if err == nil {
		f.listed = time.Now() // we made it, so we know that nothing is in it
	}
	if isNotFound(err) || err == nil && (made.Trashed || parentOf(made) != parent.id || made.Name != name || made.MimeType != folderType) {
		if err != nil || !trashedAlong(made) {
			t.site.ids.release(at)
		}
		return nil, errStale
	}
	if err != nil {
		return nil, err
	}
	t.remember(parent, name, entry{id: id, folder: true, created: made.CreatedTime})
	t.site.ids.release(at)
	return f, nil
}

// mayCreate reports whether the path is below a root.
func (t *tree) mayCreate(p string) bool {
	return slices.ContainsFunc(t.site.roots, func(root string) bool { return strings.HasPrefix(p, root+"/") })
}

// isStill reports whether a folder is where it was, and nobody has renamed, moved, trashed or deleted it.
func (t *tree) isStill(ctx context.Context, f *folder, name string) (bool, error) {
	got, err := t.site.get(ctx, f.id, "name,trashed,parents")
	if isNotFound(err) {
		return false, nil
	}
	return err == nil && got.Name == name && !got.Trashed && parentOf(got) == f.parent, err
}

// parentOf is the folder that a file is in; empty if we don't see it.
func parentOf(f *drive.File) string {
	if len(f.Parents) == 0 {
		return ""
	}
	return f.Parents[0]
}

// lookup finds a name in a folder. The folder is listed at the first look, which answers all later ones.
func (t *tree) lookup(ctx context.Context, f *folder, name string) (e entry, found bool, err error) {
	e, found, known := t.known(f, name)
	if known {
		return e, found, nil
	}
	what := "folder " + f.id
	if t.isLong(f) {
		what += " " + name
	}
	unlock, err := t.busy.lock(ctx, what)
	if err != nil {
		return entry{}, false, err
	}
	defer unlock()
	if e, found, known = t.known(f, name); known {
		return e, found, nil
	}
	if !t.isLong(f) {
		if err := t.list(ctx, f, ""); err != nil {
			return entry{}, false, err
		}
	}
	if t.isLong(f) {
		if err := t.list(ctx, f, name); err != nil {
			return entry{}, false, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, found = f.entries[name]
	return e, found, nil
}

// known tells what we know of a name in a folder, if that is fresh.
func (t *tree) known(f *folder, name string) (e entry, found, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, found = f.entries[name]; found && t.isFresh(e.seen) {
		return e, true, true
	}
	return entry{}, false, t.isFresh(f.listed)
}

// has reports whether something of the name is in a folder as far as we know.
func (t *tree) has(f *folder, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, found := f.entries[name]
	return found
}

func (t *tree) isLong(f *folder) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.long
}

// list reads what is in a folder: all of it, or what has the name if one is given.
func (t *tree) list(ctx context.Context, f *folder, name string) error {
	q := quote(f.id) + " in parents and trashed = false"
	if name != "" {
		q = "name = " + quote(name) + " and " + q
	}
	asked := time.Now()
	entries := map[string]entry{}
	page := &drive.FileList{}
	for n := 0; n == 0 || page.NextPageToken != "" && n < maxPages; n++ {
		token := page.NextPageToken
		err := t.site.call(ctx, func(ctx context.Context) (err error) {
			list := t.site.api.Files.List().Q(q).PageSize(1000).PageToken(token).
				Fields("nextPageToken,files(id,name,mimeType,size,md5Checksum,createdTime)").
				SupportsAllDrives(true).IncludeItemsFromAllDrives(true)
			if f.driveID != "" {
				list = list.Corpora("drive").DriveId(f.driveID)
			}
			page, err = list.Context(ctx).Do()
			return err
		})
		if isNotFound(err) {
			return fmt.Errorf("%w: %v", errStale, err)
		}
		if err != nil {
			return err
		}
		for _, df := range page.Files {
			e := entryOf(df)
			e.seen = asked
			if old, ok := entries[df.Name]; !ok || e.older(old) {
				entries[df.Name] = e
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, old := range f.entries {
		if (name == "" || n == name) && time.Since(old.written) < listingLag {
			if e, ok := entries[n]; !ok || !e.older(old) {
				old.seen = asked
				entries[n] = old
			}
		}
	}
	if name != "" {
		delete(f.entries, name)
		maps.Copy(f.entries, entries)
		return nil
	}
	f.entries, f.long = entries, page.NextPageToken != ""
	t.learn(len(entries))
	if !f.long {
		f.listed = asked
	}
	return nil
}

func entryOf(f *drive.File) entry {
	return entry{id: f.Id, folder: f.MimeType == folderType, size: f.Size, md5: parseDigest(f.Md5Checksum), created: f.CreatedTime}
}

// older orders those of one name: the oldest counts, so that everybody who looks finds the same.
func (e entry) older(than entry) bool {
	if e.created != than.created {
		return e.created < than.created
	}
	return e.id < than.id
}

// sharedWithMe finds a folder that somebody has shared with the account, which stands in no folder of its
// own Drive. It returns nil if there is none, and the oldest of several.
func (t *tree) sharedWithMe(ctx context.Context, name string) (found *drive.File, err error) {
	err = t.site.call(ctx, func(ctx context.Context) error {
		found = nil
		return t.site.api.Files.List().
			Q("sharedWithMe = true and trashed = false and mimeType = "+quote(folderType)+" and name = "+quote(name)).
			PageSize(1000).Fields("nextPageToken,files(id,name,mimeType,createdTime,parents)").
			SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
			Pages(ctx, func(page *drive.FileList) error {
				for _, f := range page.Files {
					if f.Name == name && (found == nil || entryOf(f).older(entryOf(found))) {
						found = f
					}
				}
				return nil
			})
	})
	return found, err
}

// remember takes in what we put into a folder.
func (t *tree) remember(f *folder, name string, e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.seen, e.written = time.Now(), time.Now()
	if f.entries == nil {
		f.entries = map[string]entry{}
	}
	f.entries[name] = e
	t.learn(1)
}

// drop forgets one entry of a folder, which turned out to be gone.
func (t *tree) drop(f *folder, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(f.entries, name)
	f.listed = time.Time{}
}

// dropBelow forgets the path and what is below it.
func (t *tree) dropBelow(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for known := range t.folders {
		if known == p || strings.HasPrefix(known, p+"/") {
			delete(t.folders, known)
		}
	}
}

// doubt makes sure that the path, and what is above it, is looked at again.
func (t *tree) doubt(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for known, f := range t.folders {
		below := strings.HasPrefix(p, known+"/")
		if known == p || below {
			f.seen = time.Now().Add(-t.fresh)
		}
		if below {
			f.listed = time.Time{}
		}
	}
}
