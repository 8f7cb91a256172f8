package drive_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

// Pages of HTML as proxies, filters and captive portals send them.
func TestFaultHTML(t *testing.T) {
	s := newStudio(t)
	stay := *s.http
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, test := range []struct {
		status int
		when   drive.When
		header string
	}{
		{200, "", ""}, {302, "", "Location"}, {401, "", ""}, {403, "", ""}, {407, "", "Proxy-Authenticate"},
		{413, "", ""},
		{502, drive.After, ""}, {503, "", "Retry-After"},
	} {
		f := s.AddFault(drive.Fault{Kind: "files.*", Effect: drive.EffectHTML, Status: test.status, When: test.when,
			Message: "size < 1 MB", RetryAfter: time.Minute, RetryAfterDate: true, Count: 1})
		body := strings.NewReader(`{"name":"x","parents":["` + s.show.ID + `"]}`)
		req := must(http.NewRequest("POST", s.URL+"/drive/v3/files?supportsAllDrives=true", body))(t)
		req.Header.Set("Content-Type", "application/json")
		resp := must(stay.Do(req))(t)
		page := string(must(io.ReadAll(resp.Body))(t))
		resp.Body.Close()
		if resp.StatusCode != test.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
			resp.Header.Get("Via") == "" || resp.Header.Get("Server") == "" ||
			!strings.Contains(page, "size &lt; 1 MB") ||
			test.header != "" && resp.Header.Get(test.header) == "" {
			t.Errorf("%d: %s %v %s", test.status, resp.Status, resp.Header, page)
		}
		if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err != nil || at.Before(time.Now()) {
			t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
		}
		if test.status == 302 {
			resp, page := s.request(t, "GET", resp.Header.Get("Location"), "")
			if resp.StatusCode != 200 || !strings.Contains(page, "<html>") {
				t.Error(resp.Status, page)
			}
		}
		if last := s.Log()[len(s.Log())-1]; f.Hits() != 1 || last.Status != test.status || last.Reason != "html" ||
			last.Fault != "html" {
			t.Errorf("%d: %+v", test.status, last)
		}
		found := s.Find(s.show, "x")
		if (len(found) == 1) != (test.when == drive.After) {
			t.Errorf("%d: %v", test.status, found)
		}
		for _, file := range found {
			s.Delete(file.ID)
		}
	}
}

// A refusal that names no reason, as some of Google's own servers send it.
func TestFaultWithoutReason(t *testing.T) {
	s := newStudio(t)
	s.AddFault(drive.Fault{Kind: "files.get", Effect: drive.EffectStatus, Status: 403, Reason: drive.NoReason,
		Message: "no"})
	_, err := s.api.Files.Get("root").Do()
	wantError(t, err, 403, "")
	if e := err.(*googleapi.Error); e.Message != "no" || len(e.Errors) != 0 {
		t.Fatalf("%+v", e)
	}
}

// Faults of one file, whichever request is about it.
func TestFaultByName(t *testing.T) {
	s := newStudio(t)
	var added struct{ ID int }
	s.control(t, "POST", "faults", `{"kind":"*","name":"bad*.exr","effect":"html","status":403}`, 200, &added)
	bad := s.AddFile(s.show.ID, "bad.0001.exr", []byte("abc"))
	good := s.AddFile(s.show.ID, "good.0001.exr", []byte("abc"))
	refused := func(what string, err error, want bool) {
		t.Helper()
		var e *googleapi.Error
		is := errors.As(err, &e) && e.Code == 403 && strings.Contains(e.Body, "<html>")
		if is != want || err != nil && !want {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, id := range map[string]string{"bad.2.exr": bad, "good.2.exr": good} {
		want := id == bad
		file := &api.File{Name: name, Parents: []string{s.show.ID}}
		_, err := s.api.Files.Create(file).SupportsAllDrives(true).Do()
		refused("create", err, want)
		_, err = s.api.Files.Create(file).SupportsAllDrives(true).Media(strings.NewReader(content(3 * chunk))).Do()
		refused("multipart", err, want)
		_, err = s.api.Files.Create(file).SupportsAllDrives(true).
			Media(strings.NewReader(content(3*chunk)), googleapi.ChunkSize(chunk)).Do()
		refused("resumable", err, want)
		_, err = s.api.Files.Get(id).SupportsAllDrives(true).Do()
		refused("get", err, want)
		resp, err := s.api.Files.Get(id).SupportsAllDrives(true).Download()
		if err == nil {
			resp.Body.Close()
		}
		refused("download", err, want)
		_, err = s.api.Files.Update(id, &api.File{Description: "x"}).SupportsAllDrives(true).Do()
		refused("update", err, want)
		_, err = s.api.Files.Update(id, nil).SupportsAllDrives(true).Media(strings.NewReader("y")).Do()
		refused("update of the content", err, want)
	}
	must(s.api.Files.List().Q("name contains 'bad'").Do())(t)
	must(s.api.Files.GenerateIds().Do())(t)
	if got := s.Find(s.show, "good.2.exr"); len(got) != 3 || len(s.Find(s.show, "bad.2.exr")) != 0 {
		t.Error(s.Files())
	}
	s.ClearFaults()

	// What is sent to a session is about the file that the session writes.
	s.AddFault(drive.Fault{Kind: "upload.*", Name: "late.exr", Effect: drive.EffectStatus, Status: 500})
	for name, status := range map[string]int{"late.exr": 500, "other.exr": 200} {
		resp, _ := s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true",
			`{"name":"`+name+`","parents":["`+s.show.ID+`"]}`, "Content-Type", "application/json")
		uri := resp.Header.Get("Location")
		put, _, _ := s.send(t, uri, "", "abc")
		ask, _, _ := s.send(t, uri, "bytes */3", "")
		if put != status || ask != status {
			t.Errorf("%s: %d, %d", name, put, ask)
		}
	}
	resp, _ := s.request(t, "PATCH", "/upload/drive/v3/files/"+good+"?uploadType=resumable&supportsAllDrives=true", "")
	s.AddFault(drive.Fault{Kind: "upload.put", Name: "good.0001.exr", Effect: drive.EffectStatus, Status: 500})
	if status, _, _ := s.send(t, resp.Header.Get("Location"), "", "abc"); status != 500 {
		t.Error(status)
	}
}
