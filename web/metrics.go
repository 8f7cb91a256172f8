package web

import (
	"cmp"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sitesync/watcher"
)

const namespace = "sitesync"

// buckets are of times, in seconds: from the fastest reaction to the upload of a large cache.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// metrics are all that Prometheus is told. No label has values that grow with projects, files or hosts.
type metrics struct {
	registry         *prometheus.Registry
	upload, reaction prometheus.Histogram
}

func newMetrics(snapshot func() Snapshot) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		upload: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "upload_seconds", Buckets: buckets,
			Help: "How long uploads of files that were synced took, from opening the source until Google Drive had confirmed the MD5."}),
		reaction: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "reaction_seconds", Buckets: buckets,
			Help: "How long it took from when sitesync heard of a file until the database said that it is synced. In a backlog that includes the wait for its turn."}),
	}
	m.registry.MustRegister(m.upload, m.reaction, newNumbers(snapshot), buildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// buildInfo is the metric that says what runs.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown", "go_version": "unknown"}
	if b, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["go_version"] = cmp.Or(b.Main.Version, "unknown"), b.GoVersion
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				labels["revision"] = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", ConstLabels: labels,
		Help: "Always 1; the labels say which sitesync this is and which Go it was built with."})
	g.Set(1)
	return g
}

// numbers collects what a snapshot has. All of a scrape is of one snapshot.
type numbers struct {
	snapshot func() Snapshot
	plain    []plain
	holds, held, queue, streamState, streamLost,
	requests *prometheus.Desc
}

// plain is a number without labels.
type plain struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*Snapshot) float64
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func newNumbers(snapshot func() Snapshot) *numbers {
	n := &numbers{
		snapshot: snapshot,
		holds: desc("holds_active", "What is held now: the site as a whole, one of several roots on it, roots of the local storage or project folders below them, files whose roots the settings do not know, files larger than the room that is left, or new files where no more may be created.",
			"kind"),
		held:        desc("holds_total", "How often uploads were held up, by kind; see sitesync_holds_active.", "kind"),
		queue:       desc("queue_keys", "Representations that wait to be looked at: live ones that were just published, and the backlog found by the poll.", "lane"),
		streamState: desc("stream_state", "1 for the state that the change stream is in, 0 for the others. Not available: the server is no replica set.", "state"),
		streamLost:  desc("stream_lost_total", "How often the change stream was lost, by reason. It is opened again by itself.", "reason"),
		requests:    desc("drive_requests_total", "Requests to Google Drive and its token service, by kind and by how they were answered.", "kind", "outcome"),
	}
	add := func(kind prometheus.ValueType, name, help string, of func(*Snapshot) float64) {
		n.plain = append(n.plain, plain{desc(name, help), kind, of})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue

	add(counter, "synced_files_total", "Files that were synced: confirmed by Google Drive, and marked in the database.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Files) })
	add(counter, "synced_bytes_total", "Bytes of the files that were synced. What was there already counts too, though it was not sent.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Bytes) })
	add(counter, "failed_tries_total", "Tries that failed and were counted in the record of the file.",
		func(s *Snapshot) float64 { return float64(s.Uploader.FailedTries) })
	add(counter, "given_up_files_total", "Files that have failed retry_cnt times and are left alone until sitesync retry.",
		func(s *Snapshot) float64 { return float64(s.Uploader.GivenUp) })
	add(gauge, "unusable_documents", "Representations that can't be worked with as they are not as Pype writes them; the log says why.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Documents) })
	add(gauge, "transfers_running", "Files that are being uploaded.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Transfers) })
	add(gauge, "storage_hung_calls", "Calls for files of the studio's storage that have not returned; they were given up.",
		func(s *Snapshot) float64 { return float64(s.Uploader.HungCalls) })
	add(gauge, "queue_delayed_keys", "Representations that are looked at again at a later time: after a failed try, or as a source is not there yet.",
		func(s *Snapshot) float64 { return float64(s.Queue.Delayed) })
	add(counter, "stream_opened_total", "How often the change stream was opened.",
		func(s *Snapshot) float64 { return float64(s.Streams.Opened) })
	add(counter, "polls_total", "Polls that have ended, well or not.",
		func(s *Snapshot) float64 { return float64(s.Polls.Runs) })
	add(counter, "poll_failures_total", "Polls that have failed, for one project at least.",
		func(s *Snapshot) float64 { return float64(s.Polls.Failures) })
	add(gauge, "poll_last_success_timestamp_seconds", "When the last good poll ended, as Unix time; 0 if none has. A poll with a long backlog takes as long as the backlog.",
		func(s *Snapshot) float64 { return unix(s.Polls.Success) })
	add(counter, "drive_throttled_total", "Answers of Google Drive that said that we are too fast.",
		func(s *Snapshot) float64 { return float64(s.Site.Throttled) })
	add(gauge, "drive_limit_requests_per_second", "Requests a second that sitesync allows itself, now that Google Drive has said that it is too fast; +Inf if it has not.",
		func(s *Snapshot) float64 { return cmp.Or(s.Site.Limit, math.Inf(1)) })
	add(gauge, "lease_held", "1 if this sitesync does the work, 0 if it is a standby of another one, or idle.",
		func(s *Snapshot) float64 { return oneIf(s.Lease.Held) })
	add(gauge, "paused", "1 if somebody has paused the site, so that no upload begins until it is resumed; 0 if not.",
		func(s *Snapshot) float64 { return oneIf(s.Paused.Site) })
	add(gauge, "paused_projects", "Projects that somebody has paused, not counting a pause of the whole site.",
		func(s *Snapshot) float64 { return float64(len(s.Paused.Projects)) })
	return n
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Describe is part of prometheus.Collector.
func (n *numbers) Describe(out chan<- *prometheus.Desc) {
	for _, p := range n.plain {
		out <- p.desc
	}
	for _, d := range []*prometheus.Desc{n.holds, n.held, n.queue, n.streamState, n.streamLost, n.requests} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (n *numbers) Collect(out chan<- prometheus.Metric) {
	s := n.snapshot()
	for _, p := range n.plain {
		out <- prometheus.MustNewConstMetric(p.desc, p.kind, p.of(&s))
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, h := range []struct {
		kind     string
		now, all int64
	}{
		{"site", s.Uploader.Holding.Site, s.Uploader.Holds.Site},
		{"remote_root", s.Uploader.Holding.RemoteRoots, s.Uploader.Holds.RemoteRoots},
		{"local_root", s.Uploader.Holding.LocalRoots, s.Uploader.Holds.LocalRoots},
		{"project_folder", s.Uploader.Holding.ProjectFolders, s.Uploader.Holds.ProjectFolders},
		{"settings", s.Uploader.Holding.Settings, s.Uploader.Holds.Settings},
		{"large_files", s.Uploader.Holding.LargeFiles, s.Uploader.Holds.LargeFiles},
		{"new_files", s.Uploader.Holding.NewFiles, s.Uploader.Holds.NewFiles},
	} {
		gauge(n.holds, float64(h.now), h.kind)
		counter(n.held, h.all, h.kind)
	}
	gauge(n.queue, float64(s.Queue.Live), "live")
	gauge(n.queue, float64(s.Queue.Backlog), "backlog")
	for _, state := range []watcher.State{watcher.StreamClosed, watcher.StreamOpen, watcher.StreamNotHere} {
		gauge(n.streamState, oneIf(state == s.Stream), strings.ReplaceAll(state.String(), " ", "_"))
	}
	for reason, count := range s.Streams.Lost {
		counter(n.streamLost, count, string(reason))
	}
	for r, count := range s.Site.Requests {
		counter(n.requests, count, r.Kind, r.Outcome)
	}
}
