package drive

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Gateway is an HTTP proxy, a filter or a virus scanner between the client and
// Drive, and what it does to the bodies of requests.
type Gateway struct {
	// MaxBody is the largest body in bytes that passes; a larger one is answered
	// 413 with a page of HTML. 0 is no limit.
	MaxBody int64 `json:"maxBody"`
	// MaxBodyRead makes that answer come when more than MaxBody bytes were read,
	// instead of when the header says that there will be more. What was read has
	// gone on to Drive by then, unless Buffer is set.
	MaxBodyRead bool `json:"maxBodyRead"`
	// Buffer takes all of a body before any of it goes on to Drive.
	Buffer bool `json:"buffer"`
	// Bandwidth is the bytes a second at which buffered bodies, all together, go
	// on to Drive, while their clients wait; 0 is unlimited.
	Bandwidth int64 `json:"bandwidth"`
}

func errTooLarge(limit int64) *htmlError {
	return &htmlError{code: http.StatusRequestEntityTooLarge,
		text: fmt.Sprintf("The request is larger than the %d bytes that this proxy allows.", limit)}
}

// refuses reports that the gateway does not even look at the body.
func (g Gateway) refuses(r *http.Request) bool {
	return g.MaxBody > 0 && !g.MaxBodyRead && r.ContentLength > g.MaxBody
}

// limit is how much of a body may be read, -1 for all.
func (g Gateway) limit() int64 {
	if g.MaxBody <= 0 {
		return -1
	}
	return g.MaxBody
}

// spool is a body that the gateway has taken.
type spool struct {
	c         *call
	file      *os.File
	bandwidth int64
}

// buffer takes the body into a file, from which the request then reads.
func (c *call) buffer(g Gateway) (remove func(), err error) {
	file, err := os.CreateTemp(c.s.store.dir, "gateway-")
	if err != nil {
		return nil, fmt.Errorf("buffer a request: %w", err)
	}
	remove = func() {
		_ = file.Close()
		_ = os.Remove(file.Name()) // what stays behind goes with the folder
	}
	size, err := io.Copy(file, c.r.Body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		remove()
		return nil, err
	}
	c.r.Body, c.r.ContentLength = &spool{c, file, g.Bandwidth}, size
	return remove, nil
}

// Read gives what goes on to Drive.
func (s *spool) Read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	if n > 0 && s.bandwidth > 0 && !s.c.wait(s.c.s.gateway.reserve(n, s.bandwidth, time.Now())) {
		return 0, errBroken // with bytes the error could be overlooked, as io.ReadFull does
	}
	return n, err
}

// Close does nothing: the call removes the file.
func (s *spool) Close() error { return nil }
