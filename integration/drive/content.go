package drive

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// granule is the unit of resumable uploads: Drive keeps whole multiples of it.
const granule = 256 << 10

// errDiscarded says that the bytes of a file were not kept.
var errDiscarded = errors.New("content was discarded (Options.Discard)")

// store keeps the bytes of files in a folder.
type store struct {
	dir     string
	discard bool
	buffers sync.Pool // of *[]byte, granule long
}

func newStore(dir string, discard bool) *store {
	return &store{dir: dir, discard: discard, buffers: sync.Pool{New: func() any {
		b := make([]byte, granule)
		return &b
	}}}
}

// blob is the finished content of a file. It never changes.
type blob struct {
	path string // "" for an empty or discarded content
	size int64
	md5  string
}

// open returns the content.
func (b *blob) open() (io.ReadSeekCloser, error) {
	if b.path == "" {
		if b.size > 0 {
			return nil, errDiscarded
		}
		return emptyFile{}, nil
	}
	return os.Open(b.path)
}

// remove deletes the bytes. Readers that have it open are not disturbed.
func (b *blob) remove() {
	if b != nil && b.path != "" {
		_ = os.Remove(b.path) // what stays behind goes with the folder
	}
}

// emptyFile is a file of no bytes.
type emptyFile struct{}

func (emptyFile) Read([]byte) (int, error)       { return 0, io.EOF }
func (emptyFile) Seek(int64, int) (int64, error) { return 0, nil }
func (emptyFile) Close() error                   { return nil }

// draft is content on its way. It is used by one request at a time; its MD5
// runs on over the chunks of a resumable upload.
type draft struct {
	store *store
	path  string
	hash  hash.Hash
	size  int64
}

func (s *store) draft() *draft {
	return &draft{store: s, hash: md5.New()}
}

// readFrom appends what the reader gives: limit bytes, or all if limit is below
// 0. With granules, a reader that breaks off or is short leaves only whole
// granules behind, as Drive does; the error is returned.
func (d *draft) readFrom(r io.Reader, limit int64, granules bool) (err error) {
	buf := d.store.buffers.Get().(*[]byte)
	defer d.store.buffers.Put(buf)
	var file *os.File
	defer func() {
		if file == nil {
			return
		}
		if storeErr := errors.Join(file.Truncate(d.size), file.Close()); err == nil && storeErr != nil {
			err = fmt.Errorf("store content: %w", storeErr)
		}
	}()
	for limit != 0 {
		b := *buf
		if limit > 0 && limit < int64(len(b)) {
			b = b[:limit]
		}
		n, readErr := io.ReadFull(r, b)
		end := readErr == io.EOF || readErr == io.ErrUnexpectedEOF
		if granules && readErr != nil && !end {
			return readErr
		}
		if granules && end && limit > int64(n) {
			return io.ErrUnexpectedEOF
		}
		if n > 0 {
			if file == nil && !d.store.discard {
				if file, err = d.file(); err != nil {
					return err
				}
			}
			// Zeros stay a hole, so that a large sparse file takes no room here either.
			if file != nil && !bytes.Equal(b[:n], zeros[:n]) {
				if _, err := file.WriteAt(b[:n], d.size); err != nil {
					return fmt.Errorf("store content: %w", err)
				}
			}
			d.hash.Write(b[:n])
			d.size += int64(n)
			limit -= int64(n)
		}
		if end {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
	return nil
}

// zeros is a granule of a hole.
var zeros [granule]byte

// file opens the draft's file for writing.
func (d *draft) file() (*os.File, error) {
	var f *os.File
	var err error
	if d.path == "" {
		f, err = os.CreateTemp(d.store.dir, "content-")
	} else {
		f, err = os.OpenFile(d.path, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("store content: %w", err)
	}
	d.path = f.Name()
	return f, nil
}

// finish makes the draft a blob.
func (d *draft) finish() *blob {
	return &blob{path: d.path, size: d.size, md5: hex.EncodeToString(d.hash.Sum(nil))}
}

// drop throws the draft away.
func (d *draft) drop() {
	if d.path != "" {
		_ = os.Remove(d.path)
		d.path = ""
	}
}
