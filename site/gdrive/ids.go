package gdrive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/api/drive/v3"

	"sitesync/cond"
	"sitesync/site"
	"sitesync/site/pacer"
)

const (
	// idBatch is the minimum number of ids requested at once.
	idBatch = 200

	// lowIDs is the number of free ids at which more are requested, so that no upload waits for them.
	lowIDs = idBatch / 4

	// maxIDs is the maximum number of ids generated, and reserved, at once.
	maxIDs = 1000

	// confirmAfter is the age at which a claim is confirmed again before something is created under it, and while it is
	// being created. That is given up at the age of createFor.
	confirmAfter = time.Minute
	createFor    = 2 * time.Minute

	// claimHold is how long a claim is kept from other accounts after that: so long what is on its way to Drive may
	// take, and of a large file what finishing it takes there.
	claimHold     = createFor + time.Minute
	claimLongHold = createFor + finishFor

	// claimRetry is the wait after a claim could not be confirmed, and claimWait that for what another account is
	// creating.
	claimRetry = 5 * time.Second
	claimWait  = time.Second

	// ghostFor is how long a file that is just being created may take to be found by its id.
	ghostFor = time.Minute
)

// nameKey is a name, as normalize returns it, in a folder. A folder's ends with a slash: it may stand beside a file of
// its name.
type nameKey struct{ folder, name string }

func newNameKey(folder, name string) nameKey { return nameKey{folder, normalize(name)} }

// idPool keeps ids for files and folders that are about to be created. An id is claimed for its name in the journal
// before it is used, so that whoever creates the name, at the same time or after a crash, creates the same item, and
// not a second one.
type idPool struct {
	generate func(ctx context.Context, count int) ([]string, error)
	journal  site.Journal
	account  string              // that the ids are generated for
	filling  *semaphore.Weighted // one asks for ids, the others wait for that
	busy     cond.KeyedMutex     // by folder: what is being claimed in it

	confirmAfter, createFor time.Duration // constants that tests shorten

	mu     sync.Mutex
	free   []string
	claims map[nameKey]claim
	spent  map[nameKey]spentID
	older  map[nameKey]site.Reservation // what an older version has reserved
	read   map[string]bool              // folders for which older has all
}

// spentID is an id that a name can't be created with any more.
type spentID struct {
	id    string
	ghost time.Time // since when it is in use though nothing is there; zero if something is
}

// claim is a claim as it is known here.
type claim struct {
	site.Claim
	asked  time.Time // when the journal was asked for it, or to confirm it, last
	missed time.Time // of one that nothing can be created under here: when Drive had nothing under the id
}

func newIDPool(journal site.Journal, account string, generate func(context.Context, int) ([]string, error)) *idPool {
	return &idPool{generate: generate, journal: journal, account: account, filling: semaphore.NewWeighted(1),
		confirmAfter: confirmAfter, createFor: createFor, claims: map[nameKey]claim{}, spent: map[nameKey]spentID{},
		older: map[nameKey]site.Reservation{}, read: map[string]bool{}}
}

// reserve returns the claim to create a file or folder with. It stays the same until the name is released, so that a
// create whose outcome is unknown can be repeated, also much later and by another process, without making a second
// file. The names that upcomingNames returns are claimed in the same write; it omits those that are, and may be nil. So
// is what is about to be created in a new folder: childNames returns the names in it, then those in the first of these,
// and so on.
//
// The claim may be one that nothing can be created under here, see canCreate.
func (p *idPool) reserve(ctx context.Context, at nameKey, upcomingNames func(reserved func(name string) bool) []string,
	childNames func() [][]string) (site.Claim, error) {
	if c, ok := p.current(at); ok {
		return c, nil
	}
	unlock, err := p.busy.Lock(ctx, at.folder)
	if err != nil {
		return site.Claim{}, err
	}
	defer unlock()
	if err := p.load(ctx, at.folder); err != nil {
		return site.Claim{}, err
	}
	if c, ok := p.current(at); ok {
		return c, nil
	}
	if c := p.get(at); time.Since(c.missed) < claimWait/2 { // of a folder that many wait for
		return site.Claim{}, errClaimed
	}
	places := []nameKey{at}
	if upcomingNames != nil {
		for _, name := range upcomingNames(func(name string) bool {
			_, ok := p.current(newNameKey(at.folder, name))
			return ok
		}) {
			if len(places) < maxIDs {
				places = append(places, newNameKey(at.folder, name))
			}
		}
	}
	b := &claimBatch{pool: p, wanted: len(places)}
	for _, place := range places {
		if err := b.add(ctx, place); err != nil {
			return site.Claim{}, err
		}
	}
	if folder, isNew := b.requests[0].ID, b.fresh[0]; isNew && childNames != nil {
		for _, names := range childNames() {
			b.wanted = len(names)
			first := len(b.requests)
			for _, name := range names[:min(len(names), maxIDs)] {
				if err := b.add(ctx, newNameKey(folder, name)); err != nil {
					return site.Claim{}, err
				}
			}
			folder = b.requests[first].ID
		}
	}
	if err := b.claim(ctx); err != nil {
		return site.Claim{}, err
	}
	return p.get(at).Claim, nil
}

// claimBatch is what is claimed in one write.
type claimBatch struct {
	pool     *idPool
	wanted   int // about how many ids are needed
	requests []site.ClaimRequest
	fresh    []bool // whether its id is a new one
	seen     map[nameKey]bool
}

// add adds a name, with the id that it should have.
func (b *claimBatch) add(ctx context.Context, at nameKey) error {
	if b.seen[at] {
		return nil
	}
	set(&b.seen, at, true)
	p := b.pool
	p.mu.Lock()
	known, older, spent := p.claims[at].Claim, p.older[at], p.spent[at]
	p.mu.Unlock()
	r := site.ClaimRequest{Folder: at.folder, Name: at.name, ID: known.ID, Account: known.Account, Spent: spent.id,
		IfSole: !spent.ghost.IsZero() && time.Since(spent.ghost) < ghostFor}
	if known.ID == "" {
		r.ID, r.Account = older.ID, cmp.Or(older.Account, p.account)
	}
	isNew := r.ID == "" || r.ID == spent.id
	if isNew {
		id, err := p.take(ctx, b.wanted)
		if err != nil {
			return err
		}
		r.ID, r.Account = id, p.account
	}
	b.requests, b.fresh = append(b.requests, r), append(b.fresh, isNew)
	return nil
}

// claim claims all of it.
func (b *claimBatch) claim(ctx context.Context) error {
	p := b.pool
	asked := time.Now()
	got, err := p.journal.Claim(ctx, p.account, claimHold, b.requests)
	if err != nil {
		return asJournalError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range b.requests {
		at := nameKey{r.Folder, r.Name}
		if b.fresh[i] && got[i].ID != r.ID {
			p.free = append(p.free, r.ID) // another process was faster
		}
		if got[i].ID == "" {
			continue // in a folder that has another id
		}
		if r.Folder != b.requests[0].Folder {
			p.read[r.Folder] = true // a new id: no older version can have reserved anything in it
		}
		p.claims[at] = claim{Claim: got[i], asked: asked}
		delete(p.older, at)
		if got[i].ID != r.Spent {
			delete(p.spent, at)
		}
	}
	return nil
}

// get returns what is known of the claim of a name; zero if nothing is.
func (p *idPool) get(at nameKey) claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims[at]
}

// canCreate reports whether something can be created under a claim. With an id that was generated for another account
// Drive lets us create nothing, but that account may have done so.
func (p *idPool) canCreate(c site.Claim) bool { return c.Account == p.account && !c.Wanted }

// current returns the claim of a name if something can be created under it without asking the journal.
func (p *idPool) current(at nameKey) (c site.Claim, ok bool) {
	known := p.get(at)
	return known.Claim, known.ID != "" && p.canCreate(known.Claim) && !isOlder(known.asked, p.confirmAfter)
}

// isOlder reports whether a time is so long ago, by either of the two clocks that it has: one of them stands still
// while the machine sleeps, the other can be set.
func isOlder(t time.Time, age time.Duration) bool {
	now := time.Now()
	return now.Sub(t) >= age || now.Round(0).Sub(t.Round(0)) >= age
}

// load reads what older versions have reserved in a folder, once. The folder must be locked.
func (p *idPool) load(ctx context.Context, folder string) error {
	p.mu.Lock()
	read := p.read[folder]
	p.mu.Unlock()
	if read {
		return nil
	}
	found, err := p.journal.Reserved(ctx, folder)
	if err != nil {
		return asJournalError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, r := range found {
		places := []nameKey{newNameKey(folder, name)}
		if r.Account == "" { // an old journal does not distinguish files from folders
			places = append(places, newNameKey(folder, name+"/"))
		}
		for _, at := range places { // of the forms of one name, the last counts
			if old, ok := p.older[at]; !ok || r.At.After(old.At) {
				p.older[at] = r
			}
		}
	}
	p.read[folder] = true
	return nil
}

// errClaimed says that a name is claimed for another account, which may be creating it, or will be.
var errClaimed = &site.Error{Class: site.Unavailable, Scope: site.OneFile, RetryAfter: claimWait,
	Err: errors.New("a process with another Google account is creating it; its result is waited for")}

// errClaimLost says that another process has taken the claim of a name.
var errClaimLost = fmt.Errorf("%w: another process has claimed the name meanwhile", errCacheInvalid)

// takeOver replaces a claim under whose id Drive has nothing, if nobody creates anything under it any more. Otherwise
// it asks for it, and returns errClaimed.
func (p *idPool) takeOver(ctx context.Context, at nameKey, stale site.Claim) (site.Claim, error) {
	id, err := p.take(ctx, 1)
	if err != nil {
		return site.Claim{}, err
	}
	b := &claimBatch{pool: p, fresh: []bool{true}, requests: []site.ClaimRequest{{Folder: at.folder, Name: at.name,
		ID: id, Account: p.account, Stale: stale}}}
	if err := b.claim(ctx); err != nil {
		return site.Claim{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.claims[at]
	if p.canCreate(known.Claim) {
		return known.Claim, nil
	}
	known.missed = time.Now()
	p.claims[at] = known
	return site.Claim{}, errClaimed
}

// keeper keeps a claim while something is created under it.
type keeper struct {
	pool *idPool
	at   nameKey
	id   string
	ctx  context.Context // of the create: it ends when the claim may be lost
	end  func()          // must be called

	mu   sync.Mutex
	hold time.Duration
}

// keep confirms a claim of ours for as long as something is being created under it.
func (p *idPool) keep(ctx context.Context, at nameKey, id string) *keeper {
	k := &keeper{pool: p, at: at, id: id, hold: claimHold}
	asked := p.get(at).asked
	kept, cancel := context.WithCancelCause(ctx)
	k.ctx = kept
	var confirming sync.WaitGroup
	k.end = func() {
		cancel(nil)
		confirming.Wait()
	}
	confirming.Go(func() {
		for wait := p.confirmAfter - time.Since(asked); ; {
			if pacer.Sleep(kept, wait) != nil {
				return
			}
			began := time.Now()
			attempt, stop := context.WithDeadline(kept, asked.Add(p.createFor-claimRetry))
			err := k.confirm(attempt)
			stop()
			switch {
			case kept.Err() != nil:
				return
			case err == nil:
				asked, wait = began, p.confirmAfter
			case errors.Is(err, errClaimLost), isOlder(asked, p.createFor-claimRetry):
				cancel(err)
				return
			default:
				wait = claimRetry
			}
		}
	})
	return k
}

// lengthen keeps the claim for as long as Drive may take to finish a large file.
func (k *keeper) lengthen(ctx context.Context) error {
	k.mu.Lock()
	k.hold = claimLongHold
	k.mu.Unlock()
	return k.confirm(ctx)
}

// confirm confirms the claim. The error is errClaimLost if it is another one, and errClaimed if it may not be
// confirmed.
func (k *keeper) confirm(ctx context.Context) error {
	k.mu.Lock()
	hold := k.hold
	k.mu.Unlock()
	p := k.pool
	asked := time.Now()
	got, err := p.journal.Claim(ctx, p.account, hold, []site.ClaimRequest{{Folder: k.at.folder, Name: k.at.name,
		ID: k.id, Account: p.account, InUse: hold == claimLongHold}})
	if err != nil {
		return asJournalError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.claims[k.at]; ok {
		p.claims[k.at] = claim{Claim: got[0], asked: asked}
	}
	switch {
	case got[0].ID != k.id:
		return errClaimLost
	case !p.canCreate(got[0]):
		return errClaimed
	}
	return nil
}

// blame returns why the create was ended, if it was, instead of what came of that.
func (k *keeper) blame(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || k.ctx.Err() == nil {
		return err
	}
	return context.Cause(k.ctx)
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

// release forgets the claim of a name whose file is known. The journal keeps it: another process may soon look for the
// name in a listing that lags.
func (p *idPool) release(at nameKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.claims, at)
	delete(p.spent, at)
}

// discard is release for an id that the name can't be created with any more: what has it is in the trash or elsewhere,
// or Drive does not take it. The name gets another one.
func (p *idPool) discard(at nameKey, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.claims, at)
	p.spent[at] = spentID{id: id}
}

// discardGhost is discard for an id that is in use, as Drive says, though there is nothing under it: what there was is
// deleted, or another process is just creating it. If there is one, it takes ghostFor until that is sure.
func (p *idPool) discardGhost(at nameKey, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.claims, at)
	if known := p.spent[at]; known.id != id || known.ghost.IsZero() {
		p.spent[at] = spentID{id: id, ghost: time.Now()}
	}
}

// evict removes folders that are not in use. What is claimed in them is still in the journal.
func (p *idPool) evict(inUse func(folder string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.read, func(folder string, _ bool) bool { return !inUse(folder) })
	maps.DeleteFunc(p.claims, func(at nameKey, _ claim) bool { return !inUse(at.folder) })
	maps.DeleteFunc(p.spent, func(at nameKey, _ spentID) bool { return !inUse(at.folder) })
	maps.DeleteFunc(p.older, func(at nameKey, _ site.Reservation) bool { return !inUse(at.folder) })
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
