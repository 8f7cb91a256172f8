package gdrive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/drive/v3"

	"sitesync/cond"
	"sitesync/site"
	"sitesync/site/pacer"
)

const (
	// metadataFields are what is asked of a file that is about to be read.
	metadataFields = "id,name,mimeType,md5Checksum,size,modifiedTime,trashed,parents,driveId"

	// eagerLimit is up to which size content is asked for together with the metadata, bytes. Larger files are read in
	// several parts at once.
	eagerLimit = 4 << 20
)

// metadata is what Drive says of a file.
type metadata struct {
	id, name, mime  string
	parent, driveID string // driveID is empty in My Drive
	md5             string // hexadecimal; empty if there is no content
	size            int64
	modified        time.Time
	trashed         bool
	hasContent      bool
	asked           time.Time
	opened          time.Time // last; zero if it was not
}

func metadataOf(f *drive.File, asked time.Time) metadata {
	m := metadata{id: f.Id, name: f.Name, mime: f.MimeType, parent: parentOf(f), driveID: f.DriveId,
		md5: f.Md5Checksum, size: f.Size, trashed: f.Trashed, hasContent: kindOf(f) == fileItem, asked: asked}
	m.modified, _ = time.Parse(time.RFC3339, f.ModifiedTime) // without one it has none
	return m
}

// metadata asks for the metadata of a file.
func (s *Site) metadata(ctx context.Context, id string) (metadata, error) {
	asked := time.Now()
	f, err := s.get(ctx, id, metadataFields)
	if err != nil {
		return metadata{}, err
	}
	return metadataOf(f, asked), nil
}

// Open is part of [site.Source]. A file is what has its id, wherever people have moved it to, but for the trash, and
// without an id what is at its path.
func (s *Site) Open(ctx context.Context, at site.Location, o site.OpenOptions) (site.SourceFile, error) {
	if o.Priority {
		ctx = pacer.WithPriority(ctx)
	}
	ctx = withoutCreating(ctx)
	f := &File{site: s, root: at.Root, priority: o.Priority, began: time.Now()}
	f.ctx, f.cancel = context.WithCancel(ctx)
	if err := f.open(at, o); err != nil {
		f.Close()
		if isRefused(err) {
			err = s.diagnoseSource(ctx, at.Root, err)
		}
		return nil, fmt.Errorf("the source %s: %w", at.Root+at.Rel, err)
	}
	return f, nil
}

// open finds the file.
func (f *File) open(at site.Location, o site.OpenOptions) error {
	f.first = f.site.ahead.take(at.ID)
	m, ok := f.site.known.unopened(at.ID, o.Size)
	if !ok {
		m, ok = f.first.info(f.ctx)
	}
	var err error
	if !ok || o.Size >= 0 && m.size != o.Size || !m.isSource() {
		f.dropFirst()
		m, err = f.ask(at, o)
	}
	read := readingOf(at.Rel, m.name)
	if err == nil && !m.isSource() || isNotFound(err) {
		gone := missing(m, err, f.site.Account())
		f.dropFirst()
		m, read, err = f.site.findByPath(f.ctx, at, o)
		if err == nil && m.id == "" {
			err = f.site.readable.diagnose(f.ctx, f.site, at.Root, gone)
		}
	}
	if err != nil {
		return err
	}
	f.metadata, f.reading = m, read
	f.site.known.opened(m.id)
	rel, err := read(at.Rel)
	if err != nil {
		return err
	}
	f.path = path.Join(at.Root, rel)
	if o.Size >= 0 && m.size != o.Size {
		return site.Classed(site.NotReady,
			fmt.Errorf("it has %d bytes on google drive, %d were published", m.size, o.Size))
	}
	if f.willRead = o.WillRead; f.willRead {
		f.site.ahead.goOn(f.site, m, o)
	}
	return nil
}

// ask asks for the metadata of the file with the id, and for its content if that is small and will be read.
func (f *File) ask(at site.Location, o site.OpenOptions) (metadata, error) {
	return f.site.known.find(f.ctx, f.site, at, o, func() {
		if o.WillRead && o.Size > 0 && o.Size <= eagerLimit && f.site.ahead.pays() {
			f.first = f.site.begin(f.ctx, at.ID, o.Size)
		}
	})
}

// isSource reports whether what was found can be read.
func (m metadata) isSource() bool { return m.id != "" && !m.trashed && m.hasContent }

// missing is the error of a file that is not where it should be: what was found in its place, if anything, or err.
func missing(m metadata, err error, account string) error {
	switch {
	case err == nil && m.trashed:
		return site.Classed(site.NotReady, errors.New("it was put into the trash of google drive; take it out again"))
	case err == nil && m.id != "":
		return fmt.Errorf("it is a folder, a shortcut or a Google document on google drive (%s), which has no content",
			m.mime)
	}
	return site.Classed(site.NotReady, fmt.Errorf("it is not on google drive, or not shared with %s", account))
}

// readingOf is how a path is read of a file that was found by its id: as its name says.
func readingOf(rel, name string) site.Reading {
	all := site.Readings(rel, true)
	if len(all) == 1 {
		return all[0]
	}
	for _, read := range append([]site.Reading{site.UsualReading}, all...) {
		if p, err := read(rel); err == nil && sameName(path.Base(p), name) {
			return read
		}
	}
	return site.UsualReading
}

// findByPath finds the file at a path, in the first reading by which there is one; none if its id is empty. What is
// known to be missing is asked for again before that is said.
func (s *Site) findByPath(ctx context.Context, at site.Location, o site.OpenOptions) (m metadata, read site.Reading,
	err error) {
	all := site.Readings(at.Rel, true)
	for i := range 2 * len(all) {
		read = all[i%len(all)]
		rel, err := read(at.Rel)
		if err != nil {
			return m, read, err
		}
		p := path.Join(at.Root, rel)
		if i >= len(all) {
			if err := s.forgetMissing(ctx, p); err != nil {
				return m, read, err
			}
		}
		if m, err = s.findAt(ctx, p, at, o); err != nil || m.id != "" {
			return m, read, err
		}
	}
	return m, read, nil
}

// findAt finds the file at a path on Drive; none if its id is empty.
func (s *Site) findAt(ctx context.Context, p string, at site.Location, o site.OpenOptions) (m metadata, err error) {
	name := path.Base(p)
	for stale := 0; ; stale++ {
		folder, err := s.folders.findExisting(ctx, path.Dir(p))
		var found items
		if err == nil && folder != nil {
			found, err = s.folders.lookup(ctx, folder, name, fileItem, nil)
		}
		at.ID = found[fileItem].id
		if err == nil && at.ID != "" {
			m, err = s.known.find(ctx, s, at, o, func() {})
			if err == nil && m.isSource() && sameName(m.name, name) {
				return m, nil
			}
			if err == nil || isNotFound(err) {
				err = fmt.Errorf("%w: the file was moved, renamed or put in the trash", errCacheInvalid)
			}
		}
		if !errors.Is(err, errCacheInvalid) || stale == putAgain {
			return metadata{}, err
		}
		s.folders.invalidate(path.Dir(p))
		if folder != nil {
			s.folders.remove(folder, name)
		}
	}
}

// forgetMissing makes sure that the first part of a path that is not there is looked for again.
func (s *Site) forgetMissing(ctx context.Context, p string) error {
	for ; ; p = path.Dir(p) {
		folder, err := s.folders.findExisting(ctx, path.Dir(p))
		if err != nil {
			return err
		}
		if folder != nil {
			s.folders.remove(folder, path.Base(p))
			return nil
		}
	}
}

// withoutCreating makes sure that nothing is created on the way to a file that is read.
func withoutCreating(ctx context.Context) context.Context {
	return withMayCreate(ctx, func(folder string) error {
		return rootError("something is not in %s on Drive, and is not made for reading", folder)
	})
}

// diagnoseSource returns the error of the root if that explains a refusal, and otherwise the refusal.
func (s *Site) diagnoseSource(ctx context.Context, root string, refusal error) error {
	for _, of := range s.roots {
		if belongsTo(root+"/", of) {
			if err := s.CheckReadable(ctx, of); err != nil {
				return err
			}
		}
	}
	return refusal
}

// readableTTL is for how long a root that could be read is not looked at again where files are missing.
const readableTTL = time.Second

// readableRoots are the roots that could be read lately. Where many files are missing, the root is looked at for one of
// them. Its zero value is ready.
type readableRoots struct {
	asking cond.KeyedMutex // by root
	mu     sync.Mutex
	since  map[string]time.Time // by root
}

// diagnose returns the error of the root if that explains why a file is missing, and otherwise the error of the file.
// What is below a root in the trash is in the trash as well.
func (r *readableRoots) diagnose(ctx context.Context, s *Site, root string, missing error) error {
	unlock, err := r.asking.Lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	r.mu.Lock()
	lately := time.Since(r.since[root]) < readableTTL
	r.mu.Unlock()
	if lately {
		return missing
	}
	asked := time.Now()
	if err := s.diagnoseSource(ctx, root, nil); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.since, func(_ string, at time.Time) bool { return time.Since(at) >= readableTTL })
	set(&r.since, root, asked)
	return missing
}

// Resolve is part of [site.Source]. It makes no request where the path can be read in one way only.
func (s *Site) Resolve(ctx context.Context, at site.Location) (site.Resolved, error) {
	ctx = withoutCreating(ctx)
	all := site.Readings(at.Rel, true)
	read := all[0]
	if len(all) > 1 {
		m, err := s.known.find(ctx, s, at, site.OpenOptions{Size: -1}, func() {})
		switch {
		case err == nil && m.isSource():
			read = readingOf(at.Rel, m.name)
		case err != nil && !isNotFound(err):
			return site.Resolved{}, err
		default:
			if m, read, err = s.findByPath(ctx, at, site.OpenOptions{Size: -1}); err != nil {
				return site.Resolved{}, err
			}
			if m.id == "" {
				read = site.UsualReading
			}
		}
	}
	rel, err := read(at.Rel)
	if err != nil {
		return site.Resolved{}, err
	}
	r := site.Resolved{Path: path.Join(at.Root, rel), Reading: read}
	if first, _, deeper := strings.Cut(rel, "/"); deeper {
		r.Folder = path.Join(at.Root, first)
	}
	return r, nil
}

// CheckReadable is part of [site.Source]: the root is there and can be listed, as it is now and not as remembered.
func (s *Site) CheckReadable(ctx context.Context, root string) error {
	f, err := s.folders.resolveCurrent(withoutCreating(ctx), root)
	var got *drive.File
	if err == nil {
		got, err = s.get(ctx, f.id, "capabilities/canListChildren")
	}
	if err == nil && got.Capabilities != nil && !got.Capabilities.CanListChildren {
		err = rootError("it can't be read by %s: give it the role Viewer", s.Account())
	}
	if err != nil {
		return fmt.Errorf("root %s: %w", root, asRootError(err))
	}
	return nil
}

// CheckFolder is part of [site.Source]. Files are found by their ids wherever their folders are, so only the root
// matters.
func (s *Site) CheckFolder(ctx context.Context, root, _ string) error {
	return s.CheckReadable(ctx, root)
}
