package studio

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// File is one published file of a representation.
type File struct {
	ID    bson.ObjectID
	Path  string // as recorded: {root}/Test/...
	Rel   string // below the root, with slashes: Test/...
	Local string // on this machine
	Size  int64
	// MD5 of the content in hexadecimal digits; empty for Sparse files, where
	// taking it would last longer than publishing, and for RecordOnly. See Sum.
	MD5 string

	tmp string // where the file is until it is renamed; "" with NoTmp
}

// Sum reads the file and returns its MD5 in hexadecimal digits.
func (f File) Sum() (string, error) {
	in, err := os.Open(f.Local)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := md5.New()
	if _, err := io.Copy(sum, in); err != nil {
		return "", fmt.Errorf("read %s: %w", f.Local, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// write makes the file, under its *.tmp name unless the publish wants none.
func (f *File) write(pub Publish) error {
	if err := os.MkdirAll(filepath.Dir(f.Local), 0o755); err != nil {
		return err
	}
	name := f.Local
	if !pub.NoTmp {
		f.tmp = f.Local + ".tmp"
		name = f.tmp
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	if pub.Sparse {
		err = sparse(out, f.content(pub.Seed), f.Size)
	} else {
		sum := md5.New()
		_, err = io.CopyN(io.MultiWriter(out, sum), f.content(pub.Seed), f.Size)
		f.MD5 = hex.EncodeToString(sum.Sum(nil))
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// content is an endless stream of bytes that depends on path and seed alone.
func (f *File) content(seed uint64) io.Reader {
	path := fnv.New64a()
	_, _ = io.WriteString(path, f.Rel)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
		key[8+i] = byte(path.Sum64() >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// sparse gives the file its size, and content at both ends only.
func sparse(out *os.File, content io.Reader, size int64) error {
	const end = 1024
	if err := out.Truncate(size); err != nil {
		return err
	}
	if size < 2*end {
		_, err := io.CopyN(out, content, size)
		return err
	}
	if _, err := io.CopyN(out, content, end); err != nil {
		return err
	}
	if _, err := out.Seek(-end, io.SeekEnd); err != nil {
		return err
	}
	_, err := io.CopyN(out, content, end)
	return err
}

// finish gives files their final names, as IntegrateNew does: a new file is
// renamed, over an existing one the content is copied and the *.tmp stays.
func finish(files []File) error {
	for _, f := range files {
		if f.tmp == "" {
			continue
		}
		if _, err := os.Stat(f.tmp); errors.Is(err, os.ErrNotExist) {
			continue // done before, for another representation with this file
		}
		if _, err := os.Stat(f.Local); err == nil {
			if err := copyOver(f.Local, f.tmp); err != nil {
				return err
			}
			continue
		}
		if err := os.Rename(f.tmp, f.Local); err != nil {
			return err
		}
	}
	return nil
}

// copyOver replaces the content of a file in place: a reader may see it empty or
// half of it.
func copyOver(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
