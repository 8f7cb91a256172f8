package gdrive

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"sitesync/site"
)

// Stats returns the numbers as they are now.
func (s *Site) Stats() site.Stats {
	throttled, limit := s.pacer.Stats()
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return site.Stats{Requests: maps.Clone(s.counts.requests), Throttled: throttled, Limit: limit}
}

// ClockAhead is part of [site.Clock].
func (s *Site) ClockAhead() (ahead time.Duration, known bool) {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return s.counts.ahead, s.counts.dated
}

// countedTransport counts all that goes to Drive and to its token service.
type countedTransport struct {
	*http.Transport

	mu       sync.Mutex
	requests map[site.Request]int64
	ahead    time.Duration // see ClockAhead
	dated    bool
}

// RoundTrip makes a request and counts it.
func (t *countedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.Transport.RoundTrip(req)
	r := site.Request{Kind: kind(req), Outcome: outcome(req.Context(), res, err)}
	t.mu.Lock()
	defer t.mu.Unlock()
	set(&t.requests, r, t.requests[r]+1)
	if err == nil {
		if ahead, ok := clockAhead(res.Header); ok {
			t.ahead, t.dated = ahead, true
		}
	}
	return res, err
}

// clockAhead is how far this machine's clock is ahead of the server's, by its answer.
func clockAhead(h http.Header) (ahead time.Duration, known bool) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	return time.Since(date), true
}

// methods are Google's names of the methods that are used.
var methods = map[string]string{
	"GET about": "about.get", "GET drives": "drives.list", "GET drives/": "drives.get",
	"GET files": "files.list", "GET files/": "files.get", "POST files": "files.create", "PATCH files/": "files.update",
}

// kind names a request after Google's method, without ids.
func kind(req *http.Request) string {
	if req.Method == http.MethodPut { // to a session, wherever that is
		if strings.HasPrefix(req.Header.Get("Content-Range"), "bytes */") {
			return "upload.status"
		}
		return "upload.put"
	}
	before, method, ok := strings.Cut(req.URL.Path, "/drive/v3/")
	if !ok {
		return "token" // there are no other requests
	}
	collection, id, one := strings.Cut(method, "/")
	name := req.Method + " " + collection
	if one {
		name += "/"
	}
	switch {
	case id == "generateIds":
		return "files.generateIds"
	case methods[name] == "":
		return "other"
	case isDownload(req):
		return methods[name] + ".media"
	case strings.HasSuffix(before, "/upload"):
		return methods[name] + "." + req.URL.Query().Get("uploadType") // resumable or multipart
	}
	return methods[name]
}

// outcome says how a request was answered. 403 may be about rights, a quota or the rate; that is in the body, which is
// read later.
func outcome(ctx context.Context, res *http.Response, err error) string {
	switch {
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return "canceled" // by us
	case err != nil:
		return "no_answer"
	case res.StatusCode < 400: // 308 too, Drive's "resume incomplete"
		return "ok"
	case res.StatusCode >= 500:
		return "server_error"
	}
	return cmp.Or(refusals[res.StatusCode], "refused")
}

var refusals = map[int]string{
	http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusConflict: "conflict",
	http.StatusNotFound: "not_found", http.StatusGone: "not_found", http.StatusTooManyRequests: "too_many_requests",
}
