package drive_test

import (
	"strings"
	"testing"

	api "google.golang.org/api/drive/v3"
)

// Every request here is one that Google's description does not allow: it is
// answered with an error and recorded.
func TestViolations(t *testing.T) {
	s := newStudio(t)
	f := s.upload(t, s.show.ID, "x", "1")
	const related = "multipart/related; boundary=b"
	for _, test := range []struct {
		name, method, path, contentType, body string
		status                                int
		reason                                string
	}{
		{"unknown path", "GET", "/drive/v3/nothing", "", "", 404, "notFound"},
		{"old version", "GET", "/drive/v2/files", "", "", 404, "notFound"},
		{"unknown method", "PUT", "/drive/v3/files/" + f.Id, "", "", 404, "notFound"},
		{"not emulated", "GET", "/drive/v3/changes/startPageToken", "", "", 501, "notImplemented"},
		{"unknown parameter", "GET", "/drive/v3/files?query=x", "", "", 400, "invalidParameter"},
		{"parameter of another method", "GET", "/drive/v3/files/" + f.Id + "?q=x", "", "", 400, "invalidParameter"},
		{"not a boolean", "GET", "/drive/v3/files?supportsAllDrives=1", "", "", 400, "invalidParameter"},
		{"not an integer", "GET", "/drive/v3/files?pageSize=many", "", "", 400, "invalidParameter"},
		{"too small", "GET", "/drive/v3/files?pageSize=0", "", "", 400, "invalidParameter"},
		{"too large", "GET", "/drive/v3/files/generateIds?count=1001", "", "", 400, "invalidParameter"},
		{"twice", "GET", "/drive/v3/files?pageSize=1&pageSize=2", "", "", 400, "invalidParameter"},
		{"not in the enumeration", "GET", "/drive/v3/files?alt=xml", "", "", 400, "invalidParameter"},
		{"no download", "GET", "/drive/v3/files?alt=media", "", "", 400, "invalidParameter"},
		{"unknown field", "GET", "/drive/v3/files/" + f.Id + "?fields=title", "", "", 400, "invalidParameter"},
		{"malformed fields", "GET", "/drive/v3/files?fields=files(id", "", "", 400, "invalidParameter"},
		{"about without fields", "GET", "/drive/v3/about", "", "", 400, "required"},
		{"GET with a body", "GET", "/drive/v3/files", "application/json", "{}", 400, "invalidParameter"},
		{"unknown property", "POST", "/drive/v3/files", "application/json", `{"title":"x"}`, 400, "invalid"},
		{"wrong type", "POST", "/drive/v3/files", "application/json", `{"name":1}`, 400, "invalid"},
		{"wrong type in a list", "POST", "/drive/v3/files", "application/json", `{"parents":[1]}`, 400, "invalid"},
		{"wrong type inside", "POST", "/drive/v3/files", "application/json", `{"appProperties":{"a":true}}`, 400,
			"invalid"},
		{"not a list", "POST", "/drive/v3/files", "application/json", `{"parents":"root"}`, 400, "invalid"},
		{"not a time", "POST", "/drive/v3/files", "application/json", `{"modifiedTime":"now"}`, 400, "invalid"},
		{"not an int64", "POST", "/drive/v3/files", "application/json", `{"size":"big"}`, 400, "invalid"},
		{"no object inside", "POST", "/drive/v3/files", "application/json", `{"appProperties":[]}`, 400, "invalid"},
		{"not a boolean inside", "POST", "/drive/v3/files", "application/json", `{"starred":"yes"}`, 400, "invalid"},
		{"not an integer inside", "POST", "/drive/v3/files", "application/json", `{"imageMediaMetadata":{"width":1.5}}`,
			400, "invalid"},
		{"not bytes", "POST", "/drive/v3/files", "application/json", `{"contentHints":{"thumbnail":{"image":"?"}}}`,
			400, "invalid"},
		{"length not a number", "POST", "/upload/drive/v3/files?uploadType=resumable", "application/json", `{}`, 400,
			"badRequest"},
		{"session by GET", "GET", "/upload/drive/v3/files?uploadType=resumable&upload_id=x", "", "", 405,
			"httpMethodNotAllowed"},
		{"not JSON", "POST", "/drive/v3/files", "application/json", `{`, 400, "parseError"},
		{"two documents", "POST", "/drive/v3/files", "application/json", `{}{}`, 400, "parseError"},
		{"no object", "POST", "/drive/v3/files", "application/json", `[]`, 400, "parseError"},
		{"wrong content type", "POST", "/drive/v3/files", "text/plain", `{}`, 400, "badContent"},
		{"no upload type", "POST", "/upload/drive/v3/files", "", "x", 400, "invalidParameter"},
		{"wrong upload type", "POST", "/upload/drive/v3/files?uploadType=chunked", "", "x", 400, "invalidParameter"},
		{"no upload here", "GET", "/upload/drive/v3/files?uploadType=media", "", "", 400, "invalidParameter"},
		{"no multipart", "POST", "/upload/drive/v3/files?uploadType=multipart", "text/plain", "x", 400, "badContent"},
		{"no boundary", "POST", "/upload/drive/v3/files?uploadType=multipart", "multipart/related", "x", 400,
			"badContent"},
		{"one part", "POST", "/upload/drive/v3/files?uploadType=multipart", related,
			"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--", 400, "badContent"},
		{"content without end", "POST", "/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true", related,
			"--b\r\nContent-Type: application/json\r\n\r\n{\"parents\":[\"" + s.show.ID + "\"]}\r\n--b\r\n\r\nabc", 400,
			"badContent"},
		{"content not base64", "POST", "/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true", related,
			"--b\r\nContent-Type: application/json\r\n\r\n{\"parents\":[\"" +
				s.show.ID + "\"]}\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--b--", 400, "badContent"},
		{"first part no JSON", "POST", "/upload/drive/v3/files?uploadType=multipart", related,
			"--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\n\r\nabc\r\n--b--", 400, "badContent"},
		{"unknown property in multipart", "POST", "/upload/drive/v3/files?uploadType=multipart", related,
			"--b\r\nContent-Type: application/json\r\n\r\n{\"title\":\"x\"}\r\n--b\r\n\r\nabc\r\n--b--", 400,
			"invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.ClearViolations()
			resp, body := s.request(t, test.method, test.path, test.body, "Content-Type", test.contentType,
				"X-Upload-Content-Length", "many")
			if resp.StatusCode != test.status || reason(t, body) != test.reason {
				t.Errorf("got %s %s, want %d %s", resp.Status, body, test.status, test.reason)
			}
			if v := s.Violations(); len(v) != 1 {
				t.Errorf("violations: %q", v)
			}
		})
	}
	s.ClearViolations()
	if n := len(s.Files()); n != 1 {
		t.Fatalf("%d items, want 1", n)
	}
}

// failing is a testing.TB that remembers whether it failed.
type failing struct {
	testing.TB
	failed int
}

func (f *failing) Helper()               {}
func (f *failing) Errorf(string, ...any) { f.failed++ }

func TestViolationFailsTheTest(t *testing.T) {
	s := newStudio(t)
	f := &failing{TB: t}
	s.Check(f)
	if f.failed != 0 {
		t.Fatal("failed without a violation")
	}
	s.request(t, "GET", "/drive/v3/files?query=x", "")
	s.Check(f)
	if f.failed != 1 {
		t.Fatalf("failed %d times, want 1", f.failed)
	}
	s.ClearViolations()
}

// What Google's own client sends is allowed, whatever it sends.
func TestGlobalParametersAreAllowed(t *testing.T) {
	s := newStudio(t)
	resp, body := s.request(t, "GET",
		"/drive/v3/files?alt=json&prettyPrint=true&key=k&quotaUser=q&fields=files(id,name),nextPageToken&%24.xgafv=2",
		"")
	if resp.StatusCode != 200 {
		t.Fatal(body)
	}
	f := &api.File{Name: "n", Properties: map[string]string{"a": "b"},
		ContentHints: &api.FileContentHints{IndexableText: "x"}, WritersCanShare: true, Starred: true, Description: "d",
		Parents: []string{s.show.ID}, ModifiedTime: "2024-01-02T03:04:05+01:00"}
	g := must(s.api.Files.Create(f).SupportsAllDrives(true).KeepRevisionForever(true).Media(strings.NewReader("x")).
		Fields("*").Do())(t)
	if g.Properties["a"] != "b" || !g.Starred || g.Description != "d" || g.ModifiedTime != "2024-01-02T02:04:05.000Z" {
		t.Fatalf("%+v", g)
	}
}
