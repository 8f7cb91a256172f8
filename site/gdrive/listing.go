package gdrive

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"
)

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
	if found, ok := t.get(f, name, want); ok {
		return found, nil
	}
	unlock, err := t.busy.lock(ctx, "folder "+f.id)
	if err != nil {
		return items{}, err
	}
	defer unlock()
	found, ok := t.get(f, name, want)
	if ok {
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
	found, pages, complete, err := t.read(ctx, f, q, wanted)
	if err != nil {
		return err
	}
	for at, e := range found {
		e.seen = asked
		found[at] = e
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
			if f.asked == nil {
				f.asked = map[string]time.Time{}
			}
			f.asked[key] = asked
		}
		for at, e := range found {
			f.put(at, e)
			f.addName(t.hash(at.name), 0)
		}
		t.grow((len(found) + len(names)) * entryCost)
		return nil
	}
	f.tooLong, f.asked, f.doubted = !complete, nil, nil
	known := map[uint64]uint32{}
	for hash, at := range f.names {
		if at >= hours(asked.Add(-listingLag)) {
			known[hash] = at
		}
	}
	f.names, f.entries = known, nil
	for at, e := range found {
		if complete {
			f.addName(t.hash(at.name), 0)
		}
		if len(found) <= maxEntries || time.Since(e.written) < listingLag {
			f.put(at, e)
		}
	}
	t.grow(f.cost())
	if complete {
		// A long folder takes so many requests that it is not listed again soon.
		f.listed, f.stays = asked, max(folderTTL, time.Duration(pages)*time.Minute)
	}
	return nil
}

// read reads the pages of a listing, of the names that are wanted if there are any, and the oldest of each kind and
// name.
func (t *folderCache) read(ctx context.Context, f *folder, q string,
	wanted map[string]bool) (found map[item]entry, pages int, complete bool, err error) {
	page := &drive.FileList{}
	found = map[item]entry{}
	for again := 0; ; {
		token := page.NextPageToken
		err := t.site.call(ctx, func(ctx context.Context) (err error) {
			list := t.site.api.Files.List().Q(q).PageSize(1000).PageToken(token).
				Fields("nextPageToken,files(id,name,mimeType,size,md5Checksum,createdTime," +
					"shortcutDetails/targetMimeType)").
				SupportsAllDrives(true).IncludeItemsFromAllDrives(true)
			if f.driveID != "" {
				list = list.Corpora("drive").DriveId(f.driveID)
			}
			page, err = list.Context(ctx).Do()
			return err
		})
		if token != "" && (isNotFound(err) || hasStatus(err, http.StatusBadRequest)) && again < listAgain {
			// Drive has lost the listing.
			again++
			page, pages, found = &drive.FileList{}, 0, map[item]entry{}
			continue
		}
		if isNotFound(err) {
			return nil, 0, false, fmt.Errorf("%w: %v", errCacheInvalid, err)
		}
		if err != nil {
			return nil, 0, false, err
		}
		pages++
		for _, df := range page.Files {
			e := entryOf(df)
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
