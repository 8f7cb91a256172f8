package web

import (
	"cmp"
	"maps"
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
	registry           *prometheus.Registry
	transfer, reaction *prometheus.HistogramVec // by direction
}

// newMetrics returns the metrics. Those of a route have its remote site and its direction as labels.
func newMetrics(about About, snapshot func() Snapshot) *metrics {
	var labels prometheus.Labels
	if about.RemoteSite != "" {
		labels = prometheus.Labels{"site": about.RemoteSite}
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help,
			Buckets: buckets, ConstLabels: labels}, []string{"direction"})
		for _, d := range about.Directions {
			h.WithLabelValues(string(d)) // scraped before the first file, so that a rate from the start on is right
		}
		return h
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		transfer: histogram("transfer_seconds", "How long transfers of files that were synced took, from opening the "+
			"source until the target had confirmed the checksum."),
		reaction: histogram("reaction_seconds", "Time from when sitesync first saw a file as pending until the "+
			"database said that it is synced. In a backlog that includes the wait for its turn."),
	}
	all := prometheus.CollectorFunc(func(out chan<- prometheus.Metric) { collect(snapshot(), labels, out) })
	m.registry.MustRegister(m.transfer, m.reaction, all, buildInfo(), collectors.NewGoCollector(),
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

// collect sends the metrics of a snapshot. An idle sitesync has those of a route at rest, which holds no lease.
func collect(s Snapshot, siteLabels prometheus.Labels, out chan<- prometheus.Metric) {
	routes := s.Routes
	if len(routes) == 0 {
		routes = []Route{{}}
	}
	limit, throttled := math.Inf(1), int64(0)
	for _, r := range routes {
		labels := prometheus.Labels{}
		maps.Copy(labels, siteLabels)
		if r.Direction != "" {
			labels["direction"] = string(r.Direction)
		}
		collectRoute(r, metricSender(out, labels))
		limit, throttled = min(limit, cmp.Or(r.Site.Limit, limit)), max(throttled, r.Site.Throttled)
	}
	metricSender(out, nil)(counter, "made_accessible_files_total", float64(s.MadeAccessible),
		"Files that got the records of sites of always_accessible_on that they lacked.")
	// Drive's limits are those of the account: the routes count and keep them together.
	send := metricSender(out, siteLabels)
	send(counter, "drive_throttled_total", float64(throttled),
		"Answers of Google Drive that said that requests come too fast.")
	send(gauge, "drive_limit_requests_per_second", limit, "Requests a second that sitesync allows itself after "+
		"Google Drive has said that they come too fast; +Inf if it has not.")
}

// collectRoute sends the metrics of a route.
func collectRoute(r Route, send sendMetric) {
	u := r.Uploader
	send(gauge, "storage_hung_calls", float64(u.StalledCalls),
		"Calls of the file system, for files of the storage of this machine, that do not return.")
	send(counter, "stream_opened_total", float64(r.Streams.Opened), "How often the change stream was opened.")
	for reason, n := range r.Streams.Lost {
		send(counter, "stream_lost_total", float64(n),
			"How often the change stream was lost, by reason; it is reopened.", "reason", string(reason))
	}
	for _, state := range []watcher.State{watcher.StreamClosed, watcher.StreamOpen, watcher.StreamUnavailable} {
		send(gauge, "stream_state", oneIf(state == r.Stream), "1 for the state that the change stream is in, 0 for "+
			"the others. Not available: the server is no replica set.",
			"state", strings.ReplaceAll(state.String(), " ", "_"))
	}
	send(counter, "polls_total", float64(r.Polls.Runs), "Polls that have ended, successful or not.")
	send(counter, "poll_failures_total", float64(r.Polls.Failures),
		"Polls that have failed, for one project at least.")
	send(gauge, "poll_last_success_timestamp_seconds", unix(r.Polls.Success), "When the last successful poll "+
		"ended, as Unix time; 0 if none has. A poll with a long backlog takes as long as the backlog.")

	send(counter, "synced_files_total", float64(u.Synced),
		"Files that were synced: confirmed by the site, and marked in the database.")
	send(counter, "synced_bytes_total", float64(u.SyncedBytes), "Bytes of the files that were synced. Files that the "+
		"site already had count too, though they were not transferred.")
	send(counter, "failed_tries_total", float64(u.FailedTries),
		"Tries that failed and were counted in the record of the file.")
	send(counter, "given_up_files_total", float64(u.FailedFiles), "Files that have failed retry_cnt times and are not "+
		"tried again until sitesync retry.")
	send(gauge, "unusable_documents", float64(u.InvalidDocs), "Representations that are skipped as they are not as "+
		"Pype writes them; the log says why.")
	send(gauge, "transfers_running", float64(u.Transfers), "Files that are being transferred.")
	for lane, n := range map[string]int{"live": r.Queue.Live, "backlog": r.Queue.Backlog} {
		send(gauge, "queue_keys", float64(n), "Representations that wait to be processed: live ones that were just "+
			"published, and the backlog found by the poll.", "lane", lane)
	}
	send(gauge, "queue_delayed_keys", float64(r.Queue.Delayed), "Representations that are processed again later: "+
		"after a failed try, or as a source is not there yet.")
	for _, kind := range uploader.TargetKinds {
		send(gauge, "holds_active", float64(u.Holding[kind]), "What is held now: the site as a whole, one of several "+
			"roots on it, roots of the local storage or project folders below them, files whose roots the settings do "+
			"not know, files larger than the free space, or new files where no more may be created.",
			"kind", string(kind))
		send(counter, "holds_total", float64(u.Holds[kind]),
			"How often transfers were held, by kind; see sitesync_holds_active.", "kind", string(kind))
	}
	for request, n := range r.Site.Requests {
		send(counter, "drive_requests_total", float64(n),
			"Requests to Google Drive and its token service, by kind and by outcome.",
			"kind", request.Kind, "outcome", request.Outcome)
	}
	send(gauge, "lease_held", oneIf(r.Lease.Held),
		"1 if this sitesync is the active one of the route, 0 if it stands by or is idle.")
	send(gauge, "paused", oneIf(r.Paused.Site),
		"1 if the whole route is paused, so that no transfer begins until it is "+
			"resumed; 0 if not.")
	send(gauge, "paused_projects", float64(len(r.Paused.Projects)),
		"Projects that are paused, not counting a pause of the whole route.")
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
