package drive_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

// once makes one multipart create that is not repeated: Go's transport repeats
// only requests without a body or on connections that were used before.
func (s *studio) once(t testing.TB, name string) (*http.Response, []byte, error) {
	t.Helper()
	must(s.api.Files.Get("root").Do())(t) // the token is there
	body := "--b\r\nContent-Type: application/json\r\n\r\n{\"name\":\"" + name + "\",\"parents\":[\"" +
		s.show.ID + "\"]}\r\n--b\r\nContent-Type: x/y\r\n\r\n" + content(2*chunk) + "\r\n--b--"
	req := must(http.NewRequest("POST",
		s.URL+"/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true&fields=id,md5Checksum,name",
		strings.NewReader(body)))(t)
	req.GetBody = nil
	req.Header.Set("Content-Type", "multipart/related; boundary=b")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, data, err
}

func TestFaultStatus(t *testing.T) {
	s := newStudio(t)
	for _, test := range []struct {
		fault   drive.Fault
		message string
		domain  string
		header  string
		done    bool
	}{
		{drive.Fault{Status: 403, Reason: "userRateLimitExceeded"}, "User Rate Limit Exceeded", "usageLimits", "",
			false},
		{drive.Fault{Status: 429, Reason: "rateLimitExceeded", RetryAfter: 1500 * time.Millisecond},
			"Rate Limit Exceeded", "usageLimits", "2", false},
		{drive.Fault{Status: 403, Reason: "storageQuotaExceeded"}, "The user's Drive storage quota has been exceeded.",
			"global", "", false},
		{drive.Fault{Status: 503, Message: "later"}, "later", "global", "", false},
		{drive.Fault{Status: 401}, "Invalid Credentials", "global", "", false},
		{drive.Fault{Status: 403}, "User Rate Limit Exceeded", "usageLimits", "", false},
		{drive.Fault{Status: 409}, "A file already exists with the provided ID.", "global", "", false},
		{drive.Fault{Status: 418}, "I'm a teapot", "global", "", false},
		{drive.Fault{Status: 500, When: drive.After}, "Backend Error", "global", "", true},
	} {
		test.fault.Kind, test.fault.Effect, test.fault.Count = "files.create.multipart", drive.EffectStatus, 1
		f := s.AddFault(test.fault)
		resp, body, err := s.once(t, "x")
		if err != nil || resp.StatusCode != test.fault.Status || resp.Header.Get("Retry-After") != test.header ||
			!strings.Contains(string(body), `"message":"`+test.message+`"`) ||
			!strings.Contains(string(body), `"domain":"`+test.domain+`"`) {
			t.Errorf("%+v: %v %s %v", test.fault, resp, body, err)
		}
		if f.Hits() != 1 || f.Remaining() != 0 {
			t.Errorf("%+v: %d hits, %d remaining", test.fault, f.Hits(), f.Remaining())
		}
		found := s.Find(s.show, "x")
		if (len(found) == 1) != test.done {
			t.Errorf("%+v: %v", test.fault, found)
		}
		for _, file := range found {
			s.Delete(file.ID)
		}
	}
	if resp, _, err := s.once(t, "y"); err != nil || resp.StatusCode != 200 {
		t.Fatal("the faults have no end", err)
	}
}

func TestFaultOnTokens(t *testing.T) {
	s := newStudio(t)
	s.AddFault(drive.Fault{Kind: "token", Count: 1, Effect: drive.EffectStatus, Status: 400, Reason: "invalid_grant",
		Message: "account is gone"})
	_, err := s.api.Files.Get("root").Do()
	if err == nil || !strings.Contains(err.Error(), "invalid_grant") ||
		!strings.Contains(err.Error(), "account is gone") {
		t.Fatal(err)
	}
	must(s.api.Files.Get("root").Do())(t)
}

func TestFaultSkipCountAndPattern(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	f := s.AddFault(drive.Fault{Kind: "files.*", Skip: 2, Count: 3, Effect: drive.EffectStatus, Status: 404})
	var got []bool
	for range 7 {
		_, err := s.api.Files.Get("root").Do()
		got = append(got, err == nil)
	}
	if diff := cmp.Diff([]bool{true, true, false, false, false, true, true}, got); diff != "" {
		t.Fatal(diff)
	}
	if f.Hits() != 3 || f.Remaining() != 0 {
		t.Fatal(f.Hits(), f.Remaining())
	}
	s.AddFault(drive.Fault{Kind: "drives.list", Effect: drive.EffectStatus, Status: 404})
	must(s.api.Files.Get("root").Do())(t)
	_, err := s.api.Drives.List().Do()
	wantError(t, err, 404, "notFound")
	s.ClearFaults()
	must(s.api.Drives.List().Do())(t)
}

func TestFaultProbabilityIsRepeatable(t *testing.T) {
	run := func(seed uint64) (hits []bool) {
		s := newStudio(t, drive.Options{Seed: seed})
		must(s.api.Files.Get("root").Do())(t)
		s.AddFault(drive.Fault{Kind: "*", Probability: 0.5, Effect: drive.EffectStatus, Status: 404})
		for range 40 {
			_, err := s.api.Files.Get("root").Do()
			hits = append(hits, err != nil)
		}
		return hits
	}
	first := run(1)
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Fatal(diff)
	}
	if cmp.Equal(first, run(2)) {
		t.Fatal("the seed changes nothing")
	}
}

func TestFaultReset(t *testing.T) {
	for _, test := range []struct {
		when  drive.When
		bytes int64
		done  bool
	}{
		{drive.Before, 0, false}, {drive.InBody, 0, false}, {drive.InBody, 100_000, false},
		{drive.InBody, 100 << 20, false}, // more than there is: at the end of the body
		{drive.After, 0, true},
	} {
		s := newStudio(t)
		f := s.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectReset,
			When: test.when, AfterBytes: test.bytes})
		_, _, err := s.once(t, "x")
		if err == nil {
			t.Errorf("%s %d: answered", test.when, test.bytes)
		}
		if f.Hits() != 1 || (len(s.Find(s.show, "x")) == 1) != test.done {
			t.Errorf("%s %d: %d hits, %v", test.when, test.bytes, f.Hits(), s.Files())
		}
		last := s.Log()[len(s.Log())-1]
		if last.Fault != "reset" || last.Status != 0 {
			t.Errorf("%+v", last)
		}
		if test.when == drive.InBody && test.bytes < chunk && last.Received != test.bytes {
			t.Errorf("%d bytes received, want %d", last.Received, test.bytes)
		}
		if resp, _, err := s.once(t, "y"); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: afterwards %v", test.when, err)
		}
	}
}

// A reset is a reset, not an end of the connection.
func TestFaultResetIsAReset(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	for _, when := range []drive.When{drive.Before, drive.After} {
		f := s.AddFault(drive.Fault{Kind: "files.get", Effect: drive.EffectReset, When: when})
		if _, err := s.api.Files.Get("root").Do(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", when, err)
		}
		f.Remove()
	}
}

func TestFaultResetWithinASession(t *testing.T) {
	s := newStudio(t)
	data := content(4 * chunk)
	uri := s.begin(t, len(data))
	s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.InBody,
		AfterBytes: 2*chunk + 77})
	put := func(contentRange, body string) error {
		req := must(http.NewRequest("PUT", uri, strings.NewReader(body)))(t)
		req.GetBody = nil
		req.Header.Set("Content-Range", contentRange)
		resp, err := s.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := put("bytes 0-1048575/1048576", data); err == nil {
		t.Fatal("no reset")
	}
	status, received, _ := s.send(t, uri, "bytes */1048576", "")
	if status != 308 || received != "bytes=0-524287" {
		t.Fatal(status, received)
	}
	// Done, but the response is lost.
	s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.After})
	if err := put("bytes 524288-1048575/1048576", data[2*chunk:]); err == nil {
		t.Fatal("no reset")
	}
	status, _, body := s.send(t, uri, "bytes */1048576", "")
	s.wantFinished(t, status, body, data)
}

func TestFaultHang(t *testing.T) {
	for _, when := range []drive.When{drive.Before, drive.InBody, drive.After} {
		s := newStudio(t)
		must(s.api.Files.Get("root").Do())(t)
		f := s.AddFault(drive.Fault{Kind: "files.create", Count: 1, Effect: drive.EffectHang, When: when})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := s.api.Files.Create(&api.File{Name: "x", MimeType: folderType, Parents: []string{s.show.ID}}).
				SupportsAllDrives(true).Context(ctx).Do()
			ended <- err
		}()
		eventually(t, "the fault hits", func() bool { return f.Hits() == 1 })
		if when == drive.After {
			eventually(t, "the work is done", func() bool { return len(s.Find(s.show, "x")) == 1 })
		}
		select {
		case err := <-ended:
			t.Errorf("%s: answered: %v", when, err)
		default:
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", when, err)
		}
		if done := len(s.Find(s.show, "x")) == 1; done != (when == drive.After) {
			t.Errorf("%s: done = %v", when, done)
		}
	}
}

func TestHangEndsWithTheFault(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	f := s.AddFault(drive.Fault{Kind: "files.create", Effect: drive.EffectHang})
	ended := make(chan error, 1)
	go func() {
		_, err := s.api.Files.Create(&api.File{Name: "x", MimeType: folderType, Parents: []string{s.show.ID}}).
			SupportsAllDrives(true).Do()
		ended <- err
	}()
	eventually(t, "the fault hits", func() bool { return f.Hits() == 1 })
	f.Remove()
	if err := <-ended; err == nil {
		t.Fatal("a request that hung was answered")
	}
}

func TestCloseEndsHangingRequests(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	f := s.AddFault(drive.Fault{Kind: "files.create", Effect: drive.EffectHang, When: drive.After})
	ended := make(chan error, 1)
	go func() {
		_, err := s.api.Files.Create(&api.File{Name: "x", MimeType: folderType, Parents: []string{s.show.ID}}).
			SupportsAllDrives(true).Do()
		ended <- err
	}()
	eventually(t, "the fault hits", func() bool { return f.Hits() == 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Fatal("a request that hung was answered")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFaultWrongMD5(t *testing.T) {
	s := newStudio(t)
	for _, size := range []googleapi.MediaOption{googleapi.ChunkSize(0), googleapi.ChunkSize(chunk)} {
		f := s.AddFault(drive.Fault{Kind: "*", Effect: drive.EffectWrongMD5})
		data := content(2*chunk + 1)
		got := must(s.api.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
			Media(strings.NewReader(data), size).Fields("id,md5Checksum").Do())(t)
		if got.Md5Checksum == md5Of(data) || len(got.Md5Checksum) != 32 {
			t.Fatal(got.Md5Checksum)
		}
		f.Remove()
		got = must(s.api.Files.Get(got.Id).SupportsAllDrives(true).Fields("md5Checksum").Do())(t)
		if got.Md5Checksum != md5Of(data) {
			t.Fatal("what is stored is wrong too")
		}
	}
}

func TestFaultTruncateAndInvalidJSON(t *testing.T) {
	s := newStudio(t)
	s.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectTruncate})
	if _, body, err := s.once(t, "x"); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
		t.Fatalf("%q %v", body, err)
	}
	s.ClearFaults()
	s.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectInvalidJSON})
	resp, body, err := s.once(t, "y")
	if err != nil || resp.StatusCode != 200 || string(body) != `{"kind": "drive#file", "id": "1` {
		t.Fatal(resp, string(body), err)
	}
	// An answer that has no body gets that one too; the session was started.
	s.AddFault(drive.Fault{Kind: "files.create.resumable", Count: 1, Effect: drive.EffectInvalidJSON})
	resp, text := s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true",
		`{"parents":["`+s.show.ID+`"]}`, "Content-Type", "application/json")
	if resp.StatusCode != 200 || text != `{"kind": "drive#file", "id": "1` || resp.Header.Get("Location") == "" {
		t.Fatal(resp, text)
	}
	if len(s.Find(s.show, "x")) != 1 || len(s.Find(s.show, "y")) != 1 {
		t.Fatal("the work was not done", s.Files())
	}
	f := s.AddFile(s.show.ID, "z", []byte(content(1000)))
	s.AddFault(drive.Fault{Kind: "files.download", Count: 1, Effect: drive.EffectTruncate, AfterBytes: 100})
	download := must(s.api.Files.Get(f).SupportsAllDrives(true).Download())(t)
	defer download.Body.Close()
	if data, err := io.ReadAll(download.Body); len(data) != 100 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(len(data), err)
	}
}

func TestFaultDelayAndDrip(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	s.AddFault(drive.Fault{Kind: "files.get", Count: 1, Effect: drive.EffectDelay, Delay: time.Millisecond})
	f := s.AddFault(drive.Fault{Kind: "files.get", Count: 1, Effect: drive.EffectDrip, Delay: time.Microsecond})
	for range 2 {
		if got := must(s.api.Files.Get("root").Do())(t); got.Name != "My Drive" {
			t.Fatalf("%+v", got)
		}
	}
	if f.Hits() != 1 {
		t.Fatal(f.Hits())
	}
	// A delay ends with its client.
	d := s.AddFault(drive.Fault{Kind: "files.get", Effect: drive.EffectDelay, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := s.api.Files.Get("root").Context(ctx).Do(); ended <- err }()
	eventually(t, "the fault hits", func() bool { return d.Hits() == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestInvalidFaults(t *testing.T) {
	s := newStudio(t)
	for _, f := range []drive.Fault{
		{}, {Kind: "*"}, {Kind: "*", Effect: "explode"},
		{Kind: "*", Effect: drive.EffectStatus}, {Kind: "*", Effect: drive.EffectStatus, Status: 200},
		{Kind: "*", Effect: drive.EffectStatus, Status: 500, When: drive.InBody},
		{Kind: "*", Effect: drive.EffectDelay},
		{Kind: "*", Effect: drive.EffectReset, When: "never"}, {Kind: "[", Effect: drive.EffectReset},
		{Effect: drive.EffectReset}, {Kind: "*", Name: "[", Effect: drive.EffectReset},
		{Kind: "*", Effect: drive.EffectHTML}, {Kind: "*", Effect: drive.EffectHTML, Status: 600},
		{Kind: "*", Effect: drive.EffectHTML, Status: 403, When: drive.InBody},
		{Kind: "*", Effect: drive.EffectReset, When: drive.InAnswer},
		{Kind: "*", Effect: drive.EffectReset, Skip: -1}, {Kind: "*", Effect: drive.EffectReset, Count: -1},
		{Kind: "*", Effect: drive.EffectReset, When: drive.InBody, AfterBytes: -1},
		{Kind: "*", Effect: drive.EffectReset, Probability: 1.5},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", f)
				}
			}()
			s.AddFault(f)
		}()
	}
}
