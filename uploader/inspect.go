package uploader

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"sitesync/avalon"
	"sitesync/config"
)

// Inspection is what an upload of a file would begin with. What is not known is empty.
type Inspection struct {
	Root     string // folder of this machine that the file must be in
	Local    string // where it comes from, a path of this machine
	Remote   string // where it goes, a path on the site
	Size     int64  // of what is at the source, bytes
	Modified time.Time
	Stale    bool // it is older than what was published, and so is waited for

	source source
}

// Inspect looks at a file's source as an upload would, from this machine, and changes nothing. The error is classed as
// that of an upload.
func Inspect(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (Inspection, error) {
	src, err := find(f, documentRoots, local, remote)
	if err != nil {
		return Inspection{}, err
	}
	i := Inspection{Root: src.root, Local: src.String(), Remote: src.remote, source: src}
	file, info, err := src.open(f.Size)
	if err != nil {
		return i, err
	}
	defer file.Close()
	i.Size, i.Modified, i.Stale = info.Size(), info.ModTime(), older(info.ModTime(), f)
	return i, nil
}

// MD5 reads the source for the sum of its content, in hexadecimal, as Drive tells it.
func (i Inspection) MD5(ctx context.Context) (string, error) {
	file, _, err := i.source.open(avalon.UnknownSize)
	if err != nil {
		return "", err
	}
	defer file.Close()
	defer context.AfterFunc(ctx, func() { file.Close() })() // ends a read, however long it is
	sum := md5.New()
	_, err = io.Copy(sum, file)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", i.source.missed(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
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
