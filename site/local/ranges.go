package local

import (
	"context"
	"errors"
	"hash"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"sitesync/site"
)

// A large file is read in segments, several at once. Segment n begins only when all up to n - segmentsAtOnce are
// complete: so the length of a partial file says what of it is. Where more is known to be, the file is made longer
// accordingly.
const (
	segmentsAtOnce = 8

	// Bounds of the size of a segment, bytes. It is between a request that costs little beside what it reads, and a
	// break that costs little of what was read.
	minSegment = 4 << 20
	maxSegment = 16 << 20

	// segmentsOfFile is in how many segments a file is cut within these bounds.
	segmentsOfFile = 64

	// writeSize is how much is written by one call of the file system, bytes.
	writeSize = 256 << 10

	// readSize is that of reading what was written, and of comparing files.
	readSize = 1 << 20

	// syncSize is after how many bytes the disk is waited for, so that there is little to wait for in the end.
	syncSize = 64 << 20
)

// segmentSize is the size of the segments of a file, bytes.
func segmentSize(size int64) int64 {
	return min(max((size/segmentsOfFile+1<<20-1)&^(1<<20-1), minSegment), maxSegment)
}

// complete is how much of a file is certainly in a partial file of a length, bytes from the start.
func complete(size, length int64) int64 {
	segment := segmentSize(size)
	begun := (length + segment - 1) / segment
	return min(max(begun-segmentsAtOnce, 0), size/segment) * segment
}

// lengthFor is the length of a partial file of which so much is complete, a number of segments.
func lengthFor(size, complete int64) int64 { return complete + segmentsAtOnce*segmentSize(size) }

// transfer writes content to a partial file.
type transfer struct {
	*writing
	to    *partial
	hash  hash.Hash
	buf   []byte // for hashing what was written
	whole int64  // up to where the file is complete, bytes; read when nothing is written any more

	reporting sync.Mutex // one report at a time, so that the last one is of all
	bytes     int64      // that are there
}

// fill writes all of the file from an offset on, up to which it is complete, and hashes all of it.
func (t *transfer) fill(ctx context.Context, from int64) error {
	ranger, ok := t.Content.(site.Ranger)
	t.begin(from)
	if ok && t.Size-from > segmentSize(t.Size) {
		if err := t.fillInSegments(ctx, ranger, from); !errors.Is(err, site.ErrNoRanges) {
			return err
		}
		from = t.whole
		t.begin(from)
	}
	if err := t.hashWritten(ctx, 0, from); err != nil {
		return err
	}
	if ok {
		return t.copyRange(ctx, ranger, from, t.Size-from, t.hash)
	}
	if err := t.copy(ctx, io.NewSectionReader(t.Content, from, t.Size-from), from, t.Size-from, t.hash); err != nil {
		return err
	}
	if more, _ := t.Content.ReadAt(make([]byte, 1), t.Size); more > 0 {
		return t.failed("the source is larger than the %d bytes that it had", t.Size)
	}
	return nil
}

// begin says that the file is complete up to an offset, and not hashed.
func (t *transfer) begin(from int64) {
	t.hash.Reset()
	t.whole = from
	t.progress(from - t.bytes) // nothing else reports now
}

// fillInSegments reads several segments at once. They are hashed, from the memory of the system, as they get complete
// one after the other.
func (t *transfer) fillInSegments(ctx context.Context, content site.Ranger, from int64) error {
	segment := segmentSize(t.Size)
	slots := make(chan struct{}, segmentsAtOnce)
	var done [segmentsAtOnce]chan struct{}
	for i := range done {
		done[i] = make(chan struct{}, 1)
		slots <- struct{}{}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := t.hashWritten(ctx, 0, from); err != nil {
			return err
		}
		for at := from; at < t.Size; at += segment {
			select {
			case <-done[at/segment%segmentsAtOnce]:
			case <-ctx.Done():
				return ctx.Err()
			}
			t.whole = at + segment
			slots <- struct{}{}
			if err := t.hashWritten(ctx, at, min(segment, t.Size-at)); err != nil {
				return err
			}
		}
		return nil
	})
dispatch:
	for at := from; at < t.Size; at += segment {
		select {
		case <-slots:
		case <-ctx.Done():
			break dispatch
		}
		group.Go(func() error {
			if err := t.copyRange(ctx, content, at, min(segment, t.Size-at), nil); err != nil {
				return err
			}
			done[at/segment%segmentsAtOnce] <- struct{}{}
			return nil
		})
	}
	err := group.Wait()
	for more := err != nil; more; {
		select {
		case <-done[t.whole/segment%segmentsAtOnce]:
			t.whole += segment
		default:
			more = false
		}
	}
	return err
}

func (t *transfer) copyRange(ctx context.Context, content site.Ranger, at, n int64, h hash.Hash) error {
	r, err := content.ReadRange(ctx, at, n)
	if err != nil {
		return err
	}
	defer r.Close()
	return t.copy(ctx, r, at, n, h)
}

// copy writes what is read to an offset. An error of reading is returned as it is.
func (t *transfer) copy(ctx context.Context, r io.Reader, at, n int64, h hash.Hash) error {
	buf := make([]byte, min(n, writeSize))
	unsynced := int64(0)
	for end := at + n; at < end; {
		m, err := io.ReadFull(r, buf[:min(end-at, int64(len(buf)))])
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return t.failed("the source ends after %d of %d bytes", at+int64(m), t.Size)
		case err != nil:
			return err
		}
		if err := t.does(ctx, func() error { _, err := t.to.WriteAt(buf[:m], at); return err }); err != nil {
			return err // buf may still be in use
		}
		at += int64(m)
		t.progress(int64(m))
		if h == nil {
			continue
		}
		h.Write(buf[:m])
		t.whole = at
		if unsynced += int64(m); unsynced >= syncSize {
			if err := t.sync(ctx); err != nil {
				return err
			}
			unsynced = 0
		}
	}
	return nil
}

// hashWritten hashes what was written. Some time later it is on the disk too.
func (t *transfer) hashWritten(ctx context.Context, at, n int64) error {
	if t.buf == nil && n > 0 {
		t.buf = make([]byte, min(t.Size, readSize))
	}
	for end := at + n; at < end; {
		next := min(at+readSize, end)
		if err := t.readInto(ctx, t.to.File, at, next-at, t.hash, t.buf); err != nil {
			return err
		}
		if next/syncSize > at/syncSize {
			if err := t.sync(ctx); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// sync waits until what was written is on the disk.
func (t *transfer) sync(ctx context.Context) error {
	return t.patiently(ctx, func() error { return t.Site.sync(t.to) })
}

// progress reports bytes more.
func (t *transfer) progress(n int64) {
	t.reporting.Lock()
	defer t.reporting.Unlock()
	if t.bytes += n; t.OnProgress != nil {
		t.OnProgress(t.bytes)
	}
}
