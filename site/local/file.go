package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"sitesync/site"
)

// File is a file that is open for reading. Its calls are given up when they take too long, or when the context ends
// that it was opened with.
type File struct {
	location
	key     string // of its calls
	reading site.Reading
	ctx     context.Context
	calls   *fileCalls
	file    *os.File
	info    os.FileInfo // when it was opened

	mu     sync.Mutex
	spare  []byte // buffer of an earlier read
	failed error  // of the first read that the file system refused
}

// Size is part of [site.SourceFile].
func (f *File) Size() int64 { return f.info.Size() }

// ModTime is part of [site.SourceFile].
func (f *File) ModTime() time.Time { return f.info.ModTime() }

// MD5 is part of [site.SourceFile]: it is not known.
func (f *File) MD5() string { return "" }

// Reading is part of [site.SourceFile].
func (f *File) Reading() site.Reading { return f.reading }

// ReadAt is part of [io.ReaderAt]. It reads into a buffer of its own: a call that was given up may still write into it.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	buf := f.buffer(len(p))
	began := time.Now()
	n, err := answer(f.ctx, f.calls, f.root, f.key, func() (int, error) { return f.file.ReadAt(buf, off) }, nil)
	if err != nil && err != io.EOF {
		f.fail(err)
		return 0, err // buf may still be in use
	}
	copy(p, buf[:n])
	f.mu.Lock()
	f.spare = buf
	f.mu.Unlock()
	if n > 0 {
		f.calls.worked(f.root, began)
	}
	return n, err
}

func (f *File) buffer(n int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	buf := f.spare
	f.spare = nil
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	return buf[:n]
}

// fail keeps why the file can't be read. A call that was given up is in the error of who read.
func (f *File) fail(err error) {
	if site.IsStall(err) || f.ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
	}
}

// ReadError is part of [site.SourceFile].
func (f *File) ReadError(ctx context.Context, used error) error {
	if stall := new(site.StallError); errors.As(used, &stall) {
		return f.calls.whose(site.UnavailableIn(site.OneRoot, stall))
	}
	f.mu.Lock()
	failed := f.failed
	f.mu.Unlock()
	if failed == nil || ctx.Err() != nil {
		return nil
	}
	return f.calls.whose(f.calls.does(ctx, f.root, f.key, func() error { return f.classify(failed) }))
}

// Changed is part of [site.SourceFile]. Inodes are not compared, as some network storages give a file a new one each
// time.
func (f *File) Changed(ctx context.Context) error {
	stats := []func() (os.FileInfo, error){f.file.Stat, func() (os.FileInfo, error) { return os.Stat(f.String()) }}
	return f.calls.whose(f.calls.does(ctx, f.root, f.key, func() error {
		for _, stat := range stats {
			now, err := stat()
			if err != nil || now.Size() != f.Size() || !now.ModTime().Equal(f.ModTime()) {
				return site.Classed(site.NotReady, fmt.Errorf("the source %s changed while it was read", f))
			}
		}
		return nil
	}))
}

// NewerAnnounced is part of [site.Announcer]: publishing copies to NAME.tmp, and renames that.
func (f *File) NewerAnnounced(ctx context.Context) (bool, error) {
	next := f.location
	next.rel += ".tmp"
	there, err := answer(ctx, f.calls, f.root, f.key, func() (bool, error) {
		return exists(next.spelled().String()), nil
	}, nil)
	return there, f.calls.whose(err)
}

// Close closes the file, without waiting for it longer than for any other call.
func (f *File) Close() error {
	if _, stalls := f.calls.stalls(f.root, f.key); stalls {
		go f.file.Close() //nolint:errcheck // it was only read
		return nil
	}
	return f.calls.does(context.WithoutCancel(f.ctx), f.root, f.key, f.file.Close)
}
