package web

import (
	"cmp"
	"math"
	"runtime/debug"
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
	m.registry.MustRegister(m.upload, m.reaction, newCollector(labels, snapshot), buildInfo(),
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

// definition is a metric without its value.
type definition struct {
	kind   prometheus.ValueType
	name   string
	help   string
	labels []string
}

// processMetrics concern the process as a whole.
var processMetrics = []definition{
	{gauge, "storage_hung_calls", "Calls for files of the studio's storage that do not return.", nil},
	{counter, "stream_opened_total", "How often the change stream was opened.", nil},
	{counter, "stream_lost_total", "How often the change stream was lost, by reason; it is reopened.",
		[]string{"reason"}},
	{gauge, "stream_state", "1 for the state that the change stream is in, 0 for the others. Not available: the " +
		"server is no replica set.", []string{"state"}},
	{counter, "polls_total", "Polls that have ended, successful or not.", nil},
	{counter, "poll_failures_total", "Polls that have failed, for one project at least.", nil},
	{gauge, "poll_last_success_timestamp_seconds", "When the last successful poll ended, as Unix time; 0 if none " +
		"has. A poll with a long backlog takes as long as the backlog.", nil},
}

// siteMetrics concern the remote site, whose label they have.
var siteMetrics = []definition{
	{counter, "synced_files_total", "Files that were synced: confirmed by the site, and marked in the database.", nil},
	{counter, "synced_bytes_total", "Bytes of the files that were synced. Files that the site already had count too, " +
		"though they were not sent.", nil},
	{counter, "failed_tries_total", "Tries that failed and were counted in the record of the file.", nil},
	{counter, "given_up_files_total", "Files that have failed retry_cnt times and are not tried again until sitesync " +
		"retry.", nil},
	{gauge, "unusable_documents", "Representations that are skipped as they are not as Pype writes them; the log " +
		"says why.", nil},
	{gauge, "transfers_running", "Files that are being uploaded.", nil},
	{gauge, "queue_keys", "Representations that wait to be processed: live ones that were just published, and the " +
		"backlog found by the poll.", []string{"lane"}},
	{gauge, "queue_delayed_keys", "Representations that are processed again later: after a failed try, or as a " +
		"source is not there yet.", nil},
	{gauge, "holds_active", "What is held now: the site as a whole, one of several roots on it, roots of the local " +
		"storage or project folders below them, files whose roots the settings do not know, files larger than the " +
		"free space, or new files where no more may be created.", []string{"kind"}},
	{counter, "holds_total", "How often uploads were held, by kind; see sitesync_holds_active.", []string{"kind"}},
	{counter, "drive_requests_total", "Requests to Google Drive and its token service, by kind and by outcome.",
		[]string{"kind", "outcome"}},
	{counter, "drive_throttled_total", "Answers of Google Drive that said that requests come too fast.", nil},
	{gauge, "drive_limit_requests_per_second", "Requests a second that sitesync allows itself after Google Drive has " +
		"said that they come too fast; +Inf if it has not.", nil},
	{gauge, "lease_held", "1 if this sitesync is the active one, 0 if it stands by or is idle.", nil},
	{gauge, "paused", "1 if the whole site is paused, so that no upload begins until it is resumed; 0 if not.", nil},
	{gauge, "paused_projects", "Projects that are paused, not counting a pause of the whole site.", nil},
}

// collector collects the metrics of a snapshot. All of a scrape is of one snapshot.
type collector struct {
	snapshot func() Snapshot
	metrics  map[string]metric // by name
}

type metric struct {
	kind prometheus.ValueType
	desc *prometheus.Desc
}

func newCollector(site prometheus.Labels, snapshot func() Snapshot) *collector {
	c := &collector{snapshot, map[string]metric{}}
	add := func(definitions []definition, constant prometheus.Labels) {
		for _, d := range definitions {
			desc := prometheus.NewDesc(namespace+"_"+d.name, d.help, d.labels, constant)
			c.metrics[d.name] = metric{d.kind, desc}
		}
	}
	add(processMetrics, nil)
	add(siteMetrics, site)
	return c
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.snapshot()
	set := func(name string, value float64, labels ...string) {
		m := c.metrics[name]
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	}
	u := s.Uploader
	set("storage_hung_calls", float64(u.StalledCalls))
	set("stream_opened_total", float64(s.Streams.Opened))
	for reason, n := range s.Streams.Lost {
		set("stream_lost_total", float64(n), string(reason))
	}
	for _, state := range []watcher.State{watcher.StreamClosed, watcher.StreamOpen, watcher.StreamUnavailable} {
		set("stream_state", oneIf(state == s.Stream), strings.ReplaceAll(state.String(), " ", "_"))
	}
	set("polls_total", float64(s.Polls.Runs))
	set("poll_failures_total", float64(s.Polls.Failures))
	set("poll_last_success_timestamp_seconds", unix(s.Polls.Success))

	set("synced_files_total", float64(u.Synced))
	set("synced_bytes_total", float64(u.SyncedBytes))
	set("failed_tries_total", float64(u.FailedTries))
	set("given_up_files_total", float64(u.FailedFiles))
	set("unusable_documents", float64(u.InvalidDocs))
	set("transfers_running", float64(u.Transfers))
	set("queue_keys", float64(s.Queue.Live), "live")
	set("queue_keys", float64(s.Queue.Backlog), "backlog")
	set("queue_delayed_keys", float64(s.Queue.Delayed))
	for _, kind := range uploader.TargetKinds {
		set("holds_active", float64(u.Holding[kind]), string(kind))
		set("holds_total", float64(u.Holds[kind]), string(kind))
	}
	for r, n := range s.Site.Requests {
		set("drive_requests_total", float64(n), r.Kind, r.Outcome)
	}
	set("drive_throttled_total", float64(s.Site.Throttled))
	set("drive_limit_requests_per_second", cmp.Or(s.Site.Limit, math.Inf(1)))
	set("lease_held", oneIf(s.Lease.Held))
	set("paused", oneIf(s.Paused.Site))
	set("paused_projects", float64(len(s.Paused.Projects)))
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
