package uploader

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"strings"
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

	source    source
	inspector *Inspector
}

// inspectFor is how long an Inspector waits for a storage to answer.
const inspectFor = 5 * time.Second

// Inspector looks at sources, from this machine, and changes nothing. A storage that does not answer is waited for once.
type Inspector struct{ files *fileCalls }

// NewInspector returns an Inspector.
func NewInspector() *Inspector {
	n := &Inspector{newFileCalls()}
	n.files.patience = inspectFor
	return n
}

// Avoid has the Inspector take it that a root's storage does not answer. Where one process hangs, the next may too, and
// can't even end then.
func (n *Inspector) Avoid(root string) {
	n.files.isGone(&hangError{root: root, path: root, began: time.Now()})
}

// Inspect looks at a file's source as an upload would. The error is classed as that of an upload.
func (n *Inspector) Inspect(ctx context.Context, f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (Inspection, error) {
	r, err := resolveRoots(f, documentRoots, local, remote)
	if err != nil {
		return Inspection{}, err
	}
	if err := n.files.hangsAt(r.here); err != nil {
		return Inspection{Root: r.here}, err
	}
	type look struct {
		Inspection
		err error
	}
	l, err := answer(ctx, n.files, r.here, f.Path, func() (l look, _ error) {
		src, err := find(f, documentRoots, local, remote)
		if err != nil {
			return look{err: err}, nil
		}
		l.Inspection = Inspection{Root: src.root, Local: src.String(), Remote: src.remote, source: src, inspector: n}
		file, info, err := src.open(f.Size)
		if err != nil {
			l.err = err
			return l, nil
		}
		defer file.Close()
		l.Size, l.Modified, l.Stale = info.Size(), info.ModTime(), older(info.ModTime(), f)
		return l, nil
	}, nil)
	if err != nil {
		return Inspection{Root: r.here}, err
	}
	return l.Inspection, l.err
}

// MD5 reads the source for the sum of its content, in hexadecimal, as Drive tells it.
func (i Inspection) MD5(ctx context.Context) (string, error) {
	c, root, path := i.inspector.files, i.source.root, i.source.String()
	open, err := answer(ctx, c, root, path, func() (*os.File, error) {
		file, _, err := i.source.open(avalon.UnknownSize)
		return file, err
	}, func(f *os.File) { f.Close() })
	if err != nil {
		return "", err
	}
	file := &guardedFile{ctx: ctx, calls: c, root: root, path: path, file: open}
	defer file.Close()
	sum := md5.New()
	_, err = io.Copy(sum, io.NewSectionReader(file, 0, math.MaxInt64))
	var hangs *hangError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &hangs):
		return "", err
	case err != nil:
		return "", c.does(ctx, root, path, func() error { return i.source.missed(err) })
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Source returns the path that a file is read from on this machine. The error says what is the matter with the
// settings or the storage, not with the file.
func (n *Inspector) Source(ctx context.Context, f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (string, error) {
	r, err := resolveRoots(f, documentRoots, local, remote)
	if err != nil {
		return "", err
	}
	return answer(ctx, n.files, r.here, f.Path, func() (string, error) {
		src, err := locate(f, documentRoots, local, remote)
		if err != nil {
			return "", err
		}
		if project, ok := src.projectFolder(); ok {
			if err := src.there(project); err != nil {
				return src.String(), err
			}
			return src.String(), src.projectAllowed()
		}
		return src.String(), mounted(src.root)
	}, nil)
}

// Unfit says why the settings do not fit a path, so that its file is held; nil if they do.
func Unfit(path string, documentRoots avalon.Roots, local, remote config.Roots) error {
	if _, err := resolveRoots(&avalon.File{Path: path}, documentRoots, local, remote); site.ClassOf(err) == site.Unavailable {
		return err
	}
	return nil
}

// Concerns reports whether a hold concerns the file that was inspected, as far as can be told: whether it would be created
// is not known.
func (h Hold) Concerns(i Inspection, size int64) bool {
	within := func(p string) bool {
		return p != "" && (p == h.Name || strings.HasPrefix(p, strings.TrimRight(h.Name, `/\`)+"/") || strings.HasPrefix(p, h.Name+`\`))
	}
	switch h.Kind {
	case SiteTarget:
		return true
	case LocalRoot:
		return i.Root != "" && i.Root == h.Name
	case ProjectFolder:
		return within(i.Local)
	case RemoteRoot, NewFiles:
		return within(i.Remote)
	case LargeFiles:
		return within(i.Remote) && max(size, i.Size) >= h.From
	}
	return false
}

// String tells what is held, and why.
func (h Hold) String() string { return h.What + ": " + h.Why }
