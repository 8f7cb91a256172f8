package drive_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"sitesync/integration/drive"
)

const (
	folderType   = "application/vnd.google-apps.folder"
	shortcutType = "application/vnd.google-apps.shortcut"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests set forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// studio is a server with a service account that is organizer of a shared drive.
type studio struct {
	*drive.Server
	account *drive.Account
	show    *drive.SharedDrive
	api     *api.Service
	http    *http.Client
}

func newStudio(t testing.TB, options ...drive.Options) *studio {
	t.Helper()
	s := &studio{Server: drive.StartTest(t, options...)}
	s.account = s.AddServiceAccount("sync@studio.iam.example")
	s.show = s.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.Organizer)
	s.http = authorized(t, s.account)
	s.api = service(t, s.Server, s.http)
	return s
}

// authorized is an HTTP client that acts as the account.
func authorized(t testing.TB, a *drive.Account) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: transport})
	credentials, err := google.CredentialsFromJSONWithType(ctx, a.Credentials(), credentialsType(a), api.DriveScope)
	if err != nil {
		t.Fatal(err)
	}
	return oauth2.NewClient(ctx, credentials.TokenSource)
}

func credentialsType(a *drive.Account) google.CredentialsType {
	if a.Service {
		return google.ServiceAccount
	}
	return google.AuthorizedUser
}

// service is Google's own client for the server.
func service(t testing.TB, s *drive.Server, client *http.Client) *api.Service {
	t.Helper()
	svc, err := api.NewService(context.Background(), option.WithEndpoint(s.URL+"/drive/v3/"),
		option.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// as is Google's own client for another account.
func (s *studio) as(t testing.TB, a *drive.Account) *api.Service {
	return service(t, s.Server, authorized(t, a))
}

// must returns the value of a call that has to work.
func must[T any](value T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// wantError checks that err is Google's error of that status and reason.
func wantError(t testing.TB, err error, code int, reason string) {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want %d %s", err, code, reason)
	}
	got := ""
	if len(e.Errors) > 0 {
		got = e.Errors[0].Reason
	}
	if e.Code != code || got != reason {
		t.Fatalf("got %d %s (%s), want %d %s", e.Code, got, e.Message, code, reason)
	}
}

// upload makes a file with content by one multipart request.
func (s *studio) upload(t testing.TB, parent, name, content string) *api.File {
	t.Helper()
	return must(s.api.Files.Create(&api.File{Name: name, Parents: []string{parent}}).SupportsAllDrives(true).
		Media(strings.NewReader(content)).Fields("*").Do())(t)
}

// request makes a raw request; path is below the server's URL.
func (s *studio) request(t testing.TB, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.URL + path
	}
	req := must(http.NewRequest(method, path, strings.NewReader(body)))(t)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp := must(s.http.Do(req))(t)
	defer resp.Body.Close()
	return resp, string(must(io.ReadAll(resp.Body))(t))
}

// reason is the reason in an error's body.
func reason(t testing.TB, body string) string {
	t.Helper()
	var e struct {
		Error struct {
			Errors []struct{ Reason string }
		}
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || len(e.Error.Errors) != 1 {
		t.Fatalf("no error of Google's form: %s", body)
	}
	return e.Error.Errors[0].Reason
}

func md5Of(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

func escape(q string) string { return url.QueryEscape(q) }

// eventually waits for a condition, at most ten seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// names lists what a query finds, in the order of the answer.
func (s *studio) names(t testing.TB, q string) []string {
	t.Helper()
	list := must(s.api.Files.List().Q(q).SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
		Corpora("allDrives").OrderBy("name").PageSize(1000).Do())(t)
	out := []string{}
	for _, f := range list.Files {
		out = append(out, f.Name)
	}
	return out
}

// listed joins the names of a files.list.
func listed(t testing.TB, body string) string {
	t.Helper()
	var list struct {
		Files []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list.Files {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}
