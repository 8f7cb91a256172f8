package web

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full has another number in each place of a route. The routes share one pacer.
var full = Snapshot{MadeAccessible: 34, Routes: []Route{{
	Direction: config.Up,
	Lease:     state.LeaseState{Held: true},
	Stream:    watcher.StreamOpen,
	Streams:   watcher.StreamCounts{Opened: 1, Lost: map[avalon.Reason]int64{"primary changed": 2, "history lost": 3}},
	Polling:   true,
	Polls:     watcher.PollCounts{Runs: 4, Failures: 5, Success: time.UnixMilli(1_764_000_000_250)},
	Queue:     Queue{Live: 6, Backlog: 7, Delayed: 8},
	Uploader: uploader.Stats{
		Synced: 9, SyncedBytes: 10, FailedTries: 11, FailedFiles: 12, InvalidDocs: 13, Transfers: 14,
		Holding: uploader.Holds{uploader.SiteTarget: 15, uploader.LocalRoot: 16, uploader.Settings: 17},
		Holds: uploader.Holds{uploader.SiteTarget: 18, uploader.LocalRoot: 19, uploader.Settings: 20,
			uploader.RemoteRoot: 26, uploader.ProjectFolder: 27, uploader.LargeFiles: 28, uploader.NewFiles: 29},
	},
	Paused: uploader.Paused{Site: true, Projects: map[string]bool{"A": true, "B": true}},
	Site: site.Stats{
		Requests: map[site.Request]int64{
			{Kind: "files.list", Outcome: "ok"}:        21,
			{Kind: "upload.put", Outcome: "no_answer"}: 22,
		},
		Throttled: 23,
		Limit:     24.5,
	},
}, {
	Direction: config.Down,
	Uploader:  uploader.Stats{Synced: 30, SyncedBytes: 31, Holding: uploader.Holds{uploader.LocalRoot: 32}},
	Site: site.Stats{
		Requests:  map[site.Request]int64{{Kind: "files.get", Outcome: "ok"}: 33},
		Throttled: 23,
		Limit:     24.5,
	},
}}}

// scrape returns the metrics of our own, but for what says which build it is.
func scrape(t *testing.T, s *Server) string {
	t.Helper()
	answer := httptest.NewRecorder()
	s.handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	var out strings.Builder
	for line := range strings.Lines(answer.Body.String()) {
		if strings.Contains(line, "sitesync_") && !strings.Contains(line, "_build_info{") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestMetrics(t *testing.T) {
	s := New(Options{Snapshot: always(full), Ping: well, About: About{RemoteSite: "gdrive", Directions: upDown}})
	s.Synced(uploader.SyncedFile{Direction: config.Up, Took: 3 * time.Millisecond, Reaction: 20 * time.Millisecond})
	s.Synced(uploader.SyncedFile{Direction: config.Up, Took: time.Second, Reaction: 2 * time.Hour})
	s.Synced(uploader.SyncedFile{Direction: config.Down, Took: time.Minute, Reaction: time.Hour})
	got := scrape(t, s)
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("metrics (-want +got; go test -update writes them again):\n%s", diff)
	}
}

// What has no number yet is scraped all the same, so that a rate from the start on is right.
func TestMetricsAtTheStart(t *testing.T) {
	got := scrape(t, New(Options{Snapshot: always(started), Ping: well, About: About{Directions: up}}))
	for _, want := range []string{
		`sitesync_synced_files_total{direction="up"} 0`, `sitesync_lease_held{direction="up"} 0`,
		`sitesync_holds_total{direction="up",kind="site"} 0`,
		`sitesync_queue_keys{direction="up",lane="live"} 0`,
		`sitesync_stream_state{direction="up",state="closed"} 1`,
		`sitesync_stream_state{direction="up",state="open"} 0`,
		`sitesync_poll_last_success_timestamp_seconds{direction="up"} 0`,
		"sitesync_drive_limit_requests_per_second +Inf", `sitesync_reaction_seconds_count{direction="up"} 0`,
		`sitesync_transfer_seconds_count{direction="up"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s in\n%s", want, got)
		}
	}
}

// An idle sitesync holds no lease, which the alerts look for.
func TestMetricsOfAnIdleOne(t *testing.T) {
	got := scrape(t, New(Options{Snapshot: always(Snapshot{Idle: true}), Ping: well}))
	if want := "sitesync_lease_held 0"; !strings.Contains(got, want+"\n") {
		t.Errorf("no line %s in\n%s", want, got)
	}
}

// The registry has all that dashboards expect, and Prometheus's linter finds nothing in it.
func TestMetricsLint(t *testing.T) {
	s := New(Options{Snapshot: always(full), Ping: well, About: About{RemoteSite: "gdrive", Directions: upDown}})
	problems, err := testutil.GatherAndLint(s.metrics.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, name := range []string{"sitesync_build_info", "go_goroutines", "process_start_time_seconds"} {
		if n, err := testutil.GatherAndCount(s.metrics.registry, name); err != nil || n != 1 {
			t.Errorf("%s is there %d times, %v", name, n, err)
		}
	}
}

// One state is 1 and the others are 0.
func TestStreamStates(t *testing.T) {
	states := map[watcher.State]string{
		watcher.StreamClosed:      "closed",
		watcher.StreamOpen:        "open",
		watcher.StreamUnavailable: "not_available",
	}
	for state := range states {
		got := scrape(t, New(Options{Snapshot: always(routes(Route{Direction: config.Up, Stream: state})), Ping: well}))
		for other, name := range states {
			want := fmt.Sprintf(`sitesync_stream_state{direction="up",state="%s"} %v`, name, oneIf(other == state))
			if !strings.Contains(got, want+"\n") {
				t.Errorf("%s: no line %s in\n%s", state, want, got)
			}
		}
	}
}
