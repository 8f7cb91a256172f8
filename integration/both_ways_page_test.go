package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// lost has the storage lose the files of a publish that is on Drive, and asks for them.
func (s *testStudio) lost(rep *studio.Representation) {
	s.t.Helper()
	for _, f := range rep.Files {
		check(s.t, os.Remove(f.Local))
	}
	check(s.t, rep.Resync(s.ctx, "studio"))
}

// back waits until the storage has the files of a publish again.
func (s *testStudio) back(rep *studio.Representation) {
	s.t.Helper()
	s.eventually("it is downloaded", func() bool {
		_, err := os.Stat(rep.Files[0].Local)
		record := must(rep.Record(s.ctx, 0, "studio"))(s.t)
		return err == nil && record.Lookup("created_dt").Type == bson.TypeDateTime
	})
}

// One page, and the metrics and health of one process, have uploads and downloads, and name the direction of each.
func TestPageOfBothWays(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.presets.RetryCnt, s.presets.LocalRoot = 1, s.root
	page := s.page(s.start(append(serve, s.token()...)...))
	tab := s.browse(page)
	tab.signIn()
	tab.until(has("header", "studio and gdrive") + " && " + has("#state", "Pause transfers"))
	p := s.project("Test")
	fetched := s.publish(p, studio.Publish{Size: 30 << 20, Name: "vdb"})
	broken := s.publish(p, studio.Publish{Size: 100, Name: "abc"})
	s.synced(fetched)
	s.synced(broken)

	// Both are under way at once.
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth, set.DownloadBandwidth = 2<<20, 2<<20 })
	sent := s.publish(p, studio.Publish{Size: 20 << 20, Name: "usd", Sparse: true})
	s.lost(fetched)
	tab.until(has("#state", "Uploading 1 file, downloading 1"))
	row := func(section, direction, rep string) string {
		return `[...document.querySelectorAll("` + section + ` li")].some((e) => e.textContent.includes("` + rep +
			`") && e.querySelector(".way").textContent === "` + direction + `")`
	}
	name := func(rep *studio.Representation) string { return filepath.Base(rep.Files[0].Rel) }
	tab.until(row("#now", "upload", name(sent)) + " && " + row("#now", "download", name(fetched)))
	page.shows(map[string]float64{"sitesync_transfers_running": 1,
		`sitesync_transfers_running{direction="down"}`: 1})
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth, set.DownloadBandwidth = 0, 0 })
	s.synced(sent)
	s.back(fetched)
	tab.until(row("#synced", "upload", name(sent)) + " && " + row("#synced", "download", name(fetched)))
	tab.until(has("#state", "3 uploaded, 1 downloaded") + " && " + has("#hour", "1 downloaded"))
	page.shows(map[string]float64{"sitesync_synced_files_total": 3,
		`sitesync_synced_files_total{direction="down"}`:     1,
		`sitesync_transfer_seconds_count{direction="down"}`: 1,
		`sitesync_reaction_seconds_count{direction="down"}`: 1})

	// A download that fails, and is retried from the page.
	fault := s.drive.AddFault(drive.Fault{Kind: "files.download", Effect: drive.EffectStatus, Status: 403,
		Reason: "cannotDownloadAbusiveFile"})
	s.lost(broken)
	tab.until(row("#failed", "download", name(broken)))
	fault.Remove()
	tab.do(chromedp.Click(chromedp.CSS("#failed button")))
	s.back(broken)
	tab.until(has("#failed", "No file has failed for good"))

	// A pause of one direction is shown as that, and a resume on the page ends it.
	command := func(args ...string) {
		if status, stdout, stderr := s.exits(args...); status != 0 {
			t.Fatalf("%v: status %d\n%s%s", args, status, stdout, stderr)
		}
	}
	command("pause", "--direction", "down", "--why", "the disk is replaced")
	tab.until(has("#state", "Paused in part: no download begins") + " && " + has("#state", "the disk is replaced") +
		" && " + has("#state", "Resume downloads"))
	page.shows(map[string]float64{"sitesync_paused": 0, `sitesync_paused{direction="down"}`: 1})
	s.synced(s.publish(p, studio.Publish{Size: 100, Name: "fbx"}))
	tab.do(chromedp.Click(chromedp.CSS(`button[formaction^="/resume?project="]`)))
	tab.until(has(".flash", "All transfers are resumed") + " && " +
		has("#state", "Everything that was published is synced"))

	// A pause from the page is one of both directions.
	tab.do(chromedp.Click(chromedp.CSS(`button[formaction^="/pause?project="]`)))
	tab.until(has(".flash", "All transfers are paused") + " && " + has("#state", "Paused: no transfer begins") +
		" && " + has("#state", "Downloads paused by the page"))
	page.shows(map[string]float64{"sitesync_paused": 1, `sitesync_paused{direction="down"}`: 1})
	if _, body := page.get("/healthz"); !strings.Contains(body, `"routes":{"down":{"status":"paused"`) {
		t.Errorf("/healthz: %s", body)
	}

	// All of it fits on a phone.
	tab.do(chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile, chromedp.EmulateTouch))
	tab.live()
	tab.until(`document.querySelector("#projects tbody button")`)
	if wide := value[[]int](tab, "[document.documentElement.scrollWidth, innerWidth]"); wide[0] > 320 || wide[1] > 320 {
		t.Errorf("it is %d wide on a phone of 320, which shows %d", wide[0], wide[1])
	}
}
