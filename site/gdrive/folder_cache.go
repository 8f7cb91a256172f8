package gdrive

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/cond"
)

const (
	// folderType is the MIME type that makes a file a folder, shortcutType the one of shortcuts, and googleTypes is
	// what the types of all begin with that has no content of its own: these, Google's documents and those of apps.
	folderType   = googleTypes + "folder"
	shortcutType = googleTypes + "shortcut"
	googleTypes  = "application/vnd.google-apps."

	// listingLag is how long a listing may lack what was created, on shared drives by Google's word. For as
	// long our own memory of it counts more.
	listingLag = time.Hour

	// evictInterval is how often unused entries are evicted.
	evictInterval = 10 * time.Minute

	// maxCacheBytes bounds what is cached of Drive, estimated. What is evicted before listings show it is still in the
	// journal.
	maxCacheBytes = 8 << 20

	// What a folder takes, and as much again its path, an entry in it, and the hash of a name, bytes, about.
	folderCost, entryCost, nameCost = 300, 320, 32
)

// folderCache caches folders by path and what is in them, so that a new file in a known folder costs one request. Each
// folder is looked up and created once, however many files wait for it.
type folderCache struct {
	site     *Site
	busy     cond.KeyedMutex // what is being found out
	maxBytes int             // bytes
	seed     maphash.Seed

	mu      sync.Mutex
	paths   map[string]*location // by normalize of the path
	folders map[string]*folder   // by id
	evicted time.Time
	learnt  int // bytes since then
}

// folder is a folder on Drive, and what we know to be in it, wherever it is itself. Names are normalized.
type folder struct {
	id      string
	driveID string // of the shared drive it is in; empty in My Drive

	// Guarded by folderCache.mu.
	used    time.Time            // when it was last asked for
	entries map[item]entry       // what we know to be in it
	asked   map[string]time.Time // names of which entries had all that there was then
	doubted map[string]bool      // names of which we know nothing, whatever a listing said
	names   map[uint64]uint32    // hashes of all names in it; of those that we put there with the time
	listed  time.Time            // when names was complete; zero if it never was
	stays   time.Duration        // how long that is taken to be so still
	tooLong bool                 // too long to be listed: each name is asked for
}

// itemKind is what something on Drive is good for. Several may have one name, of a kind and of several kinds: a folder
// is wanted as a folder and a file as a file, whichever is older.
type itemKind uint8

const (
	fileItem     itemKind = iota // has content
	folderItem                   // is a folder
	shortcutItem                 // is a shortcut to a folder
	otherItem                    // is none of these, such as a Google Doc: nothing is ever written to it
	itemKinds
)

func kindOf(f *drive.File) itemKind {
	switch {
	case f.MimeType == folderType:
		return folderItem
	case f.MimeType == shortcutType && f.ShortcutDetails != nil && f.ShortcutDetails.TargetMimeType == folderType:
		return shortcutItem
	case strings.HasPrefix(f.MimeType, googleTypes):
		return otherItem
	}
	return fileItem
}

// item is what something in a folder is known by.
type item struct {
	name string
	kind itemKind
}

// items are what has one name in a folder, by kind; without an id there is none.
type items [itemKinds]entry

// entry is something in a folder; the oldest of several of its kind and name.
type entry struct {
	id      string
	kind    itemKind
	unshown bool // Drive has not shown it there since we wrote it
	size    int64
	md5     digest    // of a file's content when it was seen
	created int64     // ms since 1970, to find the oldest
	seen    time.Time // when it was last known to be there
	written time.Time // when we put it there; zero if we did not
}

func newFolderCache(s *Site) *folderCache {
	return &folderCache{site: s, maxBytes: maxCacheBytes, seed: maphash.MakeSeed(),
		paths: map[string]*location{}, folders: map[string]*folder{}, evicted: time.Now()}
}

func entryOf(f *drive.File) entry {
	e := entry{id: f.Id, kind: kindOf(f), size: f.Size, md5: parseDigest(f.Md5Checksum)}
	if created, err := time.Parse(time.RFC3339, f.CreatedTime); err == nil {
		e.created = created.UnixMilli()
	}
	return e
}

// older orders entries of one name: the oldest counts, so that all readers find the same.
func (e entry) older(than entry) bool {
	if e.created != than.created {
		return e.created < than.created
	}
	return e.id < than.id
}

// isConfirmed reports whether Drive has shown the entry in its place a moment ago, and nothing was written to it since.
func (e entry) isConfirmed() bool { return !e.unshown && time.Since(e.seen) < confirmedTTL }

func (t *folderCache) isFresh(seen time.Time) bool { return time.Since(seen) < folderTTL }

func (t *folderCache) hash(key string) uint64 { return maphash.String(t.seed, key) }

// hours is a time as names has it: in hours, rounded up.
func hours(at time.Time) uint32 { return uint32(at.Unix()/3600) + 1 }

// folder returns what we know of a folder.
func (t *folderCache) folder(id, driveID string) *folder {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.folders[id]
	if f == nil {
		f = &folder{id: id, driveID: driveID}
		t.folders[id] = f
		t.grow(folderCost)
	}
	f.used = time.Now()
	return f
}

// grow records that the cache has grown, and evicts if it is due. t.mu must be held.
func (t *folderCache) grow(bytes int) {
	if t.learnt += bytes; t.learnt > t.maxBytes/8 || time.Since(t.evicted) > evictInterval {
		t.evict()
	}
}

// evict removes what was not used for longer than a listing may lag. If that is not enough, it first removes the
// entries of the least recently used folders, and then these folders. t.mu must be held.
func (t *folderCache) evict() {
	t.evicted, t.learnt = time.Now(), 0
	maps.DeleteFunc(t.paths, func(_ string, l *location) bool { return time.Since(l.seen) > listingLag })
	maps.DeleteFunc(t.folders, func(_ string, f *folder) bool { return time.Since(f.used) > listingLag })
	known := folderCost * (len(t.paths) + len(t.folders))
	for _, f := range t.folders {
		maps.DeleteFunc(f.entries, func(_ item, e entry) bool {
			return !t.isFresh(e.seen) && time.Since(e.written) > listingLag
		})
		maps.DeleteFunc(f.asked, func(_ string, at time.Time) bool { return !t.isFresh(at) })
		known += f.cost()
	}
	byUse := slices.SortedFunc(maps.Values(t.folders), func(a, b *folder) int { return a.used.Compare(b.used) })
	for _, f := range byUse {
		if known <= t.maxBytes*3/4 {
			break
		}
		known -= f.cost()
		f.entries, f.asked = nil, nil
		known += f.cost()
	}
	for _, f := range byUse {
		if known <= t.maxBytes*3/4 {
			break
		}
		// Uploads into it may be running: they record what they did when they are done, and what else is in it is
		// looked up again then.
		known -= f.cost() + 2*folderCost
		f.listed, f.names, f.doubted = time.Time{}, nil, nil
		delete(t.folders, f.id)
	}
	maps.DeleteFunc(t.paths, func(_ string, l *location) bool { return t.folders[l.folder.id] == nil })
	t.site.ids.evict(func(id string) bool { return t.folders[id] != nil })
}

// cost is the estimated memory of a folder, in bytes, without its path.
func (f *folder) cost() int {
	return entryCost*len(f.entries) + entryCost/2*(len(f.asked)+len(f.doubted)) + nameCost*len(f.names)
}

// current returns the memory of a folder, also if f was forgotten meanwhile. t.mu must be held.
func (t *folderCache) current(f *folder) *folder {
	if now := t.folders[f.id]; now != nil {
		return now
	}
	t.folders[f.id] = f
	f.used = time.Now()
	t.grow(folderCost)
	return f
}

// put records what we put into a folder.
func (t *folderCache) put(f *folder, name string, e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, key := t.current(f), normalize(name)
	e.seen, e.written, e.unshown = time.Now(), time.Now(), true
	set(&f.entries, item{key, e.kind}, e)
	f.addName(t.hash(key), hours(e.written))
	t.grow(entryCost + nameCost)
}

func (f *folder) addName(hash uint64, at uint32) { set(&f.names, hash, max(f.names[hash], at)) }

// set sets a key of a map that may be nil still.
func set[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// remove removes a name in a folder from the cache, because it turned out to be gone or something else.
func (t *folderCache) remove(f *folder, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, key := t.current(f), normalize(name)
	for kind := range itemKinds {
		delete(f.entries, item{key, kind})
	}
	delete(f.asked, key)
	delete(f.names, t.hash(key))
	set(&f.doubted, key, true)
}

// mayHave reports whether something of the name is in a folder as far as we know, or was put there by us.
func (t *folderCache) mayHave(folder, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.folders[folder]
	if f == nil {
		return false
	}
	_, ok := f.names[t.hash(normalize(name))]
	return ok
}

// get returns what is known of a name in a folder, and whether that is fresh for a caller that wants something of the
// kind.
func (t *folderCache) get(f *folder, name string, want itemKind) (known items, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, key := t.current(f), normalize(name)
	for kind := range itemKinds {
		known[kind] = f.entries[item{key, kind}]
	}
	_, there := f.names[t.hash(key)]
	switch {
	case known[want].id != "" && t.isFresh(known[want].seen):
		return known, true
	case t.isFresh(f.asked[key]):
		return known, true
	case f.doubted[key] || there:
		return known, false
	}
	return known, f.isListed()
}

// isListed reports whether we know which names are in the folder. t.mu must be held.
func (f *folder) isListed() bool { return time.Since(f.listed) < max(f.stays, folderTTL) }

const (
	// maxListed is the maximum number of names listed in a folder. In a longer one each name is looked up.
	maxListed = 50_000

	// maxEntries is up to how many names it is remembered what has them. Of longer folders only which names there are.
	maxEntries = 5_000

	// sparePages is how many pages more than one for each ten entries are read of a listing. Drive may send short
	// pages, also empty ones.
	sparePages = 100

	// listAgain is how often a listing begins anew that Drive does not go on with.
	listAgain = 3

	// maxAsked and maxQuery bound a query for names: how many, and its length in bytes.
	maxAsked = 30
	maxQuery = 2000
)

// lookup finds what has a name in a folder, for a caller that wants something of a kind. The first lookup lists the
// folder, which answers all later ones. Where that is not enough it queries the name, and with it the names that also
// returns, which are looked up next; also may be nil.
func (t *folderCache) lookup(ctx context.Context, f *folder, name string, want itemKind,
	also func() []string) (items, error) {
	found, ok := t.get(f, name, want)
	if ok {
		return found, nil
	}
	unlock, err := t.busy.Lock(ctx, "folder "+f.id)
	if err != nil {
		return items{}, err
	}
	defer unlock()
	if found, ok = t.get(f, name, want); ok {
		return found, nil
	}
	if t.mayList(f) {
		if err := t.list(ctx, f, nil); err != nil {
			return items{}, err
		}
		if found, ok = t.get(f, name, want); ok {
			return found, nil
		}
	}
	names := []string{name}
	length := len(named(name))
	if also != nil {
		for _, other := range also() {
			if _, ok := t.get(f, other, want); ok || other == name {
				continue
			}
			if length += len(named(other)); length > maxQuery || len(names) == maxAsked {
				break
			}
			names = append(names, other)
		}
	}
	if err := t.list(ctx, f, names); err != nil {
		return items{}, err
	}
	found, _ = t.get(f, name, want)
	return found, nil
}

// mayList reports whether listing the folder can add to what is known.
func (t *folderCache) mayList(f *folder) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f = t.current(f)
	return !f.tooLong && !f.isListed()
}

// list reads what is in a folder: all of it, or what has the names if some are given.
func (t *folderCache) list(ctx context.Context, f *folder, names []string) error {
	q := quote(f.id) + " in parents and trashed = false"
	wanted := map[string]bool{}
	var conditions []string
	for _, name := range names {
		wanted[normalize(name)] = true
		conditions = append(conditions, named(name))
	}
	if len(names) > 0 {
		q = "(" + strings.Join(conditions, " or ") + ") and " + q
	}
	asked := time.Now()
	found, pages, complete, err := t.read(ctx, f, q, wanted, asked)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f = t.current(f)
	for at, old := range f.entries {
		if (len(names) == 0 || wanted[at.name]) && time.Since(old.written) < listingLag {
			if e, ok := found[at]; !ok || !e.older(old) {
				old.seen, old.unshown = asked, !ok || e.id != old.id
				found[at] = old
			}
		}
	}
	if len(names) > 0 {
		for key := range wanted {
			for kind := range itemKinds {
				delete(f.entries, item{key, kind})
			}
			delete(f.doubted, key)
			set(&f.asked, key, asked)
		}
		for at, e := range found {
			set(&f.entries, at, e)
			f.addName(t.hash(at.name), 0)
		}
		t.grow((len(found) + len(names)) * entryCost)
		return nil
	}
	f.tooLong, f.asked, f.doubted = !complete, nil, nil
	maps.DeleteFunc(f.names, func(_ uint64, at uint32) bool { return at < hours(asked.Add(-listingLag)) })
	f.entries = nil
	for at, e := range found {
		if complete {
			f.addName(t.hash(at.name), 0)
		}
		if len(found) <= maxEntries || time.Since(e.written) < listingLag {
			set(&f.entries, at, e)
		}
	}
	t.grow(f.cost())
	if complete {
		// A long folder takes so many requests that it is not listed again soon.
		f.listed, f.stays = asked, max(folderTTL, time.Duration(pages)*time.Minute)
	}
	return nil
}

// read reads the pages of a listing that is asked for now, of the names that are wanted if there are any, and the
// oldest of each kind and name.
func (t *folderCache) read(ctx context.Context, f *folder, q string,
	wanted map[string]bool, asked time.Time) (found map[item]entry, pages int, complete bool, err error) {
	page := &drive.FileList{}
	found = map[item]entry{}
	for again := 0; ; {
		token := page.NextPageToken
		err := t.site.attempt(ctx, func() (err error) {
			page, err = t.site.listPage(ctx, q, f.driveID, "id,name,mimeType,size,md5Checksum,createdTime,"+
				"shortcutDetails/targetMimeType", token)
			return err
		})
		if token != "" && (isNotFound(err) || hasStatus(err, http.StatusBadRequest)) && again < listAgain {
			// Drive has lost the listing.
			again++
			page, pages, found = &drive.FileList{}, 0, map[item]entry{}
			continue
		}
		if isNotFound(err) {
			err = fmt.Errorf("%w: %v", errCacheInvalid, err)
		}
		if err != nil {
			return nil, 0, false, err
		}
		pages++
		for _, df := range page.Files {
			e := entryOf(df)
			e.seen = asked
			at := item{normalize(df.Name), e.kind}
			if len(wanted) > 0 && !wanted[at.name] {
				continue // another name but for the case
			}
			if old, ok := found[at]; !ok || e.older(old) {
				found[at] = e
			}
		}
		if page.NextPageToken == "" {
			return found, pages, true, nil
		}
		if len(found) > maxListed || pages > sparePages+len(found)/10 {
			return found, pages, false, nil
		}
	}
}

// listPage asks for a page of a listing: the fields of what a query finds, on a shared drive if driveID is not empty.
func (s *Site) listPage(ctx context.Context, q, driveID, fields, token string) (*drive.FileList, error) {
	list := s.api.Files.List().Q(q).PageSize(1000).PageToken(token).
		Fields(googleapi.Field("nextPageToken,files(" + fields + ")")).
		SupportsAllDrives(true).IncludeItemsFromAllDrives(true)
	if driveID != "" {
		list = list.Corpora("drive").DriveId(driveID)
	}
	return list.Context(ctx).Do()
}
