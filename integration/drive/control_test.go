package drive_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
)

// control talks to the control endpoint.
func (s *studio) control(t testing.TB, method, what, body string, wantStatus int, into any) {
	t.Helper()
	req := must(http.NewRequest(method, s.URL+"/_control/"+what, strings.NewReader(body)))(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp := must(client.Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode != wantStatus {
		t.Fatalf("%s %s: %s", method, what, resp.Status)
	}
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}

func TestControlSettings(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{Latency: time.Millisecond, PageLimit: 7}})
	s.control(t, "PATCH", "settings",
		`{"latency":"150ms","jitter":1000,"accountRate":{"perSecond":2.5,"burst":3,"retryAfter":"2s"}}`, 200, nil)
	want := drive.Settings{Latency: 150 * time.Millisecond, Jitter: 1000, PageLimit: 7,
		AccountRate: drive.Rate{PerSecond: 2.5, Burst: 3, RetryAfter: 2 * time.Second}}
	if diff := cmp.Diff(want, s.Settings()); diff != "" {
		t.Fatal(diff)
	}
	var got drive.Settings
	s.control(t, "GET", "settings", "", 200, &got) // what is written can be read
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	s.control(t, "PUT", "settings", `{"listingLag":"1h"}`, 200, nil)
	if diff := cmp.Diff(drive.Settings{ListingLag: time.Hour}, s.Settings()); diff != "" {
		t.Fatal(diff)
	}
	for _, bad := range []string{`{"latencie":"1s"}`, `{"latency":"soon"}`, `{"latency":true}`, `{"units":{"x":1}}`,
		`[]`, `{`, ``} {
		s.control(t, "PATCH", "settings", bad, 400, nil)
	}
	if diff := cmp.Diff(drive.Settings{ListingLag: time.Hour}, s.Settings()); diff != "" {
		t.Fatal(diff)
	}
}

func TestControlFaults(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	type described struct {
		ID, Hits, Remaining int
		Fault               drive.Fault
	}
	var added described
	s.control(t, "POST", "faults", `{"kind":"files.get","effect":"status","status":429,"retryAfter":"3s","count":2}`,
		200, &added)
	_, err := s.api.Files.Get("root").Do()
	wantError(t, err, 429, "rateLimitExceeded")
	var list []described
	s.control(t, "GET", "faults", "", 200, &list)
	want := []described{{added.ID, 1, 1, drive.Fault{Kind: "files.get", Effect: drive.EffectStatus, Status: 429,
		RetryAfter: 3 * time.Second, Count: 2}}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Fatal(diff)
	}
	for _, bad := range []string{`{"kind":"files.get"}`, `{"kind":"x","effect":"reset","color":"red"}`,
		`{"kind":"x","effect":"delay","delay":"x"}`} {
		s.control(t, "POST", "faults", bad, 400, nil)
	}
	s.control(t, "DELETE", "faults?id=99", "", 400, nil)
	s.control(t, "DELETE", "faults?id=1", "", 200, nil)
	must(s.api.Files.Get("root").Do())(t)
	s.control(t, "POST", "faults", `{"kind":"*","effect":"reset"}`, 200, nil)
	s.control(t, "DELETE", "faults", "", 200, nil)
	must(s.api.Files.Get("root").Do())(t)
}

func TestControlObserves(t *testing.T) {
	s := newStudio(t)
	s.upload(t, s.Mkdir(s.show, "a"), "x", "abc")
	s.upload(t, s.Mkdir(s.show, "a"), "x", "abc")
	var tree []drive.File
	s.control(t, "GET", "tree", "", 200, &tree)
	if diff := cmp.Diff(s.Files(), tree, cmpopts.EquateApproxTime(time.Second)); diff != "" {
		t.Fatal(diff)
	}
	var duplicates, violations []string
	s.control(t, "GET", "duplicates", "", 200, &duplicates)
	if diff := cmp.Diff([]string{"SHOW: a/x"}, duplicates); diff != "" {
		t.Fatal(diff)
	}
	var calls map[string]int
	s.control(t, "GET", "calls", "", 200, &calls)
	if diff := cmp.Diff(map[string]int{"token": 1, "files.create.multipart": 2}, calls); diff != "" {
		t.Fatal(diff)
	}
	var log []drive.LogEntry
	s.control(t, "GET", "log", "", 200, &log)
	if len(log) == 0 || log[0].Kind != "token" {
		t.Fatal(log)
	}
	s.control(t, "DELETE", "calls", "", 200, nil)
	s.control(t, "GET", "calls", "", 200, &calls)
	if len(s.Calls()) != 0 {
		t.Fatal(s.Calls())
	}
	s.request(t, "GET", "/drive/v3/files?x=y", "")
	s.control(t, "GET", "violations", "", 200, &violations)
	if len(violations) != 1 {
		t.Fatal(violations)
	}
	s.control(t, "DELETE", "violations", "", 200, nil)
	s.control(t, "POST", "revoke?account="+s.account.Email, "", 200, nil)
	_, err := s.api.Files.Get("root").Do()
	wantError(t, err, 401, "authError")
	s.control(t, "POST", "revoke?account=nobody", "", 400, nil)
	s.control(t, "GET", "nothing", "", 400, nil)
}

// The log must not help anybody to get at a drive.
func TestLogHoldsNoSecrets(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader("x")).Do())(t)
	uri := s.begin(t, 3)
	s.send(t, uri, "", "abc")
	data := string(must(json.Marshal(s.Log()))(t))
	for _, secret := range []string{uri, uri[strings.Index(uri, "upload_id=")+10:], "ya29"} {
		if strings.Contains(data, secret) {
			t.Fatalf("the log holds %q", secret)
		}
	}
}
