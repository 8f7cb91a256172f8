package gdrive

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/api/drive/v3"

	"sitesync/uploader/site"
)

// folderType is the MIME type that makes a file a folder.
const folderType = "application/vnd.google-apps.folder"

// knownFor is how long it is believed that a folder holds nothing but what we know of, as somebody else may
// put files there.
const knownFor = 5 * time.Minute

// myDrive is how a root names the account's own Drive.
const myDrive = "My Drive"

// tree remembers folders by path and what is in them, so that a new file in a known folder costs one
// request. Folders are looked up and created once, however many files wait for them.
type tree struct {
	site    *Site
	flights singleflight.Group // by what is being found out

	mu      sync.Mutex
	folders map[string]*folder // by path
}

// folder is a folder on Drive.
type folder struct {
	id      string
	driveID string // of the shared drive it is in; empty in My Drive

	// Guarded by tree.mu.
	entries map[string]entry // what we know to be in it, by name
	listed  time.Time        // when entries was complete; zero if it never was
	long    bool             // too long to be listed; names are looked up one by one
}

// entry is a file or folder in a folder.
type entry struct {
	id      string
	folder  bool
	size    int64
	created string // RFC 3339, to tell the oldest of several of one name
}

func newTree(s *Site) *tree { return &tree{site: s, folders: map[string]*folder{}} }

func entryOf(f *drive.File) entry {
	return entry{id: f.Id, folder: f.MimeType == folderType, size: f.Size, created: f.CreatedTime}
}

// once runs find for the first of those who want the same thing at the same time, and gives all of them
// what came of it. It goes on if the first one gives up.
func (t *tree) once(ctx context.Context, what string, find func(context.Context) (any, error)) (any, error) {
	ch := t.flights.DoChan(what, func() (any, error) { return find(context.WithoutCancel(ctx)) })
	select {
	case r := <-ch:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// resolve returns the folder at a path. Below the site's roots it is created if it is not there; a root
// that is missing is a trouble of the site, not something to be made up for a typing error.
func (t *tree) resolve(ctx context.Context, p string) (*folder, error) {
	t.mu.Lock()
	f := t.folders[p]
	t.mu.Unlock()
	if f != nil {
		return f, nil
	}
	v, err := t.once(ctx, "folder "+p, func(ctx context.Context) (any, error) { return t.find(ctx, p) })
	if err != nil {
		return nil, err
	}
	return v.(*folder), nil
}

func (t *tree) find(ctx context.Context, p string) (*folder, error) {
	parentPath, name := path.Dir(p), path.Base(p)
	var f *folder
	var err error
	if parentPath == "/" {
		f, err = t.top(ctx, name)
	} else {
		var parent *folder
		if parent, err = t.resolve(ctx, parentPath); err == nil {
			f, err = t.child(ctx, parent, p)
		}
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.folders[p] = f
	return f, nil
}

// top returns what a path's first component names: My Drive or a shared drive.
func (t *tree) top(ctx context.Context, name string) (*folder, error) {
	if name == myDrive {
		return &folder{id: "root", entries: map[string]entry{}}, nil
	}
	var found *drive.Drive
	err := t.site.call(ctx, func(ctx context.Context) error {
		found = nil
		return t.site.api.Drives.List().PageSize(100).Fields("nextPageToken,drives(id,name)").Context(ctx).
			Pages(ctx, func(page *drive.DriveList) error {
				for _, d := range page.Drives {
					if d.Name == name && found == nil {
						found = d
					}
				}
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("list shared drives: %w", err)
	}
	if found == nil {
		return nil, site.Classed(site.Held, fmt.Errorf("no shared drive %q that %s is a member of: add it as Content manager, "+
			"or mend root in gdrive.json", name, t.site.Account()))
	}
	return &folder{id: found.Id, driveID: found.Id, entries: map[string]entry{}}, nil
}

// child returns the folder at a path whose parent is known.
func (t *tree) child(ctx context.Context, parent *folder, p string) (*folder, error) {
	name := path.Base(p)
	e, found, err := t.lookup(ctx, parent, name)
	if err == nil && !found && path.Dir(p) == "/"+myDrive {
		e, found, err = t.sharedWithMe(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up folder %s: %w", p, err)
	}
	if found && !e.folder {
		return nil, fmt.Errorf("%s is a file on Drive, not a folder", p)
	}
	if found {
		return &folder{id: e.id, driveID: parent.driveID, entries: map[string]entry{}}, nil
	}
	if !t.mayCreate(p) {
		return nil, rootMissing(p)
	}
	id, err := t.site.ids.take(ctx)
	if err != nil {
		return nil, err
	}
	err = t.site.call(ctx, func(ctx context.Context) error {
		_, err := t.site.api.Files.Create(&drive.File{Id: id, Name: name, MimeType: folderType, Parents: []string{parent.id}}).
			SupportsAllDrives(true).Fields("id").Context(ctx).Do()
		return err
	})
	if isNotFound(err) {
		return nil, fmt.Errorf("%w: %v", errStale, err) // the parent has gone
	}
	if err != nil && !isConflict(err) { // a conflict: an earlier attempt made it and its answer was lost
		return nil, fmt.Errorf("create folder %s: %w", p, err)
	}
	t.remember(parent, name, entry{id: id, folder: true})
	// We made it, so we know that nothing is in it.
	return &folder{id: id, driveID: parent.driveID, entries: map[string]entry{}, listed: time.Now()}, nil
}

// mayCreate reports whether the path is below a root.
func (t *tree) mayCreate(p string) bool {
	for _, root := range t.site.roots {
		if strings.HasPrefix(p, root+"/") {
			return true
		}
	}
	return false
}

// lookup finds a name in a folder. The folder is listed at the first look, which answers all later ones; in
// one with more entries than a page holds, names that are not on the page are looked up one by one.
func (t *tree) lookup(ctx context.Context, f *folder, name string) (entry, bool, error) {
	for {
		t.mu.Lock()
		e, ok := f.entries[name]
		known, long := time.Since(f.listed) < knownFor, f.long
		t.mu.Unlock()
		switch {
		case ok:
			return e, true, nil
		case known:
			return entry{}, false, nil
		case long:
			files, _, err := t.list(ctx, f, "name = "+quote(name)+" and ")
			if err != nil {
				return entry{}, false, err
			}
			t.add(f, files)
			t.mu.Lock()
			e, ok = f.entries[name]
			t.mu.Unlock()
			return e, ok, nil
		}
		_, err := t.once(ctx, "list "+f.id, func(ctx context.Context) (any, error) {
			files, complete, err := t.list(ctx, f, "")
			if err != nil {
				return nil, err
			}
			t.add(f, files)
			t.mu.Lock()
			defer t.mu.Unlock()
			if complete {
				f.listed = time.Now()
			} else {
				f.long = true
			}
			return nil, nil
		})
		if err != nil {
			return entry{}, false, err
		}
	}
}

// list asks for up to a page of what is in a folder, and tells whether that was all.
func (t *tree) list(ctx context.Context, f *folder, condition string) (files []*drive.File, complete bool, err error) {
	err = t.site.call(ctx, func(ctx context.Context) error {
		q := t.site.api.Files.List().Q(condition + quote(f.id) + " in parents and trashed = false").
			PageSize(1000).Fields("nextPageToken,files(id,name,mimeType,size,createdTime)").
			SupportsAllDrives(true).IncludeItemsFromAllDrives(true)
		if f.driveID != "" {
			q = q.Corpora("drive").DriveId(f.driveID)
		}
		page, err := q.Context(ctx).Do()
		if err != nil {
			return err
		}
		files, complete = page.Files, page.NextPageToken == ""
		return nil
	})
	if isNotFound(err) {
		return nil, false, fmt.Errorf("%w: %v", errStale, err)
	}
	return files, complete, err
}

// sharedWithMe finds a folder that somebody has shared with the account, which stands in no folder of its
// own Drive.
func (t *tree) sharedWithMe(ctx context.Context, name string) (e entry, found bool, err error) {
	err = t.site.call(ctx, func(ctx context.Context) error {
		page, err := t.site.api.Files.List().
			Q("sharedWithMe = true and trashed = false and mimeType = " + quote(folderType) + " and name = " + quote(name)).
			PageSize(1000).Fields("files(id,name,mimeType,createdTime)").
			SupportsAllDrives(true).IncludeItemsFromAllDrives(true).Context(ctx).Do()
		if err != nil {
			return err
		}
		for _, f := range page.Files {
			if f.Name == name && (!found || f.CreatedTime < e.created) {
				e, found = entryOf(f), true
			}
		}
		return nil
	})
	return e, found, err
}

// add takes in what was listed. What we created ourselves stays, as listings lag behind. Of several entries
// of one name the oldest counts, so that everybody who looks finds the same.
func (t *tree) add(f *folder, files []*drive.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, df := range files {
		if old, ok := f.entries[df.Name]; !ok || old.created != "" && df.CreatedTime < old.created {
			f.entries[df.Name] = entryOf(df)
		}
	}
}

// remember takes in what we put into a folder.
func (t *tree) remember(f *folder, name string, e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.entries[name] = e
}

// drop forgets one entry of a folder, which turned out to be gone.
func (t *tree) drop(f *folder, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(f.entries, name)
	f.listed = time.Time{}
}

// forget makes the path, what is above it and what is below it be looked up anew.
func (t *tree) forget(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for known := range t.folders {
		if known == p || strings.HasPrefix(p, known+"/") || strings.HasPrefix(known, p+"/") {
			delete(t.folders, known)
		}
	}
}
