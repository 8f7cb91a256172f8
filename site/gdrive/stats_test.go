package gdrive

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
	"sitesync/site"
)

// Every request is counted under the name that the server knows it by, whatever came of it.
func TestCountsOfRequests(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.ResetCalls()
	for _, f := range []drive.Fault{
		{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectStatus, Status: 429},
		{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectStatus, Status: 503, When: drive.After},
		{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.InBody, AfterBytes: mib},
		{Kind: "files.create", Count: 1, Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"},
	} {
		s.AddFault(f)
	}
	if c := d.Stats(); len(c.Requests) != 0 || c.Throttled != 0 || !math.IsInf(c.Limit, 1) {
		t.Errorf("counts before anything was done: %+v", c)
	}
	put(t, d, "/SHOW/pub/a/small.ma", "first")
	put(t, d, "/SHOW/pub/a/small.ma", "second, of another size")
	if _, err := d.Put(t.Context(), upload("/SHOW/pub/a/large.abc", bytes.Repeat([]byte("large"), 2*mib))); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := d.Stats()
	kinds := map[string]int{}
	for r, n := range c.Requests {
		kinds[r.Kind] += int(n)
	}
	if diff := cmp.Diff(s.Calls(), kinds); diff != "" {
		t.Errorf("requests (-the server's count +ours):\n%s", diff)
	}
	for r, want := range map[site.Request]int64{
		{Kind: "files.create.multipart", Outcome: "too_many_requests"}: 1,
		{Kind: "files.create.multipart", Outcome: "server_error"}:      1,
		{Kind: "files.create.multipart", Outcome: "conflict"}:          1,
		{Kind: "files.create", Outcome: "forbidden"}:                   1,
		{Kind: "files.create", Outcome: "ok"}:                          1,
		{Kind: "upload.put", Outcome: "no_answer"}:                     1,
		{Kind: "upload.put", Outcome: "ok"}:                            1,
		{Kind: "upload.status", Outcome: "ok"}:                         1,
		{Kind: "token", Outcome: "ok"}:                                 1,
	} {
		if got := c.Requests[r]; got != want {
			t.Errorf("%v: %d, want %d", r, got, want)
		}
	}
	if c.Throttled != 2 || math.IsInf(c.Limit, 1) {
		t.Errorf("throttled %d times, the limit is %v", c.Throttled, c.Limit)
	}
}

// What we have given up ourselves is no failure of Drive's.
func TestCountsOfCanceledRequests(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	s.AddFault(drive.Fault{Kind: "drives.list", Count: 1, Effect: drive.EffectHang})
	ctx, cancel := context.WithCancel(t.Context())
	checked := make(chan error)
	go func() { checked <- d.Check(ctx) }()
	eventually(t, "the drives are asked for", func() bool { return s.Calls()["drives.list"] > 0 })
	cancel()
	if <-checked == nil {
		t.Error("the check succeeded")
	}
	if got := d.Stats().Requests[site.Request{Kind: "drives.list", Outcome: "canceled"}]; got != 1 {
		t.Errorf("counts %v", d.Stats().Requests)
	}
}
