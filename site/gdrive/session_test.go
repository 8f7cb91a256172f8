package gdrive

import (
	"sync"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/site"
)

// received is how many bytes of content arrived at sessions.
func (s *studio) received() (bytes int64) {
	for _, e := range s.Log() {
		if e.Kind == "upload.put" {
			bytes += e.Received
		}
	}
	return bytes
}

// A session that breaks in the middle goes on from what Drive has got.
func TestSessionGoesOn(t *testing.T) {
	content := large(20 * mib)
	for name, fault := range map[string]drive.Fault{
		"reset":         {Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 8 * mib},
		"reset at once": {Effect: drive.EffectReset},
		"hang":          {Effect: drive.EffectHang, When: drive.InBody, AfterBytes: 8 * mib},
		"hang at once":  {Effect: drive.EffectHang},
		"error":         {Effect: drive.EffectStatus, Status: 503},
		"rate limit":    {Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			d.stall.Timeout = 500 * time.Millisecond
			fault.Kind, fault.Count = "upload.put", 1
			active := s.AddFault(fault)
			put(t, d, "/SHOW/pub/a", content)
			if active.Hits() != 1 {
				t.Errorf("%d hits", active.Hits())
			}
			s.wantOne(t, s.show, "pub/a", content)
			s.wantCalls(t, "files.create.resumable", 1)
			if got := s.Calls()["upload.put"]; got < 2 || got > 3 { // where all was sent in vain, it goes on in pieces
				t.Errorf("%d calls of upload.put", got)
			}
			s.wantCalls(t, "upload.status", 1)
			if fault.When == drive.InBody {
				// Drive keeps whole pieces of 256 KiB, so at most one of them is sent twice.
				if got := s.received(); got > int64(len(content))+256<<10 {
					t.Errorf("%d bytes were sent of %d", got, len(content))
				}
			}
		})
	}
}

// However often it breaks, a session is not given up while it gets further.
func TestSessionThatBreaksOften(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	content := large((maxAttempts + 3) * mib)
	fault := s.AddFault(
		drive.Fault{
			Kind:       "upload.put",
			Count:      maxAttempts + 2,
			Effect:     drive.EffectReset,
			When:       drive.InBody,
			AfterBytes: mib,
		},
	)
	put(t, d, "/SHOW/pub/a", content)
	if fault.Hits() != maxAttempts+2 {
		t.Errorf("%d hits", fault.Hits())
	}
	s.wantOne(t, s.show, "pub/a", content)
	s.wantCalls(t, "files.create.resumable", 1)
}

// One that gets nowhere is.
func TestSessionThatGetsNowhere(t *testing.T) {
	t.Parallel()
	for _, fault := range []drive.Fault{
		{Kind: "upload.put", Effect: drive.EffectReset},
		{Kind: "upload.put", Effect: drive.EffectStatus, Status: 500},
		{Kind: "upload.put", Effect: drive.EffectStatus, Status: 410},
		{Kind: "files.create.resumable", Effect: drive.EffectStatus, Status: 503},
	} {
		s := newStudio(t)
		d := s.open(t)
		active := s.AddFault(fault)
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(large(testLimit+1))))
		wantClass(t, err, site.Transient)
		want := maxAttempts
		if fault.Kind == "upload.put" {
			want = attemptsBesideSuccess // as other requests get through
		}
		if active.Hits() != want {
			t.Errorf("%+v: %d attempts, want %d", fault, active.Hits(), want)
		}
	}
}

// A session that has expired starts anew, whether that is seen when sending or when asking.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	content := large(testLimit + 1)
	for name, faults := range map[string][]drive.Fault{
		"410 to data": {{Kind: "upload.put", Count: 1, Effect: drive.EffectStatus, Status: 410}},
		"404 to data": {{Kind: "upload.put", Count: 1, Effect: drive.EffectStatus, Status: 404, Reason: "notFound"}},
		"410 when asked": {{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.InBody,
			AfterBytes: mib},
			{Kind: "upload.status", Count: 1, Effect: drive.EffectStatus, Status: 410}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			d := s.open(t)
			for _, f := range faults {
				s.AddFault(f)
			}
			put(t, d, "/SHOW/pub/a", content)
			s.wantOne(t, s.show, "pub/a", content)
			s.wantCalls(t, "files.create.resumable", 2)
			s.wantCalls(t, "upload.status", len(faults)-1) // there is no use in asking again
		})
	}
	t.Run("for real", func(t *testing.T) {
		s := newStudio(t)
		d := s.open(t)
		var once sync.Once
		u := upload("/SHOW/pub/a", []byte(content))
		u.OnProgress = func(bytes int64) {
			if bytes > mib/2 {
				once.Do(s.ExpireSessions)
			}
		}
		// The break makes it ask.
		s.AddFault(
			drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.InBody, AfterBytes: mib},
		)
		if _, err := d.Put(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		s.wantOne(t, s.show, "pub/a", content)
		s.wantCalls(t, "files.create.resumable", 2)
	})
}

// The answer that a session is finished with may be lost after the session is gone too.
func TestSessionExpiresWhenDone(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	content := large(testLimit + 1)
	s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.After})
	s.AddFault(drive.Fault{Kind: "upload.status", Count: 1, Effect: drive.EffectStatus, Status: 410})
	put(t, d, "/SHOW/pub/a", content)
	if f := s.wantOne(t, s.show, "pub/a", content); f.Revision != 1 {
		t.Errorf("written %d times", f.Revision)
	}
}

func TestParseRange(t *testing.T) {
	for _, test := range []struct {
		header string
		want   int64
		bad    bool
	}{
		{"", 0, false},
		{"bytes=0-0", 1, false},
		{"bytes=0-262143", 262144, false},
		{"bytes=0-4611686018427387902", 0, true},
		{"bytes=1-5", 0, true},
		{"bytes=0-", 0, true},
		{"bytes=0--1", 0, true},
		{"bytes=0-5,7-9", 0, true},
		{"0-5", 0, true},
		{"bytes */5", 0, true},
	} {
		got, err := parseRange(test.header)
		if (err != nil) != test.bad || !test.bad && got != test.want {
			t.Errorf("parseRange(%q) = %d, %v", test.header, got, err)
		}
	}
}
