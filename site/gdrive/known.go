package gdrive

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/drive/v3"

	"sitesync/cond"
	"sitesync/site"
)

const (
	// listFrom is of how many files of a folder the metadata is asked for with one listing. It counts as much against
	// Google's limits as that of twenty files, but is one request.
	listFrom = 8

	// filesPerPage is for how many files that are sought a page of a listing is read, so that a long folder is not
	// listed for a few of them. The first page always is.
	filesPerPage = 20

	// listedAgain is how soon a folder is listed again: what was not in it may be, or may be somewhere else.
	listedAgain = 10 * time.Second

	// maxKnown bounds the files whose metadata is remembered. Each takes some 400 bytes.
	maxKnown = 10_000
)

// knownFiles is the metadata of files that are about to be read, from listings, by id. What it says may be out of date:
// what is read is compared with it. Its zero value is ready.
type knownFiles struct {
	listing cond.KeyedMutex // by the path of the folder

	mu     sync.Mutex
	files  map[string]metadata
	listed map[string]time.Time // folders, by path
}

// find returns the metadata of a file with an id; none if that is empty. alone is called before it is asked for by
// itself.
func (k *knownFiles) find(ctx context.Context, s *Site, at site.Location, o site.OpenOptions,
	alone func()) (metadata, error) {
	if at.ID == "" {
		return metadata{}, nil
	}
	if m, ok := k.unopened(at.ID, o.Size); ok {
		return m, nil
	}
	if m, ok, err := k.list(ctx, s, at, o, alone); ok || err != nil {
		return m, err
	}
	alone()
	return s.metadata(ctx, at.ID)
}

// unopened returns what is known of a file, unless that is of another size than is expected, which is negative if
// unknown, or the file was opened since: whoever opens it again does so because it may have other content now.
func (k *knownFiles) unopened(id string, size int64) (metadata, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, ok := k.files[id]
	return m, ok && !m.opened.After(m.asked) && time.Since(m.asked) < folderTTL && (size < 0 || m.size == size)
}

// opened takes note that a file was opened.
func (k *knownFiles) opened(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m, ok := k.files[id]; ok {
		m.opened = time.Now()
		k.files[id] = m
	}
}

// forget drops what is known of a file, as it turned out to be wrong.
func (k *knownFiles) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.files, id)
}

// list lists the folder of a file if enough others in it are about to be opened, and returns the file's metadata then.
// Others wait meanwhile.
func (k *knownFiles) list(ctx context.Context, s *Site, at site.Location, o site.OpenOptions,
	alone func()) (m metadata, ok bool, err error) {
	if o.Siblings == nil {
		return m, false, nil
	}
	unknown := 1
	for _, other := range o.Siblings() {
		if _, ok := k.unopened(other.ID, -1); !ok && other.ID != at.ID {
			unknown++
		}
	}
	if unknown < listFrom {
		return m, false, nil
	}
	folder := at.Root + folderOf(at.Rel)
	unlock, err := k.listing.Lock(ctx, folder)
	if err != nil {
		return m, false, err
	}
	defer unlock()
	if m, ok := k.unopened(at.ID, o.Size); ok || k.wasListed(folder) {
		return m, ok, nil
	}
	alone()
	if m, err = s.metadata(ctx, at.ID); err != nil || m.parent == "" {
		return m, err == nil, err
	}
	// The listing only saves requests: if it fails, each file is asked for by itself.
	if err := k.read(ctx, s, m, max(1, unknown/filesPerPage)); err != nil && ctx.Err() != nil {
		return m, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.listed, func(_ string, at time.Time) bool { return time.Since(at) > listedAgain })
	set(&k.listed, folder, time.Now())
	return m, true, nil
}

// folderOf is the folder of a path as a document has it.
func folderOf(rel string) string { return rel[:strings.LastIndexAny(rel, `/\`)+1] }

func (k *knownFiles) wasListed(folder string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.listed[folder]
	return ok && time.Since(at) < listedAgain
}

// read lists what is in the folder of a file, up to a number of pages.
func (k *knownFiles) read(ctx context.Context, s *Site, of metadata, pages int) error {
	token := ""
	for range pages {
		asked := time.Now()
		var page *drive.FileList
		ask := func() (err error) {
			page, err = s.listPage(ctx, quote(of.parent)+" in parents and trashed = false", of.driveID,
				metadataFields, token)
			return err
		}
		err := s.once(ctx, ask)
		if isPace(err) {
			err = s.attempt(ctx, ask)
		}
		if err != nil {
			return err
		}
		k.add(page.Files, asked, of.id)
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	return nil
}

// add takes note of what a listing has shown that was asked for when a file was opened.
func (k *knownFiles) add(files []*drive.File, asked time.Time, opened string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.files)+len(files) > maxKnown {
		maps.DeleteFunc(k.files, func(_ string, m metadata) bool { return time.Since(m.asked) >= folderTTL })
	}
	for _, f := range files {
		for id := range k.files {
			if len(k.files) < maxKnown {
				break
			}
			delete(k.files, id)
		}
		if m := metadataOf(f, asked); m.isSource() {
			if m.opened = k.files[f.Id].opened; f.Id == opened {
				m.opened = time.Now()
			}
			set(&k.files, f.Id, m)
		}
	}
}
