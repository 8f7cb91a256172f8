package gdrive

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"sitesync/site"
)

// errGrown says that the source is longer than the upload's size, so it is not what was published.
var errGrown = errors.New("it has grown")

// content reads an upload's source and computes its MD5. It can go back for another attempt.
type content struct {
	upload site.Upload
	at     int64 // where it is read on
	hash   hash.Hash
	hashed int64 // what the hash has seen, from the start
	err    error // of reading the source
}

func newContent(u site.Upload) *content { return &content{upload: u, hash: md5.New()} }

// seek goes back to an offset up to hashed. What was hashed is not hashed again, except after a seek to 0.
func (c *content) seek(offset int64) {
	if offset == 0 {
		c.hash.Reset()
		c.hashed = 0
	}
	c.at, c.err = offset, nil
}

// skip hashes up to an offset what another process has sent. Nothing must have been read yet.
func (c *content) skip(ctx context.Context, offset int64) error {
	for buf := make([]byte, 256<<10); c.at < offset; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.Read(buf[:min(int64(len(buf)), offset-c.at)]); err != nil {
			return classify(c.blame(err))
		}
	}
	return nil
}

// Read reads on and reports progress. A source that is not of the upload's size fails before its last byte is
// returned, so that no request with it can be complete.
func (c *content) Read(p []byte) (int, error) {
	left := c.upload.Size - c.at
	n, err := c.upload.Content.ReadAt(p[:min(int64(len(p)), left+1)], c.at)
	if int64(n) == left && int64(len(p)) == left {
		// There was no room for what must not be there.
		if more, _ := c.upload.Content.ReadAt(make([]byte, 1), c.upload.Size); more > 0 {
			n++
		}
	}
	switch {
	case int64(n) > left:
		err = errGrown
	case int64(n) == left || n == len(p):
		err = nil // an EOF just behind what was asked for
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.err = err
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	c.at += int64(n)
	if fresh := c.at - c.hashed; fresh > 0 {
		c.hash.Write(p[int64(n)-fresh : n])
		c.hashed = c.at
	}
	if c.upload.OnProgress != nil {
		c.upload.OnProgress(c.at)
	}
	return n, nil
}

// sum is the MD5 of what was read.
func (c *content) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// sumOf reads all of an upload's source and returns its MD5.
func sumOf(ctx context.Context, u site.Upload) (string, error) {
	u.OnProgress = nil // nothing is
	body := newContent(u)
	if err := body.skip(ctx, u.Size); err != nil {
		return "", err
	}
	return body.sum(), nil
}

// digest is an MD5 as it is remembered; zero for none.
type digest [md5.Size]byte

// parseDigest parses an MD5 in hexadecimal.
func parseDigest(text string) (d digest) {
	if sum, err := hex.DecodeString(text); err == nil && len(sum) == len(d) {
		copy(d[:], sum)
	}
	return d
}

// blame returns the source's error, if there was one, instead of what came of it in a request.
func (c *content) blame(err error) error {
	if err != nil && c.err != nil {
		return &sourceError{c.err}
	}
	return err
}
