// Package gdrive is the provider for Google Drive: credentials, folders, uploads, downloads, and the table of what
// Google's errors mean. It knows nothing of MongoDB, representations or tries.
//
// No file exists twice: names are not unique on Drive, so every file and folder is created with an id that was
// generated ahead and claimed for the name, by all processes the same. A create that is repeated because its answer was
// lost, at once or by a later Put, or that another process makes too, is answered 409 instead of making a second file.
// Listings lag, so the record of what we made counts more.
//
// Few requests: folders are cached with what is in them. The cache is valid for a few minutes and then confirmed by a
// cheap request; an upload whose answer contradicts it (404, or "in the trash") has it confirmed at once and is done
// again.
package gdrive

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"sitesync/cond"
	"sitesync/site"
	"sitesync/site/pacer"
	"sitesync/site/transport"
)

// googleEndpoint is where Drive's API is unless a site says otherwise.
const googleEndpoint = "https://www.googleapis.com"

// spareConnections is how many connections more than there are transfers are kept open: what is read ahead, or in
// several parts at once, takes some of its own.
const spareConnections = 16

// uploadFields are what is asked of a file that was written or is about to be.
const uploadFields = "id,name,mimeType,md5Checksum,size,trashed,explicitlyTrashed,createdTime,parents," +
	"shortcutDetails/targetMimeType"

// Config says which Drive a site is.
type Config struct {
	Credentials string       // path of a service account's key or of authorized-user credentials, JSON
	Subject     string       // user to act as by domain-wide delegation; may be empty
	Endpoint    string       // base URL of the API; empty for Google's own
	Roots       []string     // "/My Drive/..." or "/SHARED DRIVE/...": folders that must be there
	Connections int          // how many requests are made at once, for keeping connections open
	Journal     site.Journal // nil for a site that nothing is uploaded to
	Pacer       *pacer.Pacer // that other sites with the same account share, as limits are the account's; nil: its own

	// Fence is asked before each request, and while content is sent: its error means that another process may be at
	// work on the site, so that this one must not be any more. May be nil.
	Fence func() error
}

// Site puts files on Google Drive, and reads them. It is safe for use by many goroutines.
type Site struct {
	roots    []string
	endpoint string
	client   *http.Client
	api      *drive.Service
	tokens   *tokenSource
	counts   *countedTransport
	pacer    *pacer.Pacer
	ids      *idPool
	folders  *folderCache
	putting  cond.KeyedMutex // by folder and name: one Put at a time
	pieces   pieces
	known    knownFiles
	readable readableRoots
	ahead    *readAhead
	journal  site.Journal
	stall    *transport.Stall

	// Constants that tests shorten.
	wait         time.Duration // firstWait
	finishFirst  time.Duration
	maxMultipart int64 // multipartLimit
}

var _ interface {
	site.Backend
	site.Source
	site.Prober
	site.Quotaer
	site.Clock
	site.Accounter
	site.Statser
} = (*Site)(nil)

// New returns a site. It reads the credentials but does not use them yet; Check does.
func New(ctx context.Context, c Config) (*Site, error) {
	data, err := os.ReadFile(c.Credentials)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if c.Fence == nil {
		c.Fence = func() error { return nil }
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = max(c.Connections, 1) + spareConnections
	base.WriteBufferSize = wholeBody
	base.TLSClientConfig = &tls.Config{DynamicRecordSizingDisabled: true} // small records at first cost a write each
	// Over HTTP/2 all uploads would share one connection, and so one TCP window.
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP1(true)
	base.ForceAttemptHTTP2 = false
	counted := &countedTransport{Transport: base}
	tokens, err := newTokenSource(data, c.Subject, counted)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", c.Credentials, err)
	}
	// The fence is asked last, as a token may take its time.
	stall := &transport.Stall{Base: &transport.Fence{Base: counted, Check: c.Fence}, Timeout: stallTimeout,
		Patience: patience, Long: isDownload}
	s := &Site{
		endpoint: strings.TrimSuffix(cmp.Or(c.Endpoint, googleEndpoint), "/"),
		client: &http.Client{
			Transport: &authTransport{tokens: tokens, base: stall},
			// A redirect would take our token to wherever it leads.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		tokens: tokens, counts: counted, pacer: c.Pacer, journal: c.Journal, stall: stall,
		wait: firstWait, finishFirst: finishFirst, maxMultipart: multipartLimit,
	}
	if s.pacer == nil {
		s.pacer = pacer.New()
	}
	if s.journal == nil {
		s.journal = noopJournal{}
	}
	for _, r := range c.Roots {
		s.roots = append(s.roots, path.Clean(r))
	}
	s.api, err = drive.NewService(ctx, option.WithHTTPClient(s.client), option.WithEndpoint(s.endpoint+"/drive/v3/"))
	if err != nil {
		return nil, fmt.Errorf("drive client: %w", err)
	}
	s.ahead = newReadAhead(c.Connections)
	s.ids = newIDPool(s.journal, tokens.identity, s.generateIDs)
	s.folders = newFolderCache(s)
	return s, nil
}

// patience is for [transport.Stall].
func patience(req *http.Request) int {
	if req.Method == http.MethodPut && req.ContentLength > 0 { // to a session
		return finishPatience
	}
	return 1
}

// Close drops idle connections.
func (s *Site) Close() error {
	s.ahead.close()
	s.counts.CloseIdleConnections()
	return nil
}

// errCacheInvalid says that the cache does not match Drive, for example because a person trashed a folder. The path is
// looked up anew and the work done again.
var errCacheInvalid = site.Classed(site.Transient, errors.New("the folder was changed on Drive"))

// errUnusable says that Drive does not take an id.
var errUnusable = fmt.Errorf("%w: google drive does not take the id", errCacheInvalid)

// errGhost says that Drive does not find what it says to have created.
var errGhost = fmt.Errorf("%w: google drive has something with the id of the file, and does not find it",
	errCacheInvalid)

// errParentExists says that Drive refuses to create something in a folder as if the folder did not exist, and it does.
// That is no reason to look it up anew, which all other uploads to it would have to wait for.
var errParentExists = site.Classed(site.Transient, errors.New("google drive does not find a folder that it shows"))

// checkParent is the error of a create in a folder, or errParentExists.
func (s *Site) checkParent(ctx context.Context, err error, folder string) error {
	if !isNotFound(err) {
		return err
	}
	if f, getErr := s.get(ctx, folder, "trashed"); getErr != nil || f.Trashed {
		return err
	}
	return fmt.Errorf("%w: %v", errParentExists, err)
}

// putAgain is how often a Put begins anew because Drive does not match the cache, or an id that was claimed turns out
// to be spent: of the folder, and of the file.
const putAgain = 6

// Put uploads a file as [site.Backend] promises.
func (s *Site) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	if u.Priority {
		ctx = pacer.WithPriority(ctx)
	}
	ctx = withMayCreate(ctx, u.MayCreate)
	var f *drive.File
	var err error
	r := s.newRetry()
	for stale := 0; stale < putAgain; {
		if f, err = s.put(ctx, u); errors.Is(err, errCacheInvalid) {
			stale++
			s.folders.invalidate(path.Dir(u.Path))
		} else if !errors.Is(err, errParentExists) || r.again(ctx, err) != nil {
			break
		}
	}
	if isRefused(err) {
		err = s.diagnoseRoot(ctx, u.Path, err)
	}
	if err != nil {
		return site.Object{}, fmt.Errorf("upload %s: %w", u.Path, err)
	}
	return site.Object{ID: f.Id, MD5: f.Md5Checksum}, nil
}

// put updates the file at the path, or creates it. The error is errCacheInvalid if there is something else on
// Drive than we thought.
func (s *Site) put(ctx context.Context, u site.Incoming) (*drive.File, error) {
	name := path.Base(u.Path)
	also := func() []string { return siblings(u) }
	parent, err := s.folders.resolveFor(ctx, path.Dir(u.Path), &upcoming{path.Dir(u.Path), also}, folderTTL)
	if err != nil {
		return nil, err
	}
	unlock, err := s.putting.Lock(ctx, parent.id+"/"+normalize(name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	items, err := s.folders.lookup(ctx, parent, name, fileItem, also)
	if err != nil {
		return nil, err
	}
	var f *drive.File
	if e := items[fileItem]; e.id != "" {
		f, err = s.update(ctx, parent, e, u)
	} else {
		f, err = s.create(ctx, parent, name, u)
	}
	switch {
	case isNotFound(err):
		err = fmt.Errorf("%w: %v", errCacheInvalid, err)
	case err == nil && f.Trashed:
		err = fmt.Errorf("%w: the file or its folder was put in the trash", errCacheInvalid)
	case err == nil && (!isAt(f, parent.id, name) || kindOf(f) != fileItem):
		err = fmt.Errorf("%w: the file was renamed or moved", errCacheInvalid)
	}
	if errors.Is(err, errCacheInvalid) {
		s.folders.remove(parent, name)
	}
	if err == nil {
		s.folders.put(parent, name, entryOf(f))
	}
	switch at := newNameKey(parent.id, name); {
	case f != nil && trashedWithParent(f) && slices.Contains(f.Parents, parent.id):
		// It comes back with its folder, and is known by its id then.
	case f != nil && errors.Is(err, errCacheInvalid):
		s.ids.discard(at, f.Id)
	case errors.Is(err, errGhost), errors.Is(err, errUnusable):
		// They are discarded.
	case err == nil || errors.Is(err, errCacheInvalid):
		// Only now, so that at any time a name is claimed or known to be there.
		s.ids.release(at)
	}
	return f, err
}

// update makes a file that is there hold the content. What is not, or no longer, where the upload goes is returned as
// it is: a person has renamed or moved it, and it keeps its content.
func (s *Site) update(ctx context.Context, parent *folder, e entry, u site.Incoming) (*drive.File, error) {
	confirmed, same, sum := e.isConfirmed(), false, ""
	if e.size == u.Size {
		// It may be the same content: republished, or shared by several representations.
		var err error
		if sum, err = sumOf(ctx, u); err != nil {
			return nil, err
		}
		same = e.md5 == (digest{}) || e.md5 == parseDigest(sum)
	}
	if same || !confirmed { // somebody may have changed it since
		f, err := s.get(ctx, e.id, uploadFields)
		if err != nil || !isAt(f, parent.id, path.Base(u.Path)) {
			return f, err
		}
		if same && f.Size == u.Size && f.Md5Checksum == sum {
			if u.Size > s.maxMultipart { // it may be just finished
				_ = s.journal.DropSession(ctx, s.sessionKey(target{id: f.Id, create: true}))
			}
			return f, nil
		}
	}
	// The folders on the way may have been renamed or moved with all that is in them, also since we wrote the file
	// last.
	maxAge := confirmedTTL
	if !e.written.IsZero() {
		maxAge = min(maxAge, time.Since(e.written))
	}
	switch now, err := s.folders.resolveFor(ctx, path.Dir(u.Path), nil, maxAge); {
	case err != nil:
		return nil, err
	case now.id != parent.id:
		return nil, fmt.Errorf("%w: the folder was renamed or moved", errCacheInvalid)
	}
	return s.upload(ctx, target{id: e.id}, u)
}

// create makes a new file, under an id that stays the same until it is known to be there.
func (s *Site) create(ctx context.Context, parent *folder, name string, u site.Incoming) (*drive.File, error) {
	if err := mayCreate(ctx, path.Dir(u.Path)); err != nil {
		return nil, err
	}
	at := newNameKey(parent.id, name)
	c, err := s.ids.reserve(ctx, at,
		func(reserved func(string) bool) []string { return s.unreservedSiblings(parent, u, reserved) }, nil)
	if err != nil {
		return nil, err
	}
	f, isNew, err := s.createOnce(ctx, at, c, parent, func(k *keeper) (*drive.File, error) {
		return s.upload(k.ctx, target{id: k.id, parent: parent.id, name: name, create: true, lengthen: k.lengthen}, u)
	})
	switch {
	case isNew || err != nil || f.Trashed:
		return f, asCreationError(err, path.Dir(u.Path))
	case !isAt(f, parent.id, name) || kindOf(f) != fileItem:
		return f, errCacheInvalid // it was moved or renamed since, or the id was used for something else
	}
	e := entryOf(f)
	e.seen = time.Now()
	return s.update(ctx, parent, e, u)
}

// createOnce creates something in a folder under the id that is claimed for it, unless an earlier create, or one of
// another process, has done so: then it returns what that has made. It returns errClaimed while one with another
// account may be doing so.
func (s *Site) createOnce(ctx context.Context, at nameKey, c site.Claim, parent *folder,
	create func(*keeper) (*drive.File, error)) (f *drive.File, isNew bool, err error) {
	if !s.ids.canCreate(c) {
		if f, err = s.get(ctx, c.ID, uploadFields); !isNotFound(err) {
			return f, false, err
		}
		if c, err = s.ids.takeOver(ctx, at, c); err != nil {
			return nil, false, err
		}
	}
	k := s.ids.keep(ctx, at, c.ID)
	defer k.end()
	f, err = create(k)
	err = s.checkParent(ctx, k.blame(ctx, err), parent.id)
	switch {
	case isConflict(err):
		// An earlier create did its work and its answer was lost, or another process was faster.
		if f, err = s.getCreated(ctx, c.ID); isNotFound(err) {
			s.ids.discardGhost(at, c.ID)
			return nil, false, errGhost
		}
	case isUnusableID(err):
		// So nobody of this account can create it, but an older version may have done so with another one.
		if f, err = s.get(ctx, c.ID, uploadFields); isNotFound(err) {
			s.ids.discard(at, c.ID)
			return nil, false, errUnusable
		}
	default:
		return f, err == nil, err
	}
	return f, false, err
}

// siblings returns the names that are about to be created in the upload's folder, its own first.
func siblings(u site.Incoming) []string {
	names := []string{path.Base(u.Path)}
	if u.Upcoming == nil {
		return names
	}
	for _, p := range u.Upcoming() {
		if p != u.Path && path.Dir(p) == path.Dir(u.Path) {
			names = append(names, path.Base(p))
		}
	}
	return names
}

// unreservedSiblings returns the other names that are about to be created in the folder and have no id yet.
func (s *Site) unreservedSiblings(parent *folder, u site.Incoming, reserved func(name string) bool) (names []string) {
	for _, name := range siblings(u)[1:] {
		// In this order: what is no longer reserved is known to be there.
		if !reserved(name) && !s.folders.mayHave(parent.id, name) {
			names = append(names, name)
		}
	}
	return names
}

// getCreated returns what a create has made whose answer was lost. Drive says that it exists, so a 404 is retried
// before it is believed.
func (s *Site) getCreated(ctx context.Context, id string) (f *drive.File, err error) {
	err = s.attempt(ctx, func() (err error) {
		f, err = s.api.Files.Get(id).SupportsAllDrives(true).Fields(uploadFields).Context(ctx).Do()
		if err = classify(err); isNotFound(err) {
			err = site.Classed(site.Transient, err)
		}
		return err
	})
	return f, err
}

// trashedWithParent reports whether a file is in the trash because a folder above it is.
func trashedWithParent(f *drive.File) bool { return f.Trashed && !f.ExplicitlyTrashed }

// get asks for a file's metadata.
func (s *Site) get(ctx context.Context, id string, fields googleapi.Field) (f *drive.File, err error) {
	err = s.attempt(ctx, func() (err error) {
		f, err = s.api.Files.Get(id).SupportsAllDrives(true).Fields(fields).Context(ctx).Do()
		return err
	})
	return f, err
}

// diagnoseRoot returns the error of the root if that explains a refusal, and otherwise the refusal.
func (s *Site) diagnoseRoot(ctx context.Context, p string, refusal error) error {
	for _, root := range s.roots {
		if belongsTo(p, root) {
			if err := s.CheckRoot(ctx, root); err != nil {
				return err
			}
		}
	}
	return refusal
}

// Check makes sure that every root is there and can be written to. The errors of all roots are joined.
func (s *Site) Check(ctx context.Context) error {
	var errs []error
	for _, root := range s.roots {
		errs = append(errs, s.CheckRoot(ctx, root))
	}
	return errors.Join(errs...)
}

// CheckRoot makes sure that one root is there and can be written to, as it is now and not as remembered.
func (s *Site) CheckRoot(ctx context.Context, root string) error {
	if err := s.checkRoot(ctx, root); err != nil {
		return fmt.Errorf("root %s: %w", root, asRootError(err))
	}
	return nil
}

func (s *Site) checkRoot(ctx context.Context, root string) error {
	f, err := s.folders.resolveCurrent(ctx, root)
	if err != nil {
		return err
	}
	got, err := s.get(ctx, f.id, "driveId,capabilities/canAddChildren")
	if err != nil {
		return err
	}
	if got.Capabilities != nil && !got.Capabilities.CanAddChildren {
		return rootError("it can't be written to by %s: give it the role Editor (on a shared drive: Content manager)",
			s.Account())
	}
	if got.DriveId != "" {
		return nil
	}
	// The account owns what it creates outside of shared drives.
	q, limited, err := s.storage(ctx)
	if err == nil && limited && q.Used >= q.Limit {
		err = rootError(noStorage)
	}
	return err
}

// Account is part of [site.Accounter].
func (s *Site) Account() string { return s.tokens.account }

// noopJournal is the journal of a site that only looks.
type noopJournal struct{}

var _ site.Journal = noopJournal{}

func (noopJournal) Claim(_ context.Context, account string, _ time.Duration,
	requests []site.ClaimRequest) (claims []site.Claim, err error) {
	for _, r := range requests {
		claims = append(claims, site.Claim{ID: r.ID, Account: r.Account})
	}
	return claims, nil
}
func (noopJournal) Reserved(context.Context, string) (map[string]site.Reservation, error) {
	return nil, nil
}
func (noopJournal) Session(context.Context, string, int64, time.Time) (string, error)   { return "", nil }
func (noopJournal) SaveSession(context.Context, string, int64, time.Time, string) error { return nil }
func (noopJournal) DropSession(context.Context, string) error                           { return nil }

// Probe is part of [site.Prober]. Nothing is created, and a missing root is the site's fault. The first probe in a
// folder lists it, which answers all later ones.
func (s *Site) Probe(ctx context.Context, p, id string) (site.Found, error) {
	var found items
	folder, err := s.folders.findExisting(ctx, path.Dir(p))
	if err == nil && folder != nil {
		found, err = s.folders.lookup(ctx, folder, path.Base(p), fileItem, nil)
	}
	if err != nil {
		return site.Found{}, err
	}
	at := found[fileItem]
	if at.id == "" {
		at = found[folderItem] // nothing is put there, but people may have
	}
	there := at.id != ""
	f := site.Found{State: site.Present, Object: site.Object{ID: at.id}, Name: path.Base(p), Size: at.size,
		Folder: at.kind == folderItem}
	if at.md5 != (digest{}) {
		f.MD5 = hex.EncodeToString(at.md5[:])
	}
	if there && (id == "" || id == at.id) {
		return f, nil
	}
	if id == "" {
		return site.Found{}, nil
	}
	// Listings lag, and people move files.
	f.ByID = true
	got, err := s.get(ctx, id, uploadFields)
	if err != nil && !isNotFound(err) {
		return site.Found{}, err
	}
	if there && (got == nil || !isAt(got, folder.id, path.Base(p))) {
		return f, nil // another one is in its place
	}
	if got == nil {
		return site.Found{ByID: true}, nil
	}
	f = site.Found{ByID: true, State: site.Moved, Object: site.Object{ID: got.Id, MD5: got.Md5Checksum},
		Name: got.Name, Size: got.Size, Folder: got.MimeType == folderType}
	switch parent := parentOf(got); {
	case got.Trashed:
		f.State = site.Trashed
	case folder != nil && isAt(got, folder.id, path.Base(p)):
		f.State = site.Present
	case parent != "":
		// Only for people, so it may fail: the folder can be hidden from us.
		if in, err := s.get(ctx, parent, "name"); err == nil {
			f.CurrentFolder = in.Name
		}
	}
	return f, nil
}

// Quota is part of [site.Quotaer]. It is one request, and none if all roots are on shared drives, which have no such
// number.
func (s *Site) Quota(ctx context.Context) (site.Quota, error) {
	mine := func(root string) bool { return strings.HasPrefix(root+"/", "/"+myDrive+"/") }
	if !slices.ContainsFunc(s.roots, mine) {
		return site.Quota{}, nil
	}
	q, _, err := s.storage(ctx)
	return q, err
}

// Left is part of [site.Backend]. Google reports it for what the account owns, so not for shared drives.
func (s *Site) Left(ctx context.Context, root string) (bytes int64, known bool, err error) {
	f, err := s.folders.resolve(ctx, root)
	if err != nil {
		return 0, false, err
	}
	got, err := s.get(ctx, f.id, "driveId")
	if err != nil || got.DriveId != "" {
		return 0, false, asRootError(err)
	}
	q, limited, err := s.storage(ctx)
	return max(q.Limit-q.Used, 0), limited, asRootError(err)
}

// storage returns the storage of the account, and whether it has a limit, which is 0 for service accounts.
func (s *Site) storage(ctx context.Context) (q site.Quota, limited bool, err error) {
	// Google's client cannot tell no limit from the limit 0.
	var about struct {
		StorageQuota *struct {
			Limit *int64 `json:"limit,string"`
			Usage int64  `json:"usage,string"`
		}
	}
	err = s.attempt(ctx, func() error {
		address := s.endpoint + "/drive/v3/about?fields=storageQuota(limit,usage)"
		res, err := s.send(ctx, http.MethodGet, address, 0, nil, http.Header{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&about)
	})
	switch got := about.StorageQuota; {
	case err != nil:
		return site.Quota{}, false, fmt.Errorf("storage quota: %w", err)
	case got == nil:
		return site.Quota{}, false, nil
	case got.Limit == nil:
		return site.Quota{Known: true, Used: got.Usage}, false, nil
	default:
		return site.Quota{Known: true, Limit: *got.Limit, Used: got.Usage}, true, nil
	}
}

type mayCreateKey struct{}

// withMayCreate has what is created for an upload ask it before; see [site.Incoming].
func withMayCreate(ctx context.Context, ask func(folder string) error) context.Context {
	if ask == nil {
		return ctx
	}
	return context.WithValue(ctx, mayCreateKey{}, ask)
}

// mayCreate reports whether something may be created in a folder.
func mayCreate(ctx context.Context, folder string) error {
	if ask, ok := ctx.Value(mayCreateKey{}).(func(string) error); ok {
		return ask(folder)
	}
	return nil
}
