// Package transport has wrappers of [http.RoundTripper] for providers that are reached by HTTP: what keeps a process
// that has lost its lease from writing, and what ends requests that stand still. It knows no service.
package transport

import (
	"io"
	"net/http"

	"sitesync/site"
)

// Fence sends nothing once Check fails. It is asked before each request, and before each part of a body that is
// streamed: a process that was paused must not go on where it was.
type Fence struct {
	Base  http.RoundTripper
	Check func() error
}

// RoundTrip sends a request.
func (f *Fence) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := f.check(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // also on errors, as RoundTripper says
		}
		return nil, err
	}
	if isStreamed(req) {
		req = req.WithContext(req.Context()) // a copy
		req.Body = &fencedBody{req.Body, f}
	}
	return f.Base.RoundTrip(req)
}

func (f *Fence) check() error {
	if err := f.Check(); err != nil {
		return &site.Error{Class: site.Transient, Shared: true, Err: err}
	}
	return nil
}

type fencedBody struct {
	io.ReadCloser
	fence *Fence
}

func (b *fencedBody) Read(p []byte) (int, error) {
	if err := b.fence.check(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// isStreamed reports whether a request has a body that is not in memory.
func isStreamed(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}
