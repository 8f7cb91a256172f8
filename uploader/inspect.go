package uploader

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"math"
	"path/filepath"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// Inspection is what a transfer of a file would begin with. What is not known is empty.
type Inspection struct {
	Root     string // folder of this machine that the file must be in
	Local    string // where it is, or will be, on this machine
	Remote   string // where it is, or will be, on the remote site
	Size     int64  // of what is at the source, bytes
	Modified time.Time
	Stale    bool // it is older than what was published, and so is waited for
}

// InspectionTimeout is how long an Inspector's source should wait for a storage to answer.
const InspectionTimeout = 5 * time.Second

// Inspector looks at sources, and changes nothing.
type Inspector struct {
	Route                 avalon.Route
	Direction             config.Direction // Up or Down
	Source                site.Source
	LocalRoot, RemoteRoot config.Roots // as in [Options]
}

// Avoid has it taken that a root's storage does not answer.
func (n *Inspector) Avoid(root string) {
	if staller, ok := n.Source.(site.Staller); ok {
		staller.Avoid(root)
	}
}

// Inspect looks at a file's source as a transfer would. The error is classed as that of a transfer.
func (n *Inspector) Inspect(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (i Inspection, err error) {
	from, _, i, err := n.resolve(ctx, f, documentRoots)
	if err != nil {
		return i, err
	}
	file, err := n.Source.Open(ctx, from.at, site.OpenOptions{Size: f.Size})
	if err != nil {
		return i, err
	}
	defer file.Close()
	if n.Direction == config.Down {
		i.Remote = file.String()
	} else {
		i.Local = file.String()
	}
	_, mayBeStale := file.(site.Announcer)
	i.Size, i.Modified, i.Stale = file.Size(), file.ModTime(), mayBeStale && older(file.ModTime(), f)
	return i, nil
}

// resolve finds out where a file comes from and goes, without opening it.
func (n *Inspector) resolve(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (from end,
	at site.Resolved,
	i Inspection, err error) {
	r, err := resolveRoots(f, documentRoots, n.LocalRoot, n.RemoteRoot)
	if err != nil {
		return from, at, i, err
	}
	i.Root = r.here
	from, to := r.ends(n.Direction, f, n.Route)
	if at, err = n.Source.Resolve(ctx, from.at); err != nil {
		return from, at, i, err
	}
	target, err := to.path(at.Reading)
	if i.Local, i.Remote = at.Path, target; n.Direction == config.Down {
		i.Local, i.Remote = filepath.FromSlash(target), at.Path
	}
	return from, at, i, err
}

// MD5 returns the sum of a source's content, in hexadecimal, as Drive has it. It reads the source for that, unless its
// site knows it.
func (n *Inspector) MD5(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (string, error) {
	r, err := resolveRoots(f, documentRoots, n.LocalRoot, n.RemoteRoot)
	if err != nil {
		return "", err
	}
	from, _ := r.ends(n.Direction, f, n.Route)
	file, err := n.Source.Open(ctx, from.at, site.OpenOptions{Size: avalon.UnknownSize})
	if err != nil {
		return "", err
	}
	defer file.Close()
	if known := file.MD5(); known != "" {
		return known, nil
	}
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

// CheckSource returns the path that a file is read from. The error says what is the matter with the settings or the
// storage, not with the file.
func (n *Inspector) CheckSource(ctx context.Context, f *avalon.File, documentRoots avalon.Roots) (string, error) {
	from, at, _, err := n.resolve(ctx, f, documentRoots)
	if err != nil {
		return "", err
	}
	if at.Folder != "" {
		return at.Path, n.Source.CheckFolder(ctx, from.root, at.Folder)
	}
	return at.Path, n.Source.CheckReadable(ctx, from.root)
}

// Unfit says why the settings do not fit a path, so that its file is held; nil if they do.
func Unfit(path string, documentRoots avalon.Roots, local, remote config.Roots) error {
	if _, err := resolveRoots(&avalon.File{Path: path}, documentRoots, local,
		remote); site.ClassOf(err) == site.Unavailable {
		return err
	}
	return nil
}
