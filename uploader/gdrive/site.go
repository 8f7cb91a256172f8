package gdrive

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/option"

	"sitesync/uploader/site"
)

// googleEndpoint is where Drive's API is unless a site says otherwise.
const googleEndpoint = "https://www.googleapis.com"

// uploadFields are what every upload asks Drive to answer with.
const uploadFields = "id,md5Checksum,size,trashed"

// Config says which Drive a site is.
type Config struct {
	Credentials string   // path of a service account's key or of authorized-user credentials, JSON
	Subject     string   // user to act as by domain-wide delegation; may be empty
	Endpoint    string   // base URL of the API; empty for Google's own
	Roots       []string // "/My Drive/..." or "/SHARED DRIVE/...": folders that must be there
	Connections int      // how many requests are made at once, for keeping connections open
}

// Site puts files on Google Drive. It is safe for use by many goroutines.
type Site struct {
	roots    []string
	endpoint string
	client   *http.Client
	api      *drive.Service
	tokens   *tokenSource
	pacer    *pacer
	ids      *idPool
	tree     *tree
	putting  keyedMutex // by path: one Put at a time
}

var _ site.Site = (*Site)(nil)

// New returns a site. It reads the credentials but does not use them yet; Check does.
func New(ctx context.Context, c Config) (*Site, error) {
	data, err := os.ReadFile(c.Credentials)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = max(c.Connections, 1)
	transport.WriteBufferSize = 64 << 10
	source, err := newTokenSource(ctx, data, c.Subject, transport)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", c.Credentials, err)
	}
	s := &Site{
		endpoint: strings.TrimSuffix(c.Endpoint, "/"),
		client:   &http.Client{Transport: &authTransport{tokens: source, base: transport}},
		tokens:   source,
		pacer:    newPacer(),
	}
	if s.endpoint == "" {
		s.endpoint = googleEndpoint
	}
	for _, r := range c.Roots {
		s.roots = append(s.roots, path.Clean(r))
	}
	s.api, err = drive.NewService(ctx, option.WithHTTPClient(s.client), option.WithEndpoint(s.endpoint+"/drive/v3/"))
	if err != nil {
		return nil, fmt.Errorf("drive client: %w", err)
	}
	s.ids = &idPool{generate: s.generateIDs}
	s.tree = newTree(s)
	return s, nil
}

// Close drops idle connections.
func (s *Site) Close() { s.client.CloseIdleConnections() }

// errStale says that what we remembered of the Drive is no longer so, for example because a person trashed
// a folder. The path is looked up anew and the work done again.
var errStale = errors.New("the Drive has changed")

// Put uploads a file as [site.Site] promises.
func (s *Site) Put(ctx context.Context, u site.Upload) (site.Object, error) {
	unlock, err := s.putting.lock(ctx, u.Path)
	if err != nil {
		return site.Object{}, err
	}
	defer unlock()
	dir, name := path.Split(u.Path)
	dir = path.Clean(dir)
	for range 3 {
		var f *folder
		if f, err = s.tree.resolve(ctx, dir); err != nil {
			break
		}
		var obj site.Object
		if obj, err = s.put(ctx, f, name, u); err == nil {
			return obj, nil
		}
		if !errors.Is(err, errStale) {
			break
		}
		s.tree.forget(dir)
	}
	if errors.Is(err, errStale) {
		err = site.Classed(site.Throttled, err)
	}
	return site.Object{}, fmt.Errorf("upload %s: %w", u.Path, err)
}

// put updates the file of that name in the folder, or creates it.
func (s *Site) put(ctx context.Context, f *folder, name string, u site.Upload) (site.Object, error) {
	e, found, err := s.tree.lookup(ctx, f, name)
	if err != nil {
		return site.Object{}, err
	}
	if found && e.folder {
		return site.Object{}, fmt.Errorf("there is a folder of that name on the Drive")
	}
	var answer *drive.File
	switch {
	case found && e.size == u.Size:
		// Very likely the same content: republished, or shared by several representations.
		if answer, err = s.confirm(ctx, e.id, u); answer != nil || err != nil {
			break
		}
		fallthrough
	case found:
		answer, err = s.upload(ctx, target{id: e.id}, u)
	default:
		answer, err = s.create(ctx, f, name, u)
	}
	if isNotFound(err) {
		// The file or the folder was deleted since we looked.
		s.tree.drop(f, name)
		return site.Object{}, fmt.Errorf("%w: %v", errStale, err)
	}
	if err != nil {
		return site.Object{}, err
	}
	if answer.Trashed {
		s.tree.drop(f, name)
		return site.Object{}, fmt.Errorf("%w: the file or its folder was put in the trash", errStale)
	}
	s.tree.remember(f, name, entryOf(answer))
	return site.Object{ID: answer.Id, MD5: answer.Md5Checksum}, nil
}

// create makes a new file under an id that it can be recognised by.
func (s *Site) create(ctx context.Context, f *folder, name string, u site.Upload) (*drive.File, error) {
	id, err := s.ids.take(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := s.upload(ctx, target{id: id, parent: f.id, name: name, create: true}, u)
	if !isConflict(err) {
		return answer, err
	}
	// An earlier create did its work and its answer was lost.
	if answer, err = s.confirm(ctx, id, u); answer != nil || err != nil {
		return answer, err
	}
	return s.upload(ctx, target{id: id}, u)
}

// confirm returns the file's metadata if it holds the content already, and nil if it does not.
func (s *Site) confirm(ctx context.Context, id string, u site.Upload) (*drive.File, error) {
	sum, err := sumOf(u)
	if err != nil {
		return nil, err
	}
	var f *drive.File
	err = s.call(ctx, func(ctx context.Context) (err error) {
		f, err = s.api.Files.Get(id).SupportsAllDrives(true).Fields(uploadFields).Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, err
	}
	if f.Trashed || f.Md5Checksum != sum || f.Size != u.Size {
		return nil, nil
	}
	return f, nil
}

// sumOf is the MD5 of an upload's content.
func sumOf(u site.Upload) (string, error) {
	h := md5.New()
	if _, err := io.Copy(h, io.NewSectionReader(u.Content, 0, u.Size)); err != nil {
		return "", fmt.Errorf("read the source: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Check makes sure that every root is there and can be written to. The errors of all roots are joined.
func (s *Site) Check(ctx context.Context) error {
	var failed error
	for _, root := range s.roots {
		if err := s.CheckRoot(ctx, root); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// CheckRoot makes sure that one root is there and can be written to, as it is now and not as remembered.
func (s *Site) CheckRoot(ctx context.Context, root string) error {
	s.tree.forget(root)
	f, err := s.tree.resolve(ctx, root)
	if err != nil {
		return fmt.Errorf("root %s: %w", root, err)
	}
	var got *drive.File
	err = s.call(ctx, func(ctx context.Context) (err error) {
		got, err = s.api.Files.Get(f.id).SupportsAllDrives(true).
			Fields("id,trashed,capabilities/canAddChildren").Context(ctx).Do()
		return err
	})
	switch {
	case isNotFound(err):
		return fmt.Errorf("root %s: %w", root, rootMissing(root))
	case err != nil:
		return fmt.Errorf("root %s: %w", root, err)
	case got.Trashed:
		return site.Classed(site.Held, fmt.Errorf("root %s is in the trash; restore it on Drive", root))
	case got.Capabilities != nil && !got.Capabilities.CanAddChildren:
		return site.Classed(site.Held, fmt.Errorf("root %s can't be written to by %s; give it the role Editor (on a shared "+
			"drive: Content manager)", root, s.Account()))
	}
	return nil
}

// Account is who the site acts as, for messages.
func (s *Site) Account() string { return s.tokens.account }

// Storage tells whether files that the account creates outside of shared drives have room. limit and used
// are bytes; limit is 0 if there is none.
func (s *Site) Storage(ctx context.Context) (limit, used int64, err error) {
	var about *drive.About
	err = s.call(ctx, func(ctx context.Context) (err error) {
		about, err = s.api.About.Get().Fields("storageQuota(limit,usage)").Context(ctx).Do()
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("storage quota: %w", err)
	}
	if about.StorageQuota == nil {
		return 0, 0, nil
	}
	return about.StorageQuota.Limit, about.StorageQuota.Usage, nil
}

func rootMissing(root string) error {
	return site.Classed(site.Held, fmt.Errorf("no such folder on Drive, or it is not shared with the account: create or "+
		"share %s, or mend root in gdrive.json", root))
}

// metadataTimeout bounds a request without content.
const metadataTimeout = time.Minute
