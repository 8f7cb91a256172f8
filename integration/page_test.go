package integration_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sitesync/integration/browser"
	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// webToken is what tests sign in with. It is a secret as any other.
const webToken = "T0kenOfThePage-0123456789"

// token has sitesync let people change something from the page.
func (s *testStudio) token() []string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "web-token")
	check(s.t, os.WriteFile(file, []byte(webToken+"\n"), 0o600))
	return []string{"--web-token-file", file}
}

// tab is a tab of a real browser.
type tab struct {
	s   *testStudio
	ctx context.Context
	url string

	mu       sync.Mutex
	problems []string // what the browser complained about
}

// browse opens the page in a real browser.
func (s *testStudio) browse(p page) *tab {
	s.t.Helper()
	ctx, cancel, err := browser.Start(context.WithoutCancel(s.ctx)) // which ends before the cleanup
	check(s.t, err)
	s.t.Cleanup(cancel)
	t := &tab{s: s, ctx: ctx, url: p.url}
	check(s.t, chromedp.Listen(ctx, func(ev any) {
		problem := ""
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			if strings.HasSuffix(ev.Entry.URL, "/nosuch") {
				break // there is none
			}
			if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
				problem = ev.Entry.Text + " " + ev.Entry.URL
			}
		case *runtime.EventExceptionThrown:
			problem = fmt.Sprint(ev.ExceptionDetails)
		}
		if problem != "" {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.problems = append(t.problems, problem)
		}
	}))
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	check(s.t, err)
	_, err = chromedp.Call(ctx, runtime.Enable, cdp.Empty{})
	check(s.t, err)
	s.t.Cleanup(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, problem := range t.problems {
			s.t.Errorf("the browser complains: %s", problem)
		}
	})
	return t
}

// do does something in the tab, within the waitTimeout of all tests.
func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.s.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, waitTimeout)
	defer cancel()
	check(t.s.t, chromedp.Do(ctx, steps...))
}

// live loads the first page and waits until it has news.
func (t *tab) live() {
	t.s.t.Helper()
	t.do(chromedp.Navigate(t.url+"/"), chromedp.WaitReady(chromedp.CSS(`body[data-live="true"]`)))
}

// signIn signs in, by the keyboard, and waits for the first page.
func (t *tab) signIn() {
	t.s.t.Helper()
	t.do(chromedp.Navigate(t.url+"/login"), chromedp.SendKeys(chromedp.CSS("#token"), webToken+"\r"),
		chromedp.WaitReady(chromedp.CSS(`body[data-live="true"]`)))
}

// until waits for an expression to be true, on this page or the next.
func (t *tab) until(expression string) {
	t.s.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, waitTimeout)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")")) // fails while a page goes
		if ok && err == nil {
			return
		}
		if ctx.Err() != nil {
			text, _ := chromedp.Run(t.ctx, chromedp.Text(chromedp.CSS("main")))
			t.s.t.Fatalf("never %s: %v\n%s", expression, err, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// value is the value of an expression.
func value[T any](t *tab, expression string) T {
	t.s.t.Helper()
	v, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](expression))
	check(t.s.t, err)
	return v
}

// has is an expression for whether a part of the page has a text.
func has(part, text string) string {
	return fmt.Sprintf("(document.querySelector(%q)?.textContent.includes(%q) ?? false)", part, text)
}

// A publish is on the page within a second of being in the database, as people see it.
func TestPageShowsAPublishWithinASecond(t *testing.T) {
	s := newTestStudio(t)
	tab := s.browse(s.page(s.start(serve...)))
	tab.live()
	tab.until(has("#state", "Everything that was published is synced"))
	p := s.project("Test")
	var took []time.Duration
	for i := range 7 {
		name := fmt.Sprintf("publish%02d.ma", i)
		start := time.Now()
		s.publish(p, studio.Publish{Size: 4822, Version: i + 1, File: name})
		tab.until(has("#synced", name))
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > time.Second {
		t.Errorf("it took %v", took)
	}
	t.Logf("it took %v", took)
	if !strings.Contains(value[string](tab, "document.querySelector('#hour').textContent"), "7 files") {
		t.Error("the chart lacks them")
	}
}

// What is uploaded is shown while it is, and what waits, fails or is paused.
func TestPageIsLive(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt = 1
	d := s.start(append(append(serve, s.token()...), "--settle", "1m")...)
	page := s.page(d)
	tab := s.browse(page)
	tab.signIn()
	p := s.project("Test")

	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 4 << 20 })
	large := s.publish(p, studio.Publish{Size: 40 << 20, Name: "vdb", Sparse: true})
	tab.until(`document.querySelector("#now progress")?.value > 0 && ` + has("#now", " left"))
	late := s.publish(p, studio.Publish{Size: 100, Name: "abc", Hold: true})
	tab.until(has("#waiting", "is not there"))
	if _, body := page.get("/"); !strings.Contains(body, "<progress") || !strings.Contains(body, "is not there") {
		t.Errorf("without JavaScript it is not shown:\n%s", body)
	}

	// What has the focus keeps it while the page changes around it.
	tab.do(chromedp.Focus(chromedp.CSS("#now a.name")))
	before := value[float64](tab, `document.querySelector("#now progress").value`)
	tab.until(fmt.Sprintf(`document.querySelector("#now progress").value > %f`, before))
	if got := value[string](tab, "document.activeElement.textContent"); got != filepath.Base(large.Files[0].Rel) {
		t.Errorf("the focus is on %q", got)
	}
	tab.do(chromedp.Focus(chromedp.CSS(`button[formaction^="/pause?project="]`)))
	tab.do(chromedp.KeyEvent("\r"))
	tab.until(has(".flash", "All uploads are paused") + " && " + has("#state", "Paused"))
	paused := s.publish(p, studio.Publish{Size: 100, Name: "ma"})
	check(t, late.Finish())
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	s.synced(large)                                          // what runs goes on
	if code, stdout, stderr := s.exits("pause"); code != 0 { // downloads too, which this machine has none of
		t.Fatal(stdout, stderr)
	}
	tab.do(chromedp.Click(chromedp.CSS(`button[formaction^="/resume?project="]`)))
	tab.until(has(".flash", "All uploads are resumed"))
	s.prints("site gdrive was not paused\n", "resume")
	s.synced(paused)
	s.synced(late)
	tab.until(has("#state", "Everything that was published is synced"))
	if changes := d.Lines(process.Message("changed from the page")); len(changes) != 2 ||
		changes[0].Text("what") != "pause" || changes[0].Text("remote") == "" {
		t.Errorf("the log has %v", changes)
	}

	// The page says that sitesync is gone, and recovers with it.
	check(t, d.Stop())
	tab.until(has("#link", "No connection to sitesync"))
	tab.mu.Lock()
	tab.problems = nil // it says that there is no connection
	tab.mu.Unlock()
}

// refuse has a filter in between refuse the first file of a publish.
func (s *testStudio) refuse(rep *studio.Representation) *drive.ActiveFault {
	return s.drive.AddFault(drive.Fault{Kind: "files.create*", Name: filepath.Base(rep.Files[0].Rel),
		Effect: drive.EffectHTML, Status: 403})
}

// The cause is fixed and the button pressed: the file is synced.
func TestRetryButton(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt = 1
	page := s.page(s.start(append(serve, s.token()...)...))
	rep := s.publish(s.project("Test"), studio.Publish{Size: 100, Hold: true})
	refused := s.refuse(rep)
	check(t, rep.Finish())

	tab := s.browse(page)
	tab.live()
	tab.until(has("#failed", "it may come from a proxy or filter"))
	if n := value[int](tab, `document.querySelectorAll("main button").length`); n != 0 {
		t.Errorf("%d buttons without the right to change anything", n)
	}
	tab.signIn()
	tab.until(has("#failed", "it may come from a proxy or filter"))
	refused.Remove()
	tab.do(chromedp.Click(chromedp.CSS("#failed button")))
	tab.until(has(".flash", "1 failed file of Test will be retried"))
	s.synced(rep)
	tab.until(has("#failed", "No file has failed for good") + " && " + has("#synced", filepath.Base(rep.Files[0].Rel)))

	// The page of the representation says the same.
	tab.do(chromedp.Click(chromedp.CSS("#synced a.name")))
	tab.until(`document.querySelector("main .head")?.classList.contains("ok")`)
	if got, want := value[string](tab, "location.pathname"), "/r/Test/"+rep.ID.Hex(); got != want {
		t.Errorf("it is at %s, want %s", got, want)
	}
}

// Everything can be read and done without a mouse, on a phone, in the dark, and by who does not see it.
func TestPageForEverybody(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt = 1
	page := s.page(s.start(append(append(serve, s.token()...), "--settle", "10m")...))
	p := s.project("Test")
	s.project("Other")
	long := strings.Repeat("aVeryLongNameOfAnAsset", 5)
	rep := s.publish(p, studio.Publish{Asset: long, Subset: "lookMain", Size: 100, Hold: true})
	s.refuse(rep)
	check(t, rep.Finish())
	s.eventually("it has failed",
		func() bool { _, body := page.get("/failed"); return strings.Contains(body, "proxy or filter") })
	s.synced(s.publish(p, studio.Publish{Asset: long, Size: 100}))
	s.publish(p, studio.Publish{Asset: long, Subset: "rigMain", Size: 100, Hold: true})
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 1 << 20 })
	s.publish(p, studio.Publish{Asset: long, Subset: "fxMain", Size: 200 << 20, Name: "vdb", Sparse: true})

	tab := s.browse(page)
	tab.signIn()
	tab.until(has("#failed", "proxy or filter") + ` && document.querySelector("#now progress") && ` +
		has("#waiting", "is not there") +
		` && document.querySelector("#projects tbody button")`)

	pages := []string{"/", "/failed", "/r/Test/" + rep.ID.Hex(), "/login", "/r/Test/nosuch", "/failed?" +
		url.Values{"project": {long + long}}.Encode()}
	t.Run("keyboard", func(t *testing.T) {
		tab.live()
		tab.until(`document.querySelector("#failed button") && document.querySelector("#projects tbody button")`)
		var order []string
		for range 100 {
			tab.do(chromedp.KeyEvent("\t"))
			at := value[string](tab, `(() => { const e = document.activeElement; if (e === document.body) return "";
				const s = getComputedStyle(e), part = e.closest("section, header, footer");
				return [part?.id || part?.tagName.toLowerCase() || "", 
					e.getAttribute("aria-label") || e.textContent.trim() || e.getAttribute("role"),
					s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2 ? "no outline" : ""].join("|") })()`)
			if at == "" || len(order) > 0 && at == order[0] {
				break
			}
			order = append(order, at)
		}
		last := 0
		parts := []string{"", "header", "state", "now", "waiting", "synced", "failed", "projects", "footer"}
		seen := map[string]bool{}
		for _, at := range order {
			part, _, _ := strings.Cut(at, "|")
			i := slices.Index(parts, part)
			if i < last || strings.HasSuffix(at, "no outline") {
				t.Errorf("the focus goes to %q", at)
			}
			last = max(i, last)
			seen[at] = true
		}
		for _, want := range []string{"|Skip to the content|", "header|Overview|", "header|Sign out|",
			"state|Pause uploads|", "projects|Pause Test|"} {
			if !seen[want] {
				t.Errorf("%q is never reached; the order is %q", want, order)
			}
		}
		if !slices.ContainsFunc(order, func(at string) bool { return strings.HasPrefix(at, "failed|Retry ") }) {
			t.Errorf("no retry is reached; the order is %q", order)
		}
		tab.do(chromedp.Navigate(tab.url+"/"), chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
		tab.until(`document.activeElement.id === "main"`)
	})
	t.Run("accessibility", func(t *testing.T) {
		for _, path := range pages {
			tab.do(chromedp.Navigate(tab.url + path))
			if path == "/" {
				tab.until(`document.body.dataset.live && document.querySelector("#failed button")`)
			}
			tree, err := chromedp.Call(tab.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
			check(t, err)
			roles := map[string]int{}
			for _, n := range tree.Nodes {
				if n.Ignored || n.Role == nil {
					continue
				}
				role, name := text(n.Role), text(n.Name)
				roles[role]++
				switch role {
				case "button", "link", "textbox", "combobox", "progressbar", "image", "img", "heading", "region",
					"navigation", "table":
					if name == "" {
						t.Errorf("%s: a %s has no name", path, role)
					}
				}
			}
			for _, landmark := range []string{"banner", "main", "contentinfo", "navigation"} {
				if roles[landmark] == 0 {
					t.Errorf("%s has no %s; it has %v", path, landmark, roles)
				}
			}
			if n := value[int](tab, `document.querySelectorAll("h1").length`); n != 1 ||
				value[string](tab, "document.documentElement.lang") != "en" {
				t.Errorf("%s has %d main headings", path, n)
			}
			if path == "/" && (roles["progressbar"] == 0 || roles["status"] == 0 || roles["heading"] < 7 ||
				roles["table"] == 0) {
				t.Errorf("the first page lacks something: %v", roles)
			}
			if twice := value[[]string](tab, `[...document.querySelectorAll("[id]")].map((e) => e.id)
				.filter((id, i, all) => all.indexOf(id) !== i)`); len(twice) > 0 {
				t.Errorf("%s has ids twice: %q", path, twice)
			}
		}
	})
	t.Run("phone", func(t *testing.T) {
		tab.do(chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile, chromedp.EmulateTouch))
		defer tab.do(chromedp.EmulateReset())
		for _, path := range pages {
			tab.do(chromedp.Navigate(tab.url + path))
			if path == "/" {
				tab.until(`document.body.dataset.live && document.querySelector("#failed button")`)
			}
			if wide := value[[]int](tab, "[document.documentElement.scrollWidth, innerWidth]"); wide[0] > 320 ||
				wide[1] > 320 {
				t.Errorf("%s is %d wide on a phone of 320, which shows %d", path, wide[0], wide[1])
			}
			if small := value[[]string](tab, `[...document.querySelectorAll("button, nav a")]
				.filter((e) => e.getBoundingClientRect().height < 40).map((e) => e.textContent)`); len(small) > 0 {
				t.Errorf("%s has buttons that are too small for a finger: %q", path, small)
			}
		}
	})
	t.Run("dark", func(t *testing.T) {
		tab.do(chromedp.Navigate(tab.url + "/"))
		brightness := func(scheme string) int {
			media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}}}
			_, err := chromedp.Call(tab.ctx, emulation.SetEmulatedMedia, media)
			check(t, err)
			return value[int](tab, `getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3)
				.reduce((sum, n) => sum + Number(n), 0)`)
		}
		if dark, light := brightness("dark"), brightness("light"); dark > 3*64 || light < 3*192 {
			t.Errorf("in the dark it is %d, in the light %d", dark, light)
		}
	})
}

// text is a value of the accessibility tree.
func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// No page of a studio in problem tells a secret, to nobody and to nobody who has signed in.
func TestPagesShowNoSecret(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt = 1
	page := s.page(s.start(append(append(serve, s.token()...), "--log-level", "debug")...))
	p := s.project("Test")
	s.drive.AddFault(drive.Fault{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectStatus, Status: 400,
		Reason: "invalid"})
	rep := s.publish(p, studio.Publish{Size: 100})
	s.eventually("it has failed",
		func() bool { _, body := page.get("/failed"); return strings.Contains(body, rep.ID.Hex()) })
	s.drive.AddFault(drive.Fault{Kind: "upload.put", Count: 100, Effect: drive.EffectReset, When: drive.InBody,
		AfterBytes: 1 << 20})
	s.publish(p, studio.Publish{Size: 8 << 20, Name: "abc"})
	s.eventually("it is uploaded", func() bool { _, body := page.get("/"); return strings.Contains(body, ".abc") })
	s.drive.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectStatus, Status: 400, Reason: "invalid_grant"})
	s.drive.RevokeTokens(s.account)
	s.publish(p, studio.Publish{Size: 100, Name: "fbx"})
	s.eventually("it is held",
		func() bool { _, body := page.get("/"); return strings.Contains(body, "uploads are held") })
	for _, path := range []string{"/", "/failed", "/login", "/r/Test/" + rep.ID.Hex(), "/r/Test/nosuch", "/metrics",
		"/healthz", "/static/page.js"} {
		page.get(path) // which looks for secrets
	}
	tab := s.browse(page)
	tab.signIn()
	s.checkForSecrets("the page", value[string](tab, "document.documentElement.outerHTML"))
	if cookies := value[string](tab, "document.cookie"); cookies != "" {
		t.Errorf("scripts can read the cookies %q", cookies)
	}
}
