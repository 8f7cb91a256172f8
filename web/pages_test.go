package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

const testToken = "0123456789abcdef0123"

// actions records what it was asked for.
type actions struct {
	mu   sync.Mutex
	done []string
	err  error
}

func (a *actions) note(what ...string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = append(a.done, strings.Join(what, " "))
	return a.err
}

func (a *actions) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.done, "|")
}

func (a *actions) Retry(_ context.Context, project, id string) (int64, error) {
	return 2, a.note("retry", project, id)
}
func (a *actions) Pause(_ context.Context, project, _ string) error { return a.note("pause", project) }
func (a *actions) Resume(_ context.Context, project string) error   { return a.note("resume", project) }

// browser is a browser with cookies and without JavaScript.
type browser struct {
	t      *testing.T
	url    string
	client *http.Client
	logs   *observer.ObservedLogs
}

// open starts a server and returns a browser for it.
func open(t *testing.T, change ...func(*Options)) *browser {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o := Options{Listen: "127.0.0.1:0", Snapshot: always(working), Ping: well, Log: zap.New(core),
		About: About{ActiveSite: "studio", RemoteSite: "gdrive", Host: "sync1", Directions: up}, Source: &source{}}
	for _, c := range change {
		c(&o)
	}
	s := New(o)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Jar: jar, Transport: transport}
	return &browser{t: t, url: "http://" + s.Addr().String(), client: client, logs: logs}
}

func withActions(a *actions) func(*Options) {
	return func(o *Options) { o.Actions, o.Token = a, testToken }
}

func (b *browser) do(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

func (b *browser) request(method, path string, form url.Values) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

func (b *browser) get(path string) (*http.Response, string) {
	b.t.Helper()
	return b.do(b.request(http.MethodGet, path, nil))
}

func (b *browser) post(path string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	return b.do(b.request(http.MethodPost, path, form))
}

var formValue = regexp.MustCompile(`<form id="act"[^>]*><input type="hidden" name="form" value="([^"]+)"`)

// signIn signs in and returns what forms must send.
func (b *browser) signIn() string {
	b.t.Helper()
	res, body := b.post("/login", url.Values{"token": {testToken}})
	found := formValue.FindStringSubmatch(body)
	if res.StatusCode != http.StatusOK || found == nil {
		b.t.Fatalf("%s\n%s", res.Status, body)
	}
	return found[1]
}

// Whatever stands in documents is text on the page, and the page runs nothing that stands in it.
func TestPagesRunNothingThatStandsInThem(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert("1")</script>'"><img src=x onerror=alert(1)>`
	now := time.Now()
	k, path := key(evil, evil), "{root}/"+evil+"/a"+evil
	s := &source{
		projects: []string{evil},
		counts:   avalon.Stats{Failed: avalon.FileCount{Files: 1, Bytes: 1}},
		paused:   []state.Pause{{Project: "", By: evil, Why: evil, Since: now}},
		failed:   []avalon.FailedFile{{Key: k, Path: path, Tries: 3, Error: evil, LastFailed: now}},
		explain: func(string, string) (*explain.Report, error) {
			remedy := explain.Remedy{Text: evil, Command: evil}
			steps := explain.Findings{{Rule: evil, Severity: explain.Wrong, Detail: evil, Remedy: remedy}}
			return &explain.Report{
				Project: evil, Asked: evil, Representation: evil, Name: evil, NextStep: remedy, Findings: steps,
				Groups: []explain.Group{{Files: 2, Last: evil, NextStep: remedy,
					Example: explain.File{Path: evil, State: evil, Source: evil, Remote: evil, RemoteID: evil,
						Findings: steps}}},
			}, nil
		},
	}
	snapshot := with(both, func(r *Route) {
		r.Activity = uploader.Activity{
			Transfers: []uploader.Transfer{{Key: k, Path: path, Size: 10, ID: 1, Sent: 3, Began: now}},
			Waiting:   []uploader.Waiting{{Key: k, Path: path, Away: true, Why: evil, Until: now}},
			Held:      []uploader.Hold{{Target: uploader.Target{Name: evil}, Why: evil, Since: now, Next: now}},
		}
	})
	b := open(t, withActions(&actions{}), func(o *Options) {
		o.Source, o.Snapshot, o.About = s, always(snapshot), About{evil, evil, evil, evil, upDown}
	})
	b.signIn()
	values := regexp.MustCompile(`="[^"]*"`)
	inline := regexp.MustCompile(`<script>|<style|<[^>]*\s(style|on[a-z]+)=`)
	links := regexp.MustCompile(`\s(?:src|href|action|formaction)="([^"]*)"`)
	for _, path := range []string{"/", "/failed?project=" + url.QueryEscape(evil), explainPath(evil, evil),
		"/login?back=" + url.QueryEscape(evil)} {
		res, body := b.get(path)
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(path, "/login") && !strings.Contains(body, "alert(") {
			t.Errorf("%s: %s\n%s", path, res.Status, body)
		}
		tags := values.ReplaceAllString(body, `=""`)
		if strings.Contains(body, "<img src=x") || strings.Contains(body, "<script>") || inline.MatchString(tags) {
			t.Errorf("%s runs something:\n%s", path, body)
		}
		for _, link := range links.FindAllStringSubmatch(body, -1) {
			if !strings.HasPrefix(link[1], "/") && !strings.HasPrefix(link[1], "#") ||
				strings.HasPrefix(link[1], "//") {
				t.Errorf("%s leads to %q", path, link[1])
			}
		}
		h := res.Header
		if got := h.Get("Content-Security-Policy"); got != policy || h.Get("X-Frame-Options") != "DENY" ||
			h.Get("Cache-Control") != "no-store" ||
			h.Get("Referrer-Policy") != "same-origin" ||
			h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

// Without JavaScript the page says the same.
func TestPageWithoutJavaScript(t *testing.T) {
	t.Parallel()
	now := time.Now()
	k := key("Aurora", "6b050e7f95b3069bbeff69ac")
	path := func(name string) string { return "{root}/Aurora/Assets/" + name }
	s := &source{
		projects: []string{"Aurora", "Borealis"},
		counts: avalon.Stats{
			Pending: avalon.FileCount{Files: 12, Bytes: 3 << 30},
			Failed:  avalon.FileCount{Files: 1, Bytes: 1},
			Synced:  avalon.FileCount{Files: 12345, Bytes: 1 << 40},
			Oldest:  now.Add(-3 * time.Hour),
		},
		paused: []state.Pause{{Project: "Borealis", By: "td", Since: now}},
		failed: []avalon.FailedFile{{Key: k, Path: path("broken.ma"), Tries: 3,
			Error: "there is a folder of that name on Drive", LastFailed: now.Add(-2 * time.Hour)}},
		room: site.Quota{Known: true, Limit: 100 << 30, Used: 99 << 30},
	}
	snapshot := with(working, func(r *Route) {
		r.Activity = uploader.Activity{Live: 3,
			Transfers: []uploader.Transfer{{Key: k, Path: path("large.vdb"), Size: 1 << 30, ID: 1, Sent: 1 << 28,
				Began: now.Add(-time.Hour)}},
			Waiting: []uploader.Waiting{{Key: k, Path: path("late.exr"), Why: "the source is not there",
				Until: now.Add(5 * time.Second)}}}
	})
	b := open(t, func(o *Options) { o.Source, o.Snapshot = s, always(snapshot) })
	_, body := b.get("/")
	text := strings.Join(strings.Fields(regexp.MustCompile(`<wbr>`).ReplaceAllString(body, "")), " ")
	for _, want := range []string{
		"Uploading 1 file, 3 more to go", ">large.vdb</a>", `value="25"`, `aria-label="large.vdb"`,
		"256 MiB of 1.0 GiB, 73 KiB/s, 3 h 0 min left",
		">late.exr</a>", "the source is not there", "its source", "in 4 s</time>", "Next, just published: 3 files",
		">broken.ma</a>", "there is a folder of that name on Drive", "3 tries, the last", "2 h ago</time>",
		`href="/r/Aurora/6b050e7f95b3069bbeff69ac"`,
		"seen live", `this one <span class="small">on sync1</span>`, "1.0 GiB left", "1 project paused",
		`Borealis <span class="tag">paused</span>`, "12,345", "1.0 TiB", "3 h ago</time>",
		`<html lang="en">`, "<noscript>", `<main id="main"`, `href="#main"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<button") {
		t.Error("a person who may change nothing has buttons")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// One page has both directions: what each has in common stands there once, and all else names its direction.
func TestPageOfBothDirections(t *testing.T) {
	t.Parallel()
	now := time.Now()
	k := key("Aurora", "6b050e7f95b3069bbeff69ac")
	transfer := func(id uint64, name string) []uploader.Transfer {
		return []uploader.Transfer{{Key: k, Path: "{root}/Aurora/Assets/" + name, Size: 100, ID: id, Sent: 100,
			Began: now}}
	}
	up, down := both.Routes[0], both.Routes[1]
	up.Activity = uploader.Activity{Transfers: transfer(1, "sent.ma"), Live: 2,
		Waiting: []uploader.Waiting{{Key: k, Path: "late.exr", Until: now.Add(2 * time.Second)}}}
	up.Uploader.Synced, up.Uploader.SyncedBytes = 1000, 1<<30
	down.Activity = uploader.Activity{Transfers: transfer(1, "received.ma"), Live: 1,
		Waiting: []uploader.Waiting{{Key: k, Path: "quota.exr", Failed: true, Until: now.Add(time.Second)}},
		Held: []uploader.Hold{{Target: uploader.Target{Kind: uploader.LocalRoot, Name: "/mnt/full"},
			Why: "no space left on device", Since: now, Next: now}}}
	down.Uploader.Synced, down.Uploader.SyncedBytes = 234, 1<<30
	down.Lease, down.Stream = state.LeaseState{Held: true}, watcher.StreamClosed
	s := &source{
		projects: []string{"Aurora", "Borealis"},
		counts: avalon.Stats{Pending: avalon.FileCount{Files: 12, Bytes: 3 << 30},
			Synced: avalon.FileCount{Files: 100, Bytes: 1 << 40}},
		countsDown: avalon.Stats{Pending: avalon.FileCount{Files: 34, Bytes: 5 << 30},
			Synced: avalon.FileCount{Files: 200, Bytes: 2 << 40}, Oldest: now.Add(-3 * time.Hour)},
		paused: []state.Pause{{Project: "Aurora", By: "td", Since: now}},
		pausedDown: []state.Pause{{Project: "Aurora", By: "td", Since: now},
			{Project: "Borealis", By: "it", Since: now}},
		failedDown: []avalon.FailedFile{{Key: k, Path: "{root}/Aurora/broken.ma", Tries: 3, LastFailed: now}},
	}
	b := open(t, withActions(&actions{}), func(o *Options) {
		o.Source, o.Snapshot, o.About.Directions = s, always(routes(up, down)), upDown
	})
	b.signIn()
	_, body := b.get("/")
	text := strings.Join(strings.Fields(regexp.MustCompile(`<wbr>|<[^>]*>`).ReplaceAllString(body, " ")), " ")
	for _, want := range []string{
		"sitesync: studio and gdrive Skip", "syncs studio and gdrive", "Some downloads are held until this is repaired",
		"Pause transfers",
		"download /mnt/full : no space left on device Began ",
		"Transfers now", "upload sent.ma Aurora · Assets 100 %", "download received.ma Aurora · Assets 100 %",
		"100 B sent, to be confirmed", "100 B received, to be confirmed", "Next, just published: 3 files",
		"download quota.exr", "the next try", "upload late.exr", "its source",
		"download broken.ma", "Active process this one on sync1",
		"Site gdrive, uploads warning: ok 1 project paused", "Site gdrive, downloads warning: held in part",
		"Publishes, uploads seen live", "Publishes, downloads warning: found by polling",
		"Synced 1,234 files 1,000 uploaded, 234 downloaded; 2.0 GiB since it became active",
		"Project To upload To download Failed On gdrive On studio Oldest",
		"Aurora paused 12 3.0 GiB 34 5.0 GiB 0 100 1.0 TiB 200 2.0 TiB 3 h ago Resume",
		"Borealis downloads paused 12 3.0 GiB", "All 24 6.0 GiB 68 10 GiB 0 200 2.0 TiB 400 4.0 TiB",
		"0 uploaded 0 downloaded",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// A sitesync that only downloads says so, in the words that one that uploads has for that.
func TestPageOfDownloads(t *testing.T) {
	t.Parallel()
	snapshot := with(routes(both.Routes[1]), func(r *Route) {
		r.Activity.Transfers = []uploader.Transfer{{Size: 1}}
	})
	b := open(t, withActions(&actions{}), func(o *Options) {
		o.Snapshot, o.About.Directions = always(snapshot), []config.Direction{config.Down}
		o.Source = &source{projects: []string{"A"}, countsDown: avalon.Stats{Pending: avalon.FileCount{Files: 1}}}
	})
	b.signIn()
	_, body := b.get("/")
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")), " ")
	for _, want := range []string{"syncs gdrive to studio", "Downloading 1 file", "Downloading now", "Pause downloads",
		"Project Pending Waiting Failed Synced To download On studio Oldest", "A 1 0 0 0 0 B 0 B –"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "pload") {
		t.Errorf("the page has uploads:\n%s", text)
	}
}

func TestHeadlines(t *testing.T) {
	t.Parallel()
	doing := func(a uploader.Activity) Snapshot { return with(working, func(r *Route) { r.Activity = a }) }
	busy := doing(uploader.Activity{Transfers: []uploader.Transfer{{Size: 1}, {Size: 1, ID: 2}}, Backlog: 1234})
	downloads := func(change func(*Route)) Route { return with(both, change).Routes[1] }
	held := doing(uploader.Activity{
		Held: []uploader.Hold{{Target: uploader.Target{Kind: uploader.SiteTarget}, Why: "the drive is full"}},
	})
	for name, test := range map[string]struct {
		snapshot Snapshot
		source   *source
		level    Level
		want     string
	}{
		"all is well": {working, &source{}, OK, "Everything that was published is synced"},
		"busy":        {busy, &source{}, InProgress, "Uploading 2 files, 1,234 more to go"},
		"failed": {working, &source{projects: []string{"A"},
			failed: []avalon.FailedFile{failedFile("A", "a", "a.ma", time.Time{})}}, Error, "1 file failed for good"},
		"held": {holding(held, uploader.Holds{uploader.SiteTarget: 1}),
			&source{}, Error, "All uploads are held"},
		"held in part": {holding(held, uploader.Holds{uploader.LocalRoot: 1}),
			&source{}, Error, "Some uploads are held"},
		"paused": {working, &source{paused: []state.Pause{{By: "td@ws1"}}}, Warning, "Paused"},
		"away":   {doing(uploader.Activity{Away: true}), &source{}, Warning, "gdrive is busy or out of reach"},
		"no database": {working, &source{err: errors.New("mongodb://sync:S3cr3t@mongo1 is away")}, Error,
			"The database does not answer"},
		"standby":  {standby, &source{}, Neutral, "Standby"},
		"no lease": {started, &source{}, Error, "Cannot acquire the lease of the site"},
		"idle":     {Snapshot{Idle: true}, &source{}, Warning, "remote_site is empty"},
		"stopping": {stopping(working), &source{}, Warning, "stopping"},
		"waiting": {doing(uploader.Activity{Waiting: []uploader.Waiting{{}}}), &source{}, InProgress,
			"Some files wait"},
		"both ways": {both, &source{}, OK, "Everything that was published is synced"},
		"busy both ways": {routes(busy.Routes[0], downloads(func(r *Route) {
			r.Activity = uploader.Activity{Transfers: []uploader.Transfer{{Size: 1}}, Live: 1}
		})), &source{}, InProgress, "Uploading 2 files, downloading 1, 1,235 more to go"},
		"downloads held": {routes(busy.Routes[0], downloads(func(r *Route) {
			r.Uploader.Holding = uploader.Holds{uploader.SiteTarget: 1}
		})), &source{}, Error, "All downloads are held"},
		"both held in part": {routes(held.Routes[0], downloads(func(r *Route) {
			r.Activity = held.Routes[0].Activity
		})), &source{}, Error, "Some transfers are held"},
		"downloads away": {routes(busy.Routes[0], downloads(func(r *Route) { r.Activity.Away = true })), &source{},
			Warning, "gdrive is busy or out of reach; downloads are retried"},
		"both paused": {both, &source{paused: []state.Pause{{By: "td"}}, pausedDown: []state.Pause{{By: "td"}}},
			Warning, "Paused: no transfer begins"},
		"downloads paused": {routes(busy.Routes[0], both.Routes[1]), &source{pausedDown: []state.Pause{{By: "td"}}},
			Warning, "Paused in part: no download begins"},
		"no lease of downloads": {routes(working.Routes[0], Route{Direction: config.Down}), &source{}, Error,
			"Cannot acquire the lease of the downloads"},
		"standby of downloads": {routes(working.Routes[0], Route{Direction: config.Down, Lease: theirs}), &source{}, OK,
			"Everything that was published is synced"},
		"standby of both": {routes(standby.Routes[0], Route{Direction: config.Down, Lease: theirs}), &source{}, Neutral,
			"Standby"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, func(o *Options) {
				o.Snapshot, o.Source, o.About.Directions = always(test.snapshot), test.source, nil
				for _, r := range test.snapshot.Routes {
					o.About.Directions = append(o.About.Directions, r.Direction)
				}
			})
			var body string
			for range 100 { // the database is asked beside
				if _, body = b.get("/"); strings.Contains(body, test.want) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if !strings.Contains(body, test.want) || !strings.Contains(body, `class="head `+string(test.level)+`"`) {
				t.Errorf("not %q:\n%s", test.want, body)
			}
			if strings.Contains(body, "S3cr3t") {
				t.Error("the page has the password")
			}
			if strings.Contains(body, "not known: ") { // of a level that says nothing by itself
				t.Error("what is known is called not known")
			}
		})
	}
}

// A lease of one direction by another process is told apart from our own.
func TestActiveProcesses(t *testing.T) {
	t.Parallel()
	b := open(t, func(o *Options) {
		o.Snapshot, o.About.Directions = always(with(both, func(r *Route) { r.Lease = theirs })), upDown
	})
	_, body := b.get("/")
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")), " ")
	for _, want := range []string{"Active process, uploads this one on sync1",
		"Active process, downloads on render07 process 4711, became active ", "Site gdrive ok", "Publishes seen live"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

// Nobody changes anything without the token, from another site, or by a form that is not ours.
func TestChangesAreRefused(t *testing.T) {
	t.Parallel()
	var a actions
	b := open(t, withActions(&a))
	changes := []string{"/retry?project=A&id=1", "/pause", "/resume", "/logout"}
	for _, path := range changes {
		if res, body := b.post(path, url.Values{"form": {"x"}}); res.StatusCode != http.StatusForbidden ||
			!strings.Contains(body, "not signed in") {
			t.Errorf("%s without a session: %s", path, res.Status)
		}
	}
	form := b.signIn()
	ours, other := "&form="+form, "form="+strings.Repeat("A", len(form))
	address, _ := url.Parse(b.url)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, path := range changes {
		for what, change := range map[string]func(*http.Request){
			"another site, by a browser of today":  header("Sec-Fetch-Site", "cross-site"),
			"a page of the same domain":            header("Sec-Fetch-Site", "same-site"),
			"another site, by an older browser":    header("Origin", "http://evil.example"),
			"a page without an origin":             header("Origin", "null"),
			"another port of this machine":         header("Origin", "http://127.0.0.1:1"),
			"a name that was made to lead here":    func(r *http.Request) { r.Host = "evil.example" },
			"... with our port":                    func(r *http.Request) { r.Host = "evil.example:9105" },
			"a form without our value":             func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
			"a form with another value":            func(r *http.Request) { setForm(r, other) },
			"a form with our value in the address": func(r *http.Request) { setForm(r, ""); r.URL.RawQuery += ours },
			"somebody else":                        header("Cookie", b.client.Jar.Cookies(address)[0].Name+"=x"),
		} {
			req := b.request(http.MethodPost, path, url.Values{"form": {form}})
			change(req)
			client := *b.client
			if req.Header.Get("Cookie") != "" {
				client.Jar = nil
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s from %s: %s", path, what, res.Status)
			}
		}
		if res, _ := b.get(path); res.StatusCode == http.StatusOK {
			t.Errorf("GET %s: %s", path, res.Status)
		}
	}
	if got := a.all(); got != "" {
		t.Errorf("done: %s", got)
	}
	if n := b.logs.FilterMessageSnippet("changed").Len(); n != 0 {
		t.Errorf("%d changes are logged", n)
	}
}

func setForm(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// With the token changes are made, the page shows the result, and the log has who asked.
func TestChanges(t *testing.T) {
	t.Parallel()
	var a actions
	b := open(t, withActions(&a))
	form := url.Values{"form": {b.signIn()}, "back": {"/failed?page=1"}}
	for _, test := range []struct{ path, done, said, logged string }{
		{"/retry?project=A&id=1", "retry A 1", "2 failed files of A will be retried.", "retry"},
		{"/retry?project=A", "retry A ", "2 failed files of A will be retried.", "retry"},
		{"/pause?project=", "pause ", "All uploads are paused.", "pause"},
		{"/pause?project=A", "pause A", "Uploads of A are paused.", "pause"},
		{"/resume?project=A", "resume A", "Uploads of A are resumed.", "resume"},
	} {
		a.done = nil
		b.logs.TakeAll()
		res, body := b.post(test.path, form)
		if res.StatusCode != http.StatusOK || res.Request.URL.RequestURI() != "/failed?page=1" ||
			!strings.Contains(body, test.said) ||
			a.all() != test.done {
			t.Errorf("%s: %s at %s, done %q\n%s", test.path, res.Status, res.Request.URL, a.all(), body)
		}
		logged := b.logs.FilterMessage("changed from the page").All()
		if len(logged) != 1 || logged[0].ContextMap()["what"] != test.logged ||
			!strings.HasPrefix(fmt.Sprint(logged[0].ContextMap()["remote"]), "127.0.0.1:") {
			t.Errorf("%s: logged %v", test.path, logged)
		}
		if _, body := b.get("/failed"); strings.Contains(body, test.said) {
			t.Errorf("%s is shown again", test.said)
		}
	}
	if res, _ := b.post("/retry", form); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a retry of nothing: %s", res.Status)
	}
	a.err = errors.New("mongodb://sync:S3cr3t@mongo1 is away")
	if _, body := b.post("/pause", form); !strings.Contains(body, "did not work") || strings.Contains(body, "S3cr3t") {
		t.Errorf("what did not work: %s", body)
	}
	if res, _ := b.post("/logout", form); res.StatusCode != http.StatusOK {
		t.Errorf("signing out: %s", res.Status)
	}
	if res, _ := b.post("/pause", form); res.StatusCode != http.StatusForbidden {
		t.Errorf("after signing out: %s", res.Status)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	b := open(t, withActions(&actions{}))
	if _, body := b.get("/"); !strings.Contains(body, "Sign in</a>") || strings.Contains(body, "<button") {
		t.Error("the page has no way to sign in, or buttons")
	}
	_, body := b.post("/login", url.Values{"token": {testToken[1:]}})
	if !strings.Contains(body, "That is not the token") || !strings.Contains(body, `role="alert"`) ||
		strings.Contains(body, testToken[1:]) {
		t.Errorf("a wrong token:\n%s", body)
	}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, _ := b.post("/login", url.Values{"token": {testToken + "\n"}, "back": {"/failed"}})
	cookies := res.Cookies()
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/failed" || len(cookies) != 1 {
		t.Fatalf("%s, %v", res.Status, res.Header)
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure ||
		len(c.Value) < 40 ||
		strings.Contains(c.Value, testToken) {
		t.Errorf("the cookie is %v", c)
	}
	req := b.request(http.MethodPost, "/login", url.Values{"token": {testToken}})
	req.Header.Set("X-Forwarded-Proto", "https")
	if res, _ := b.do(req); len(res.Cookies()) != 1 || !res.Cookies()[0].Secure {
		t.Errorf("behind TLS: %v", res.Header)
	}
	for range attemptBurst {
		res, _ = b.post("/login", url.Values{"token": {"guess"}})
	}
	if res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("guessing: %s", res.Status)
	}
	if res, _ := b.post("/login", url.Values{"token": {testToken}}); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("guessing right: %s", res.Status)
	}
	for _, e := range b.logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, testToken) ||
			strings.Contains(text, "guess") {
			t.Errorf("a token is logged: %s", text)
		}
	}
}

// A browser takes the ports of a host for one.
func TestTwoOnOneHost(t *testing.T) {
	t.Parallel()
	first, second := open(t, withActions(&actions{})), open(t, withActions(&actions{}))
	second.client.Jar = first.client.Jar
	form := first.signIn()
	other := second.signIn()
	signedIn := func(b *browser) bool {
		_, body := b.get("/")
		return formValue.MatchString(body)
	}
	if !signedIn(first) || !signedIn(second) {
		t.Errorf("after signing in to both: first %t, second %t", signedIn(first), signedIn(second))
	}
	second.post("/logout", url.Values{"form": {other}})
	if !signedIn(first) || signedIn(second) {
		t.Errorf("after signing out of the second: first %t, second %t", signedIn(first), signedIn(second))
	}
	if res, _ := first.post("/pause", url.Values{"form": {form}}); res.StatusCode != http.StatusOK {
		t.Errorf("pausing by the first: %s", res.Status)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := newSessions(testToken)
	now := time.Now()
	of := func(value string, at time.Time) *session {
		r, _ := http.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: s.cookie, Value: value})
		return s.of(r, at)
	}
	first := s.create(now)
	if of(first, now.Add(sessionTTL-time.Second)) == nil || of(first, now.Add(sessionTTL+time.Second)) != nil ||
		of(first+"x", now) != nil ||
		of("", now) != nil {
		t.Error("a session lives too long, or too short")
	}
	for i := range maxSessions {
		s.create(now.Add(time.Duration(i+1) * time.Second))
	}
	if len(s.all) != maxSessions || of(first, now) != nil {
		t.Errorf("%d sessions, the first one is kept: %t", len(s.all), of(first, now) != nil)
	}
}

// Without a token the page says how to get one.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	var a actions
	b := open(t, func(o *Options) { o.Actions = &a })
	if _, body := b.get("/"); !strings.Contains(body, "Read-only</a>") || strings.Contains(body, "<button") {
		t.Error("the page does not say that it is read-only")
	}
	if _, body := b.get("/login"); !strings.Contains(body, "--web-token-file") || strings.Contains(body, "<input") {
		t.Errorf("it does not say how to change that:\n%s", body)
	}
	for _, path := range []string{"/login", "/retry?project=A&id=1", "/pause"} {
		for _, token := range []string{"", testToken} {
			if res, _ := b.post(path, url.Values{"token": {token}}); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
	}
	if a.all() != "" {
		t.Errorf("done: %s", a.all())
	}
}

// A sitesync that syncs nothing has pages that say so, and promise no more.
func TestPagesOfAnIdleOne(t *testing.T) {
	t.Parallel()
	b := open(t, func(o *Options) { o.Source, o.Snapshot = nil, always(Snapshot{Idle: true}) })
	for path, want := range map[string]string{"/": "remote_site is empty", "/failed": "No file has failed for good",
		"/r/A/1": "Nothing is synced"} {
		if _, body := b.get(path); !strings.Contains(body, want) || strings.Contains(body, "Counting") ||
			strings.Contains(body, "Loading") {
			t.Errorf("%s:\n%s", path, body)
		}
	}
}

// A foreign name that resolves to this machine shows nothing; health and metrics may be asked for by any name.
func TestHosts(t *testing.T) {
	t.Parallel()
	b := open(t)
	for host, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:1": true, "localhost": true, "localhost:9105": true, "LOCALHOST.": true,
		"[::1]:9105": true, "127.1.2.3": true,
		"evil.example": false, "evil.example:9105": false, "127.0.0.1.evil.example": false,
		"localhost.evil.example": false, "10.0.0.7": false, "[::2]": false, "a@b": false,
	} {
		for _, path := range []string{"/", "/failed", "/r/A/1", "/events", "/login", "/static/page.js"} {
			if path == "/events" && ok {
				continue // it would not end
			}
			req := b.request(http.MethodGet, path, nil)
			req.Host = host
			if res, body := b.do(req); (res.StatusCode != http.StatusMisdirectedRequest) != ok {
				t.Errorf("%s of %s: %s, %s", path, host, res.Status, body)
			}
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			req := b.request(http.MethodGet, path, nil)
			req.Host = host
			if res, _ := b.do(req); res.StatusCode != http.StatusOK && res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s of %s: %s", path, host, res.Status)
			}
		}
	}
	// Where others may look, it is not known by which name.
	wide := requireLocalHost("0.0.0.0:9105", http.NotFoundHandler())
	if _, guarded := wide.(http.HandlerFunc); !guarded {
		t.Error("what others may look at is guarded")
	}
}

func TestBack(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/": "/", "/failed?page=2&project=A": "/failed?page=2&project=A", "/r/A/1": "/r/A/1",
		"": "/", "//evil.example": "/", "/\\evil.example": "/", "https://evil.example/": "/",
		"javascript:alert(1)": "/", "/login?back=/login": "/", "evil": "/",
	} {
		if got := back(to); got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestFailedPages(t *testing.T) {
	t.Parallel()
	s := &source{projects: []string{"A", "B"}}
	now := time.Now()
	for i := range 250 {
		id := fmt.Sprintf("a%03d", i)
		s.failed = append(s.failed, failedFile("A", id, id+".ma", now.Add(-time.Duration(i)*time.Minute)))
	}
	s.failed = append(s.failed, failedFile("B", "b", "b.ma", now.Add(-time.Hour*24)))
	b := open(t, withActions(&actions{}), func(o *Options) { o.Source = s })
	b.signIn()
	for path, want := range map[string][]string{
		"/failed":                   {"1 to 100 of 251 representations", "a000.ma", "a099.ma", `rel="next"`, "page=2"},
		"/failed?page=3":            {"201 to 251 of 251 representations", "a249.ma", "b.ma", `rel="prev"`},
		"/failed?page=99":           {"201 to 251"},
		"/failed?page=x":            {"1 to 100"},
		"/failed?page=-1":           {"1 to 100"},
		"/failed?project=B":         {"1 to 1 of 1 representation", "b.ma", "Retry all of B"},
		"/failed?project=A&page=2":  {"101 to 200 of 250", "project=A"},
		"/failed?project=nosuch":    {"No file of nosuch has failed for good"},
		"/failed?project=%3Cb%3Ex/": {"No file of &lt;b&gt;x/"},
	} {
		res, body := b.get(path)
		for _, w := range want {
			if !strings.Contains(strings.ReplaceAll(body, "<wbr>", ""), w) {
				t.Errorf("%s (%s) lacks %q", path, res.Status, w)
			}
		}
		if n := strings.Count(body, "<li "); n > perPage {
			t.Errorf("%s has %d lines", path, n)
		}
	}
}

// Reading explanations costs Drive little, however many read.
func TestExplanations(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := 0
	s := &source{explain: func(project, id string) (*explain.Report, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		switch id {
		case "gone":
			return nil, &explain.NotFoundError{Err: errors.New("it is gone")}
		case "away":
			return nil, errors.New("mongodb://sync:S3cr3t@mongo1 is away")
		}
		return &explain.Report{
			Project: project, Asked: id, Name: "ma", Severity: explain.Wrong,
			NextStep: explain.Remedy{Text: "repair " + id},
			Groups:   []explain.Group{{Files: 1, Example: explain.File{Path: "{root}/" + project + "/a.ma"}}},
		}, nil
	}}
	b := open(t, func(o *Options) { o.Source = s })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			path := fmt.Sprintf("/r/A%%2FB/id%d", i%2)
			if res, body := b.get(path); res.StatusCode != http.StatusOK ||
				!strings.Contains(body, fmt.Sprintf("repair id%d", i%2)) ||
				!strings.Contains(body, "a.ma") {
				t.Errorf("%s: %s\n%s", path, res.Status, body)
			}
		})
	}
	wg.Wait()
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	if res, body := b.get("/r/A/gone"); res.StatusCode != http.StatusNotFound || !strings.Contains(body, "it is gone") {
		t.Errorf("gone: %s\n%s", res.Status, body)
	}
	if res, body := b.get("/r/A/away"); res.StatusCode != http.StatusServiceUnavailable ||
		strings.Contains(body, "S3cr3t") {
		t.Errorf("away: %s\n%s", res.Status, body)
	}
}

// The direction is named, unless it is the only one of this sitesync.
func TestExplanationOfBothDirections(t *testing.T) {
	t.Parallel()
	s := &source{explain: func(project, id string) (*explain.Report, error) {
		files := func(d config.Direction) explain.Group {
			return explain.Group{Files: 1, Example: explain.File{Path: "a.ma", Direction: d, State: "pending",
				Source: "/mnt/a.ma", Remote: "/SHOW/a.ma"}}
		}
		return &explain.Report{Project: project, Asked: id,
			Groups: []explain.Group{files(config.Up), files(config.Down)}}, nil
	}}
	for _, served := range [][]config.Direction{up, upDown} {
		b := open(t, func(o *Options) { o.Source, o.About.Directions = s, served })
		_, body := b.get("/r/A/1")
		text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")), " ")
		for _, want := range []string{"1 file: pending a.ma Read from / mnt/ a.ma Goes to / SHOW/ a.ma",
			"1 file: pending a.ma Read from / SHOW/ a.ma Goes to / mnt/ a.ma"} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: the page lacks %q:\n%s", served, want, text)
			}
		}
		if named := strings.Contains(text, "upload 1 file"); named != (len(served) == 2) {
			t.Errorf("%v: uploads are named: %t\n%s", served, named, text)
		}
		if !strings.Contains(text, "download 1 file") {
			t.Errorf("%v: downloads are not named:\n%s", served, text)
		}
	}
}

// One is made at a time, and not many a minute.
func TestExplanationsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most, asked atomic.Int64
		gone := errors.New("gone")
		c := newExplainCache(func(_ context.Context, _, id string) (*explain.Report, error) {
			if id == "gone" {
				return nil, gone
			}
			asked.Add(1)
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(time.Second)
			at.Add(-1)
			return &explain.Report{}, nil
		})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, _ = c.Get(ctx, "A", fmt.Sprint(i)) // not all are told
			})
		}
		wg.Wait()
		if n := asked.Load(); most.Load() != 1 || n < explainBurst ||
			n > explainBurst+int64(time.Minute/explainInterval)+1 {
			t.Errorf("asked %d times, %d at once", n, most.Load())
		}
		if _, err := c.Get(t.Context(), "A", "gone"); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

func TestStatic(t *testing.T) {
	t.Parallel()
	b := open(t)
	for name, kind := range map[string]string{"style.css": "text/css", "page.js": "text/javascript",
		"icon.svg": "image/svg+xml"} {
		res, body := b.get("/static/" + name + "?v=" + assetVersion)
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), kind) || body == "" ||
			!strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s, %v", name, res.Status, res.Header)
		}
		if res, _ := b.get("/static/" + name); res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s without its version is kept", name)
		}
	}
	for _, path := range []string{"/static/", "/static/nosuch", "/static/../pages.go", "/static/..%2Fpages.go"} {
		if res, _ := b.get(path); res.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// All text can be read, in the light and in the dark: https://www.w3.org/TR/WCAG22/#contrast-minimum.
func TestContrast(t *testing.T) {
	t.Parallel()
	css, err := assetFiles.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	schemes := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(string(css), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d color schemes", len(schemes))
	}
	for i, scheme := range schemes {
		colors := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]+)`).FindAllStringSubmatch(scheme[1], -1) {
			colors[m[1]] = m[2]
		}
		for text, backs := range map[string][]string{
			"text":  {"back", "card", "quiet", "ok-back", "warning-back", "error-back", "progress-back"},
			"soft":  {"back", "card", "quiet", "ok-back", "warning-back", "error-back", "progress-back"},
			"error": {"card", "back", "error-back"}, "warning": {"back", "card", "warning-back"},
			"accent": {"back", "card", "quiet"}, "accent-text": {"accent"},
		} {
			for _, back := range backs {
				if got := contrast(t, colors[text], colors[back]); got < 4.5 {
					t.Errorf("scheme %d: %s on %s is only %.2f to 1", i, text, back, got)
				}
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	light := func(hex string) float64 {
		hex = strings.TrimPrefix(hex, "#")
		if len(hex) == 3 {
			hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
		}
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil || len(hex) != 6 {
			t.Fatalf("%q is no color", hex)
		}
		part := func(v uint64) float64 {
			c := float64(v&0xff) / 255
			if c <= 0.04045 {
				return c / 12.92
			}
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
	}
	x, y := light(a), light(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
