package drive

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fuzzed is a server, with a token for an account that may do anything on the shared drive SHOW.
func fuzzed(f *testing.F) (s *Server, show *SharedDrive, token string) {
	f.Helper()
	s, err := Start(Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	account := s.AddServiceAccount("sync@studio.iam.example")
	show = s.AddSharedDrive("SHOW")
	show.AddMember(account, Organizer)
	token = s.tokens.issue(accessToken{account: account, issued: account, expires: time.Now().Add(time.Hour),
		scopes: []string{"https://www.googleapis.com/auth/drive"}})
	return s, show, token
}

// serve answers a request as the HTTP server would. The status is 0 if it is not answered.
func serve(s *Server, r *http.Request) (answer *httptest.ResponseRecorder) {
	answer = httptest.NewRecorder()
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			answer.Code = 0
		} else if v != nil {
			panic(v)
		}
	}()
	s.ServeHTTP(answer, r)
	return answer
}

// FuzzRequest asks for anything. There is an answer, and it is not that the server is at fault.
func FuzzRequest(f *testing.F) {
	s, show, token := fuzzed(f)
	folder := s.Mkdir(show, "projects")
	list := url.Values{"q": {"name = 'x' and '" + folder + "' in parents"}, "orderBy": {"name desc,folder"},
		"fields": {"nextPageToken,files(id,name)"}, "pageToken": {"~!!~e30"}, "corpora": {"allDrives"},
		"includeItemsFromAllDrives": {"true"}, "supportsAllDrives": {"true"}}
	f.Add("GET", "/drive/v3/files?"+list.Encode(), "", "", []byte(nil))
	f.Add("GET", "/drive/v3/files/generateIds?count=3&space=drive", "", "", []byte(nil))
	f.Add("GET", "/drive/v3/drives?pageSize=1&pageToken=x", "", "", []byte(nil))
	f.Add("GET", "/drive/v3/files/root?fields=*", "", "", []byte(nil))
	f.Add("POST", "/drive/v3/files?supportsAllDrives=true", "application/json", "",
		[]byte(`{"name": "x", "parents": ["`+folder+`"], "mimeType": "application/vnd.google-apps.folder"}`))
	f.Add("POST", "/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true", "multipart/related; boundary=b",
		"",
		[]byte(multipartBody(`{"name":"x","parents":["`+folder+`"]}`, "text/plain", "abc")))
	f.Add("POST", "/upload/drive/v3/files?uploadType=resumable", "application/json", "", []byte(`{"name": "x"}`))
	f.Add("PUT", "/upload/drive/v3/files?uploadType=resumable&upload_id=x", "", "bytes 0-2/3", []byte("abc"))
	f.Add("PATCH", "/drive/v3/files/"+folder+"?supportsAllDrives=true&addParents=x", "application/json", "",
		[]byte(`{"trashed": true}`))
	f.Add("POST", "/token", "application/x-www-form-urlencoded", "",
		[]byte("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=e30.e30.e30"))
	f.Fuzz(func(t *testing.T, method, target, contentType, contentRange string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.HasPrefix(u.Path, controlPrefix) {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(string(body)))
		r.Method, r.URL = method, u
		r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {contentType},
			"Content-Range": {contentRange}}
		if answer := serve(s, r); answer.Code >= 500 {
			t.Errorf("%s %s: %d %s", method, target, answer.Code, answer.Body)
		}
	})
}

// FuzzDownload asks for ranges of a file. What is sent is what the answer says that it is.
func FuzzDownload(f *testing.F) {
	s, show, token := fuzzed(f)
	content := strings.Repeat("0123456789", 100)
	folder := s.Mkdir(show, "projects")
	r := httptest.NewRequest(http.MethodPost, uploadPrefix+"files?uploadType=multipart&supportsAllDrives=true",
		strings.NewReader(multipartBody(`{"name":"x","parents":["`+folder+`"]}`, "text/plain", content)))
	r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"multipart/related; boundary=b"}}
	var file struct{ ID string }
	if answer := serve(s, r); json.Unmarshal(answer.Body.Bytes(), &file) != nil || file.ID == "" {
		f.Fatal(answer.Code, answer.Body)
	}
	for _, h := range []string{"", "bytes=0-9", "bytes=990-", "bytes=-5", "bytes=0-1,5-6", "bytes=1000-", "bytes=9-0",
		"items=0-1", "bytes=0-99999999999999999999"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, apiPrefix+"files/"+file.ID+"?alt=media", nil)
		r.Header = http.Header{"Authorization": {"Bearer " + token}, "Range": {header}}
		answer := serve(s, r)
		got, _ := io.ReadAll(answer.Body)
		span := answer.Header().Get("Content-Range")
		var first, last, total int
		switch n, _ := fmt.Sscanf(span, "bytes %d-%d/%d", &first, &last, &total); {
		case answer.Code == 200 && string(got) == content:
		case answer.Code == 206 && n == 3 && total == len(content) && first <= last && last < total &&
			string(got) == content[first:last+1]:
		case answer.Code == 206 && strings.HasPrefix(answer.Header().Get("Content-Type"), "multipart/byteranges"):
		case answer.Code == 416 && json.Valid(got):
		default:
			t.Errorf("%q: %d %q with %q", header, answer.Code, span, got)
		}
	})
}

// FuzzSettings reads settings and faults. What is understood is written so that it is read again.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		`{"latency":"150ms","jitter":1000,"accountRate":{"perSecond":2.5,"burst":3,"retryAfter":"2s"}}`,
		`{"units":{"projectPerMinute":1}}`,
		`{"kind":"files.*","effect":"status","status":503,"retryAfter":"1m"}`,
		`{"kind":"[","effect":"drip","delay":-1}`, `{"latency":"1h","latency":2}`,
		`{"latency":null}`, `{"Latency":"1s"}`, `[]`, `{`, `null`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s, again Settings
		if json.Unmarshal(text, &s) == nil {
			wantRead(t, s, &again)
			if diff := cmp.Diff(s, again); diff != "" {
				t.Error(diff)
			}
		}
		var fault, faultAgain Fault
		if json.Unmarshal(text, &fault) == nil {
			wantRead(t, fault, &faultAgain)
			if diff := cmp.Diff(fault, faultAgain); diff != "" {
				t.Error(diff)
			}
			if (fault.check() == nil) != (faultAgain.check() == nil) {
				t.Errorf("%+v is allowed once", fault)
			}
		}
	})
}

func wantRead(t *testing.T, v, into any) {
	t.Helper()
	written, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(written, into)
	}
	if err != nil {
		t.Fatalf("%+v is written as %s: %v", v, written, err)
	}
}

// FuzzPageToken reads tokens that no page had. What is taken says the same when it is written again.
func FuzzPageToken(f *testing.F) {
	s, _, _ := fuzzed(f)
	last := &item{seq: 7, name: "a", created: time.Unix(1, 0), content: &blob{size: 3}, extra: map[string]any{}}
	f.Add("h", s.pageToken("h", markAfter(last, 0)))
	f.Add("h", s.pageToken("h", markAfter(nil, 2)))
	f.Add("", "~!!~e30")
	f.Add("h", "")
	f.Add("h", "~!!~")
	f.Fuzz(func(t *testing.T, hash, token string) {
		it, empty, err := s.readPageToken(hash, token)
		if err != nil {
			return
		}
		again, emptyAgain, err := s.readPageToken(hash, s.pageToken(hash, markAfter(it, empty)))
		if err != nil {
			t.Fatalf("%q: %v", token, err)
		}
		if empty != emptyAgain || (it == nil) != (again == nil) {
			t.Fatalf("%q: %+v %d, then %+v %d", token, it, empty, again, emptyAgain)
		}
		if it != nil && (again.seq != it.seq || again.name != it.name || again.size() != it.size() ||
			!again.created.Equal(it.created) || again.starred() != it.starred()) {
			t.Errorf("%q: %+v, then %+v", token, it, again)
		}
	})
}

// FuzzAssertion asserts to be a service account without its key.
func FuzzAssertion(f *testing.F) {
	s, _, _ := fuzzed(f)
	f.Add("e30.e30.e30")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJzeW5jQHN0dWRpby5pYW0uZXhhbXBsZSJ9.eA")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJzeW5jQHN0dWRpby5pYW0uZXhhbXBsZSJ9.")
	f.Fuzz(func(t *testing.T, assertion string) {
		if token, err := s.fromAssertion(assertion, []string{s.URL + "/token"}); err == nil {
			t.Errorf("%q is accepted: %+v", assertion, token)
		}
	})
}

// FuzzQuoted reads strings of the query language, written as Google's documentation says.
func FuzzQuoted(f *testing.F) {
	for _, name := range []string{"", "a.ma", "it's", `back\slash`, `\'`, "größe 日本 🎬"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = strings.ToValidUTF8(name, "")
		var escaped strings.Builder
		for _, r := range name {
			if r == '\'' || r == '\\' {
				escaped.WriteByte('\\')
			}
			escaped.WriteRune(r)
		}
		if got, rest, err := quoted("'" + escaped.String() + "' and"); err != nil || got != name || rest != " and" {
			t.Errorf("%q is read as %q before %q, %v", name, got, rest, err)
		}
	})
}
