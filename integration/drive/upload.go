package drive

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// errMultipart says that a multipart body does not hold together.
var errMultipart = errors.New("malformed multipart body")

// receive is a create or update with content.
func (c *call) receive() error {
	switch c.query.Get("uploadType") {
	case "resumable":
		return c.startSession()
	case "multipart":
		return c.receiveMultipart()
	}
	// media: the body is the content, there is no metadata.
	m, refused := c.parseMetadata(nil)
	if refused != nil {
		return refused
	}
	return c.receiveContent(m, c.r.Header.Get("Content-Type"), c.r.Body, c.r.ContentLength)
}

func (c *call) receiveMultipart() error {
	meta, mediaType, media, err := splitMultipart(c.r.Header.Get("Content-Type"), c.r.Body)
	if err != nil {
		return multipartError(err)
	}
	m, refused := c.parseMetadata(meta)
	if refused != nil {
		return refused
	}
	return c.receiveContent(m, mediaType, media, -1)
}

func multipartError(err error) error {
	if !errors.Is(err, errMultipart) {
		return err
	}
	return &apiError{Code: 400, Reason: "badContent", Message: "Malformed multipart body: " + err.Error(),
		violation: true}
}

// receiveContent stores the content and does the create or update.
func (c *call) receiveContent(m *metadata, mediaType string, media io.Reader, size int64) error {
	if refused := c.precheck(m, mediaType, size); refused != nil {
		return refused
	}
	d := c.s.store.draft()
	err := d.readFrom(media, -1, false)
	if err == nil {
		// What stands behind the last part: the request must have arrived whole.
		_, err = io.Copy(io.Discard, c.r.Body)
	}
	if err != nil {
		d.drop()
		if errors.Is(err, errMultipart) {
			return multipartError(err)
		}
		return err
	}
	return c.commit(m, mediaType, d.finish())
}

// precheck refuses what can be refused before the content has arrived.
func (c *call) precheck(m *metadata, mediaType string, size int64) *apiError {
	c.s.tree.mu.RLock()
	defer c.s.tree.mu.RUnlock()
	if c.m.ID == "drive.files.create" {
		_, err := c.checkCreate(m, mediaType, size)
		return err
	}
	_, err := c.checkUpdate(m, size)
	return err
}

// splitMultipart takes a multipart/related body apart: JSON first, then the
// content, which is read from media.
func splitMultipart(header string, body io.Reader) (meta []byte, mediaType string, media io.Reader, err error) {
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "multipart/related" || params["boundary"] == "" {
		return nil, "", nil, fmt.Errorf("%w: content type %q is no multipart/related with a boundary", errMultipart,
			header)
	}
	parts := multipart.NewReader(body, params["boundary"])
	first, err := parts.NextRawPart()
	if err != nil {
		return nil, "", nil, partError("metadata", err)
	}
	if kind, _, err := mime.ParseMediaType(first.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, "", nil, fmt.Errorf("%w: the first part is %q, not JSON", errMultipart,
			first.Header.Get("Content-Type"))
	}
	meta, err = io.ReadAll(io.LimitReader(first, maxMetadata+1))
	if err == nil && len(meta) > maxMetadata {
		err = errors.New("too large")
	}
	if err != nil {
		return nil, "", nil, partError("metadata", err)
	}
	second, err := parts.NextRawPart()
	if err != nil {
		return nil, "", nil, partError("content", err)
	}
	media = second
	if strings.EqualFold(second.Header.Get("Content-Transfer-Encoding"), "base64") {
		media = base64.NewDecoder(base64.StdEncoding, media)
	}
	return meta, second.Header.Get("Content-Type"), partReader{media}, nil
}

func partError(part string, err error) error {
	var page *htmlError
	if errors.Is(err, errBroken) || errors.As(err, &page) {
		return err
	}
	return fmt.Errorf("%w: %s: %v", errMultipart, part, err)
}

// partReader distinguishes errors of a part from those of the
// connection or the disk.
type partReader struct{ part io.Reader }

func (p partReader) Read(b []byte) (int, error) {
	n, err := p.part.Read(b)
	if err != nil && err != io.EOF {
		err = partError("content", err)
	}
	return n, err
}

// contentRange is a parsed Content-Range header of an upload.
type contentRange struct {
	first, last int64 // -1: no bytes, only a question for the status
	total       int64 // -1: not known
}

// parseContentRange reads "bytes 0-9/20", "bytes 0-9/*", "bytes */20" and
// "bytes */*".
func parseContentRange(header string) (contentRange, error) {
	bad := fmt.Errorf("content range %q is malformed", header)
	text, ok := strings.CutPrefix(header, "bytes ")
	span, total, ok2 := strings.Cut(text, "/")
	if !ok || !ok2 {
		return contentRange{}, bad
	}
	r := contentRange{first: -1, last: -1, total: -1}
	number := func(text string, into *int64) bool {
		n, err := strconv.ParseUint(text, 10, 62)
		*into = int64(n)
		return err == nil
	}
	if total != "*" && !number(total, &r.total) {
		return contentRange{}, bad
	}
	if span == "*" {
		return r, nil
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok || !number(first, &r.first) || !number(last, &r.last) || r.last < r.first || r.total >= 0 &&
		r.last >= r.total {
		return contentRange{}, bad
	}
	return r, nil
}

// length is the number of bytes in the range.
func (r contentRange) length() int64 { return r.last - r.first + 1 }

// final reports whether the range reaches the end.
func (r contentRange) final() bool { return r.total >= 0 && r.last == r.total-1 }

// resumeIncomplete answers that more is wanted: 308, or 200 with a header that
// says 308 for clients that would follow a redirect.
func (c *call) resumeIncomplete(received int64) error {
	h := c.w.Header()
	if received > 0 {
		h.Set("Range", fmt.Sprintf("bytes=0-%d", received-1))
	}
	h.Set("Content-Length", "0")
	status := http.StatusPermanentRedirect
	if strings.EqualFold(c.r.Header.Get("X-GUploader-No-308"), "yes") {
		h.Set("X-HTTP-Status-Code-Override", strconv.Itoa(status))
		status = http.StatusOK
	}
	c.w.WriteHeader(status)
	return nil
}
