package gdrive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/api/drive/v3"

	"sitesync/site"
)

const (
	// idBatch is the minimum number of ids requested at once.
	idBatch = 200

	// lowIDs is the number of free ids at which more are requested, so that no upload waits for them.
	lowIDs = idBatch / 4

	// maxIDs is the maximum number of ids generated, and reserved, at once.
	maxIDs = 1000

	// renewAfter is the age at which a reservation is written again before it is used: the journal expires them, when
	// listings show what was created.
	renewAfter = 24 * time.Hour
)

// nameKey is a name, as normalize returns it, in a folder. A folder's ends with a slash: it may stand beside a file of
// its name.
type nameKey struct{ folder, name string }

func newNameKey(folder, name string) nameKey { return nameKey{folder, normalize(name)} }

// idPool keeps ids for files and folders that are about to be created. An id is in the journal before it is used, so
// that the next process after a crash creates the same file again, and not a second one.
type idPool struct {
	generate func(ctx context.Context, count int) ([]string, error)
	journal  site.Journal
	account  string                         // that the ids are generated for
	has      func(folder, name string) bool // whether something of the name is there, or was put there by us
	filling  *semaphore.Weighted            // one asks for ids, the others wait for that
	busy     keyedMutex                     // by folder: what is being read from the journal or noted in it

	mu       sync.Mutex
	free     []string
	reserved map[nameKey]site.Reservation
	read     map[string]bool // folders for which reserved has all that the journal says
}

func newIDPool(journal site.Journal, account string, generate func(context.Context, int) ([]string, error)) *idPool {
	return &idPool{generate: generate, journal: journal, account: account, filling: semaphore.NewWeighted(1),
		has:      func(string, string) bool { return false },
		reserved: map[nameKey]site.Reservation{}, read: map[string]bool{}}
}

// reserve returns the id to create a file or folder with. It stays the same until the name is released, so that a
// create whose outcome is unknown can be repeated, also much later and by another process, without making a second
// file. Ids for the names that upcomingNames returns are reserved in the same write; it omits those that have one, and
// may be nil. So are ids for what is about to be created in a new folder: childNames returns the names in it, then
// those in the first of these, and so on.
//
// The id may be one of another account, see isForeign.
func (p *idPool) reserve(ctx context.Context, at nameKey, upcomingNames func(reserved func(name string) bool) []string,
	childNames func() [][]string) (site.Reservation, error) {
	if r, ok := p.current(at); ok {
		return r, nil
	}
	unlock, err := p.busy.lock(ctx, at.folder)
	if err != nil {
		return site.Reservation{}, err
	}
	defer unlock()
	if err := p.load(ctx, at); err != nil {
		return site.Reservation{}, err
	}
	if r, ok := p.current(at); ok {
		return r, nil
	}
	old := p.get(at).ID // of a reservation that has to be noted again
	ids := map[string]string{at.name: old}
	if upcomingNames != nil {
		for _, name := range upcomingNames(func(name string) bool {
			_, ok := p.current(newNameKey(at.folder, name))
			return ok
		}) {
			if at := newNameKey(at.folder, name); len(ids) < maxIDs {
				ids[at.name] = p.get(at).ID
			}
		}
	}
	for name, id := range ids {
		if id == "" {
			if ids[name], err = p.take(ctx, len(ids)); err != nil {
				return site.Reservation{}, err
			}
		}
	}
	all := map[string]map[string]string{at.folder: ids}
	var fresh []string // folders that are not there yet
	if folder := ids[at.name]; folder != old && childNames != nil {
		for _, names := range childNames() {
			ids := map[string]string{}
			for _, name := range names[:min(len(names), maxIDs)] {
				if ids[normalize(name)], err = p.take(ctx, len(names)); err != nil {
					return site.Reservation{}, err
				}
			}
			all[folder] = ids
			fresh = append(fresh, folder)
			folder = ids[normalize(names[0])]
		}
	}
	noted := time.Now()
	if err := p.journal.Reserve(ctx, p.account, all); err != nil {
		return site.Reservation{}, asJournalError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for folder, ids := range all {
		for name, id := range ids {
			p.reserved[nameKey{folder, name}] = site.Reservation{ID: id, At: noted, Account: p.account}
		}
	}
	for _, folder := range fresh {
		p.read[folder] = true // a new id: the journal can have nothing else for it
	}
	return p.reserved[at], nil
}

// get returns the reservation of a name; zero if there is none.
func (p *idPool) get(at nameKey) site.Reservation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reserved[at]
}

// isForeign reports whether the id was generated for another account. Drive does not let us create anything with it,
// but that account may have done so.
func (p *idPool) isForeign(r site.Reservation) bool { return r.Account != "" && r.Account != p.account }

// current returns the reservation of a place, unless there is none or it has to be noted again.
func (p *idPool) current(at nameKey) (r site.Reservation, ok bool) {
	r = p.get(at)
	return r, r.ID != "" && (time.Since(r.At) < renewAfter || p.isForeign(r))
}

// load reads what the journal has for a folder, but for what is there already: each folder once, and again for a name
// that may be there, as its reservation was released then. The folder must be locked.
func (p *idPool) load(ctx context.Context, at nameKey) error {
	p.mu.Lock()
	read := p.read[at.folder]
	p.mu.Unlock()
	again := read && p.has(at.folder, strings.TrimSuffix(at.name, "/"))
	if read && !again {
		return nil
	}
	found, err := p.journal.Reserved(ctx, at.folder)
	if err != nil {
		return asJournalError(err)
	}
	byPlace := map[nameKey]site.Reservation{} // of the forms of one name, the last
	for name, r := range found {
		places := []nameKey{newNameKey(at.folder, name)}
		if r.Account == "" { // an old journal does not distinguish files from folders
			places = append(places, newNameKey(at.folder, name+"/"))
		}
		for _, of := range places {
			if of != at && (again || p.has(of.folder, strings.TrimSuffix(of.name, "/"))) {
				continue
			}
			if old, ok := byPlace[of]; !ok || r.At.After(old.At) {
				byPlace[of] = r
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.reserved, byPlace)
	p.read[at.folder] = true
	return nil
}

// take returns a free id. If there is none, it requests more, as many as are wanted.
func (p *idPool) take(ctx context.Context, wanted int) (string, error) {
	for {
		p.mu.Lock()
		if n := len(p.free); n > 0 {
			id := p.free[0]
			p.free = p.free[1:]
			p.mu.Unlock()
			if n-1 == lowIDs && p.filling.TryAcquire(1) {
				_ = p.fetch(ctx, wanted, lowIDs) // its error is returned to the caller that finds no free id
			}
			return id, nil
		}
		p.mu.Unlock()
		if err := p.filling.Acquire(ctx, 1); err != nil {
			return "", err
		}
		if err := p.fetch(ctx, wanted, 0); err != nil {
			return "", err
		}
	}
}

// fetch requests more ids, unless there are more than enough already. p.filling must be acquired, and is released.
func (p *idPool) fetch(ctx context.Context, wanted, enough int) error {
	defer p.filling.Release(1)
	p.mu.Lock()
	n := len(p.free)
	p.mu.Unlock()
	if n > enough {
		return nil
	}
	ids, err := p.generate(ctx, min(max(wanted, idBatch), maxIDs))
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, ids...)
	return nil
}

// release forgets the id of a name whose file is known. The journal keeps it: another process may soon look for the
// name in a listing that lags.
func (p *idPool) release(at nameKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.reserved, at)
}

// evict removes folders that are not in use. What is reserved in them is still in the journal.
func (p *idPool) evict(inUse func(folder string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.read, func(folder string, _ bool) bool { return !inUse(folder) })
	maps.DeleteFunc(p.reserved, func(at nameKey, _ site.Reservation) bool { return !inUse(at.folder) })
}

// asJournalError is the class of an error of the journal: no upload can begin, and no file is at fault.
func asJournalError(err error) error {
	return &site.Error{Class: site.Transient, Shared: true, Err: fmt.Errorf("sitesync's own database: %w", err)}
}

// generateIDs asks Drive for ids.
func (s *Site) generateIDs(ctx context.Context, count int) ([]string, error) {
	var got *drive.GeneratedIds
	err := s.attempt(ctx, func() (err error) {
		got, err = s.api.Files.GenerateIds().Count(int64(count)).Space("drive").Type("files").Context(ctx).Do()
		if err == nil && len(got.Ids) == 0 {
			err = site.Classed(site.Transient, errors.New("google drive sent none"))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("generate ids: %w", asSiteError(err))
	}
	return got.Ids, nil
}
