package gdrive

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/uploader/site"
)

const (
	// multipartLimit is up to which size a file goes in one request with its metadata. Google's advice is
	// 5 MB.
	multipartLimit = 5_000_000

	// stallTimeout is how long a request with content may stand still, not a byte sent or answered.
	stallTimeout = time.Minute

	// maxAnswer bounds the answers that are read, bytes.
	maxAnswer = 1 << 20

	contentType = "application/octet-stream"
)

// target is the file to be written: a new one, or one that is there.
type target struct {
	id     string
	create bool
	parent string // of a new one
	name   string // of a new one
}

// upload writes the content to the target and returns what Drive then says of it, its MD5 and size compared
// with what was sent.
func (s *Site) upload(ctx context.Context, t target, u site.Upload) (*drive.File, error) {
	body := &content{upload: u, hash: md5.New()}
	var answer *drive.File
	var err error
	if u.Size <= multipartLimit {
		err = s.attempt(ctx, func() (err error) {
			answer, err = s.multipart(ctx, t, u, body)
			return err
		})
	} else {
		answer, err = s.resumable(ctx, t, u, body)
	}
	if err != nil {
		return nil, err
	}
	if sum := body.sum(); answer.Md5Checksum != sum || answer.Size != u.Size {
		return nil, fmt.Errorf("google drive has %d bytes with MD5 %s, but %d bytes with MD5 %s were sent",
			answer.Size, answer.Md5Checksum, u.Size, sum)
	}
	return answer, nil
}

// url is the address of an upload.
func (s *Site) uploadURL(t target, kind string) (method, address string) {
	q := url.Values{"uploadType": {kind}, "supportsAllDrives": {"true"}, "fields": {uploadFields}}
	address = s.endpoint + "/upload/drive/v3/files"
	if t.create {
		return http.MethodPost, address + "?" + q.Encode()
	}
	return http.MethodPatch, address + "/" + url.PathEscape(t.id) + "?" + q.Encode()
}

// metadata is what is sent along with the content.
func (t target) metadata(u site.Upload) ([]byte, error) {
	f := &drive.File{ModifiedTime: u.ModTime.UTC().Format("2006-01-02T15:04:05.000Z")}
	if t.create {
		f.Id, f.Name, f.Parents = t.id, t.name, []string{t.parent}
	}
	return json.Marshal(f)
}

// multipart sends metadata and content in one request.
func (s *Site) multipart(ctx context.Context, t target, u site.Upload, body *content) (*drive.File, error) {
	meta, err := t.metadata(u)
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json; charset=UTF-8"}})
	if err != nil {
		return nil, err
	}
	_, _ = part.Write(meta) // a buffer takes everything
	if _, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}}); err != nil {
		return nil, err
	}
	tail := "\r\n--" + w.Boundary() + "--\r\n"
	if err := body.rewind(0); err != nil {
		return nil, err
	}
	method, address := s.uploadURL(t, "multipart")
	size := int64(head.Len()) + u.Size + int64(len(tail))
	res, err := s.send(ctx, method, address, size, io.MultiReader(&head, body, strings.NewReader(tail)),
		http.Header{"Content-Type": {"multipart/related; boundary=" + w.Boundary()}})
	if err != nil {
		return nil, body.blame(err)
	}
	defer res.Body.Close()
	return decodeFile(res)
}

// send makes a request and gives it up when it stands still. An answer other than 2xx and 308 is an error.
func (s *Site) send(ctx context.Context, method, address string, size int64, body io.Reader, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("not a byte for %v", stallTimeout))
	})
	alive := func() { stall.Reset(stallTimeout) }
	var reader io.Reader = http.NoBody
	if size > 0 {
		reader = &watched{Reader: body, alive: alive}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		stall.Stop()
		cancel(nil)
		return nil, errors.New("the request can't be built") // the error would name the address
	}
	req.ContentLength = size
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := s.client.Do(req)
	if err != nil {
		stall.Stop()
		cause := context.Cause(ctx)
		cancel(nil)
		if cause != nil {
			return nil, site.Classed(site.Throttled, cause)
		}
		return nil, err
	}
	alive()
	res.Body = &watchedBody{ReadCloser: res.Body, alive: alive, done: func() { stall.Stop(); cancel(nil) }}
	if res.StatusCode == http.StatusPermanentRedirect { // Drive's "resume incomplete"
		return res, nil
	}
	if err := googleapi.CheckResponse(res); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

func decodeFile(res *http.Response) (*drive.File, error) {
	var f drive.File
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&f); err != nil {
		return nil, site.Classed(site.Throttled, fmt.Errorf("google drive's answer can't be read: %w", err))
	}
	return &f, nil
}

// watched tells whenever a request's body moves on.
type watched struct {
	io.Reader
	alive func()
}

func (w *watched) Read(p []byte) (int, error) {
	w.alive()
	return w.Reader.Read(p)
}

type watchedBody struct {
	io.ReadCloser
	alive func()
	done  func()
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.alive()
	return w.ReadCloser.Read(p)
}

func (w *watchedBody) Close() error {
	defer w.done()
	return w.ReadCloser.Close()
}

// content reads an upload's source and sums it on the way. It can go back, for another attempt.
type content struct {
	upload site.Upload
	hash   hash.Hash
	at     int64 // what was read, and summed, so far
	err    error // of reading the source
}

// rewind goes to an offset that was read before, or to the start.
func (c *content) rewind(offset int64) error {
	if offset == c.at && c.err == nil {
		return nil
	}
	c.hash.Reset()
	c.at, c.err = 0, nil
	_, err := io.CopyN(io.Discard, readerFunc(c.read), offset)
	return c.blame(err)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (c *content) read(p []byte) (int, error) {
	if left := c.upload.Size - c.at; left == 0 {
		return 0, io.EOF
	} else if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := c.upload.Content.ReadAt(p, c.at)
	c.hash.Write(p[:n])
	c.at += int64(n)
	if n == len(p) {
		err = nil // an EOF just behind what was asked for
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.err = fmt.Errorf("read the source: %w", err)
		return n, c.err
	}
	return n, nil
}

// Read reads on, and tells of the progress.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if n > 0 && c.upload.Sent != nil {
		c.upload.Sent(c.at)
	}
	return n, err
}

// sum is the MD5 of what was read.
func (c *content) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// blame returns the source's error, if there was one, instead of what came of it in a request.
func (c *content) blame(err error) error {
	if err != nil && c.err != nil {
		return &sourceError{c.err}
	}
	return err
}
