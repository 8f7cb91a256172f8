package web

import (
	"cmp"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sitesync/uploader"
	"sitesync/watcher"
)

const (
	namespace = "sitesync"
	counter   = prometheus.CounterValue
	gauge     = prometheus.GaugeValue
)

// buckets of durations, in seconds: from the fastest reaction to the upload of a large cache.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// metrics are all that Prometheus scrapes. No label has values that grow with projects, files or hosts.
type metrics struct {
	registry         *prometheus.Registry
	upload, reaction prometheus.Histogram
}

// newMetrics returns the metrics of a remote site, whose name is their label site; of none if it is empty.
func newMetrics(site string, snapshot func() Snapshot) *metrics {
	var labels prometheus.Labels
	if site != "" {
		labels = prometheus.Labels{"site": site}
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help,
			Buckets: buckets, ConstLabels: labels})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		upload: histogram("upload_seconds", "How long uploads of files that were synced took, from opening the "+
			"source until the site had confirmed the checksum."),
		reaction: histogram("reaction_seconds", "Time from when sitesync first saw a file as pending until the "+
			"database said that it is synced. In a backlog that includes the wait for its turn."),
	}
	all := prometheus.CollectorFunc(func(out chan<- prometheus.Metric) { collect(snapshot(), labels, out) })
	m.registry.MustRegister(m.upload, m.reaction, all, buildInfo(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", ConstLabels: labels,
		Help: "Always 1; the labels say which sitesync this is and which Go it was built with."},
		func() float64 { return 1 })
}

// sendMetric sends a metric. Its labels are pairs of a name and a value.
type sendMetric func(kind prometheus.ValueType, name string, value float64, help string, labels ...string)

// metricSender returns what sends metrics that also have constant labels.
func metricSender(out chan<- prometheus.Metric, constant prometheus.Labels) sendMetric {
	return func(kind prometheus.ValueType, name string, value float64, help string, labels ...string) {
		var names, values []string
		for pair := range slices.Chunk(labels, 2) {
			names, values = append(names, pair[0]), append(values, pair[1])
		}
		desc := prometheus.NewDesc(namespace+"_"+name, help, names, constant)
		out <- prometheus.MustNewConstMetric(desc, kind, value, values...)
	}
}

// collect sends the metrics of a snapshot. Those that concern the remote site have its labels.
func collect(s Snapshot, siteLabels prometheus.Labels, out chan<- prometheus.Metric) {
	process, site, u := metricSender(out, nil), metricSender(out, siteLabels), s.Uploader
	process(gauge, "storage_hung_calls", float64(u.StalledCalls),
		"Calls for files of the studio's storage that do not return.")
	process(counter, "stream_opened_total", float64(s.Streams.Opened), "How often the change stream was opened.")
	for reason, n := range s.Streams.Lost {
		process(counter, "stream_lost_total", float64(n),
			"How often the change stream was lost, by reason; it is reopened.", "reason", string(reason))
	}
	for _, state := range []watcher.State{watcher.StreamClosed, watcher.StreamOpen, watcher.StreamUnavailable} {
		process(gauge, "stream_state", oneIf(state == s.Stream), "1 for the state that the change stream is in, 0 for "+
			"the others. Not available: the server is no replica set.",
			"state", strings.ReplaceAll(state.String(), " ", "_"))
	}
	process(counter, "polls_total", float64(s.Polls.Runs), "Polls that have ended, successful or not.")
	process(counter, "poll_failures_total", float64(s.Polls.Failures),
		"Polls that have failed, for one project at least.")
	process(gauge, "poll_last_success_timestamp_seconds", unix(s.Polls.Success), "When the last successful poll "+
		"ended, as Unix time; 0 if none has. A poll with a long backlog takes as long as the backlog.")

	process(counter, "made_accessible_files_total", float64(s.MadeAccessible),
		"Files that got the records of sites of always_accessible_on that they lacked.")

	site(counter, "synced_files_total", float64(u.Synced),
		"Files that were synced: confirmed by the site, and marked in the database.")
	site(counter, "synced_bytes_total", float64(u.SyncedBytes), "Bytes of the files that were synced. Files that the "+
		"site already had count too, though they were not sent.")
	site(counter, "failed_tries_total", float64(u.FailedTries),
		"Tries that failed and were counted in the record of the file.")
	site(counter, "given_up_files_total", float64(u.FailedFiles), "Files that have failed retry_cnt times and are not "+
		"tried again until sitesync retry.")
	site(gauge, "unusable_documents", float64(u.InvalidDocs), "Representations that are skipped as they are not as "+
		"Pype writes them; the log says why.")
	site(gauge, "transfers_running", float64(u.Transfers), "Files that are being uploaded.")
	for lane, n := range map[string]int{"live": s.Queue.Live, "backlog": s.Queue.Backlog} {
		site(gauge, "queue_keys", float64(n), "Representations that wait to be processed: live ones that were just "+
			"published, and the backlog found by the poll.", "lane", lane)
	}
	site(gauge, "queue_delayed_keys", float64(s.Queue.Delayed), "Representations that are processed again later: "+
		"after a failed try, or as a source is not there yet.")
	for _, kind := range uploader.TargetKinds {
		site(gauge, "holds_active", float64(u.Holding[kind]), "What is held now: the site as a whole, one of several "+
			"roots on it, roots of the local storage or project folders below them, files whose roots the settings do "+
			"not know, files larger than the free space, or new files where no more may be created.",
			"kind", string(kind))
		site(counter, "holds_total", float64(u.Holds[kind]),
			"How often uploads were held, by kind; see sitesync_holds_active.", "kind", string(kind))
	}
	for r, n := range s.Site.Requests {
		site(counter, "drive_requests_total", float64(n),
			"Requests to Google Drive and its token service, by kind and by outcome.",
			"kind", r.Kind, "outcome", r.Outcome)
	}
	site(counter, "drive_throttled_total", float64(s.Site.Throttled),
		"Answers of Google Drive that said that requests come too fast.")
	site(gauge, "drive_limit_requests_per_second", cmp.Or(s.Site.Limit, math.Inf(1)), "Requests a second that "+
		"sitesync allows itself after Google Drive has said that they come too fast; +Inf if it has not.")
	site(gauge, "lease_held", oneIf(s.Lease.Held),
		"1 if this sitesync is the active one, 0 if it stands by or is idle.")
	site(gauge, "paused", oneIf(s.Paused.Site), "1 if the whole site is paused, so that no upload begins until it is "+
		"resumed; 0 if not.")
	site(gauge, "paused_projects", float64(len(s.Paused.Projects)),
		"Projects that are paused, not counting a pause of the whole site.")
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
