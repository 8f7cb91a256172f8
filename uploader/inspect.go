package uploader

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"math"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// Inspection is what an upload of a file would begin with. What is not known is empty.
type Inspection struct {
	Root     string // folder of this machine that the file must be in
	Local    string // where it comes from, a path of this machine
	Remote   string // where it goes, a path on the site
	Size     int64  // of what is at the source, bytes
	Modified time.Time
	Stale    bool // it is older than what was published, and so is waited for
}

// InspectionTimeout is how long an Inspector's source should wait for a storage to answer.
const InspectionTimeout = 5 * time.Second

// Inspector looks at sources, and changes nothing.
type Inspector struct {
	Source                site.Source
	LocalRoot, RemoteRoot config.Roots // as in [Options]
}

// Avoid has it taken that a root's storage does not answer.
func (n *Inspector) Avoid(root string) {
	if staller, ok := n.Source.(site.Staller); ok {
		staller.Avoid(root)
	}
}

// Inspect looks at a file's source as an upload would. The error is classed as that of an upload.
func (n *Inspector) Inspect(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (i Inspection, err error) {
	r, _, i, err := n.resolve(ctx, f, documentRoots)
	if err != nil {
		return i, err
	}
	file, err := n.Source.Open(ctx, r.source(), f.Size)
	if err != nil {
		return i, err
	}
	defer file.Close()
	i.Local = file.String()
	i.Size, i.Modified, i.Stale = file.Size(), file.ModTime(), older(file.ModTime(), f)
	return i, nil
}

// resolve finds out where a file comes from and goes, without opening it.
func (n *Inspector) resolve(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (r roots, at site.Resolved,
	i Inspection, err error) {
	if r, err = resolveRoots(f, documentRoots, n.LocalRoot, n.RemoteRoot); err != nil {
		return r, at, i, err
	}
	i.Root = r.here
	if at, err = n.Source.Resolve(ctx, r.source()); err != nil {
		return r, at, i, err
	}
	i.Local = at.Path
	i.Remote, err = r.target(at.Reading)
	return r, at, i, err
}

// MD5 reads a source for the sum of its content, in hexadecimal, as Drive has it.
func (n *Inspector) MD5(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (string, error) {
	r, err := resolveRoots(f, documentRoots, n.LocalRoot, n.RemoteRoot)
	if err != nil {
		return "", err
	}
	file, err := n.Source.Open(ctx, r.source(), avalon.UnknownSize)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := md5.New()
	_, err = io.Copy(sum, io.NewSectionReader(file, 0, math.MaxInt64))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", cmp.Or(file.ReadError(ctx, err), err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// CheckSource returns the path that a file is read from on this machine. The error says what is the matter with the
// settings or the storage, not with the file.
func (n *Inspector) CheckSource(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (string, error) {
	r, at, _, err := n.resolve(ctx, f, documentRoots)
	if err != nil {
		return "", err
	}
	if at.Folder != "" {
		return at.Path, n.Source.CheckFolder(ctx, r.here, at.Folder)
	}
	return at.Path, n.Source.CheckRoot(ctx, r.here)
}

// Unfit says why the settings do not fit a path, so that its file is held; nil if they do.
func Unfit(path string, documentRoots avalon.Roots, local, remote config.Roots) error {
	if _, err := resolveRoots(&avalon.File{Path: path}, documentRoots, local,
		remote); site.ClassOf(err) == site.Unavailable {
		return err
	}
	return nil
}
