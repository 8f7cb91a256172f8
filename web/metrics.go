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

// collector collects the metrics of a snapshot. All of a scrape is of one snapshot.
type collector struct {
	snapshot func() Snapshot
	metrics  []metric
}

type metric struct {
	desc    *prometheus.Desc
	kind    prometheus.ValueType
	collect func(s *Snapshot, emit emitter)
}

// emitter takes a sample with the values of its labels.
type emitter func(value float64, labels ...string)

func newCollector(site prometheus.Labels, snapshot func() Snapshot) *collector {
	c := &collector{snapshot: snapshot}
	c.addProcess()
	c.addSite(site)
	return c
}

func (c *collector) add(kind prometheus.ValueType, name, help string, constant prometheus.Labels, labels []string,
	collect func(*Snapshot, emitter)) {
	desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, constant)
	c.metrics = append(c.metrics, metric{desc, kind, collect})
}

// addProcess adds what concerns the process as a whole.
func (c *collector) addProcess() {
	value := func(kind prometheus.ValueType, name, help string, of func(*Snapshot) float64) {
		c.add(kind, name, help, nil, nil, func(s *Snapshot, emit emitter) { emit(of(s)) })
	}
	value(gauge, "storage_hung_calls", "Calls for files of the studio's storage that do not return.",
		func(s *Snapshot) float64 { return float64(s.Uploader.StalledCalls) })
	value(counter, "stream_opened_total", "How often the change stream was opened.",
		func(s *Snapshot) float64 { return float64(s.Streams.Opened) })
	value(counter, "polls_total", "Polls that have ended, successful or not.",
		func(s *Snapshot) float64 { return float64(s.Polls.Runs) })
	value(counter, "poll_failures_total", "Polls that have failed, for one project at least.",
		func(s *Snapshot) float64 { return float64(s.Polls.Failures) })
	value(gauge, "poll_last_success_timestamp_seconds", "When the last successful poll ended, as Unix time; 0 if none "+
		"has. A poll with a long backlog takes as long as the backlog.",
		func(s *Snapshot) float64 { return unix(s.Polls.Success) })
	c.add(gauge, "stream_state", "1 for the state that the change stream is in, 0 for the others. Not available: the "+
		"server is no replica set.", nil, []string{"state"}, func(s *Snapshot, emit emitter) {
		for _, state := range []watcher.State{watcher.StreamClosed, watcher.StreamOpen, watcher.StreamNotHere} {
			emit(oneIf(state == s.Stream), strings.ReplaceAll(state.String(), " ", "_"))
		}
	})
	c.add(counter, "stream_lost_total", "How often the change stream was lost, by reason; it is reopened.",
		nil, []string{"reason"}, func(s *Snapshot, emit emitter) {
			for reason, n := range s.Streams.Lost {
				emit(float64(n), string(reason))
			}
		})
}

// addSite adds what concerns the remote site, with its label.
func (c *collector) addSite(site prometheus.Labels) {
	add := func(kind prometheus.ValueType, name, help string, labels []string, collect func(*Snapshot, emitter)) {
		c.add(kind, name, help, site, labels, collect)
	}
	value := func(kind prometheus.ValueType, name, help string, of func(*Snapshot) float64) {
		add(kind, name, help, nil, func(s *Snapshot, emit emitter) { emit(of(s)) })
	}
	value(counter, "synced_files_total", "Files that were synced: confirmed by the site, and marked in the database.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Synced) })
	value(counter, "synced_bytes_total", "Bytes of the files that were synced. Files that the site already had count "+
		"too, though they were not sent.",
		func(s *Snapshot) float64 { return float64(s.Uploader.SyncedBytes) })
	value(counter, "failed_tries_total", "Tries that failed and were counted in the record of the file.",
		func(s *Snapshot) float64 { return float64(s.Uploader.FailedTries) })
	value(counter, "given_up_files_total", "Files that have failed retry_cnt times and are not tried again until "+
		"sitesync retry.",
		func(s *Snapshot) float64 { return float64(s.Uploader.FailedFiles) })
	value(gauge, "unusable_documents", "Representations that are skipped as they are not as Pype writes them; the log "+
		"says why.",
		func(s *Snapshot) float64 { return float64(s.Uploader.InvalidDocs) })
	value(gauge, "transfers_running", "Files that are being uploaded.",
		func(s *Snapshot) float64 { return float64(s.Uploader.Transfers) })
	value(gauge, "queue_delayed_keys", "Representations that are processed again later: after a failed try, or as a "+
		"source is not there yet.",
		func(s *Snapshot) float64 { return float64(s.Queue.Delayed) })
	value(counter, "drive_throttled_total", "Answers of Google Drive that said that requests come too fast.",
		func(s *Snapshot) float64 { return float64(s.Site.Throttled) })
	value(gauge, "drive_limit_requests_per_second", "Requests a second that sitesync allows itself after Google Drive "+
		"has said that they come too fast; +Inf if it has not.",
		func(s *Snapshot) float64 { return cmp.Or(s.Site.Limit, math.Inf(1)) })
	value(gauge, "lease_held", "1 if this sitesync is the active one, 0 if it stands by or is idle.",
		func(s *Snapshot) float64 { return oneIf(s.Lease.Held) })
	value(gauge, "paused", "1 if the whole site is paused, so that no upload begins until it is resumed; 0 if not.",
		func(s *Snapshot) float64 { return oneIf(s.Paused.Site) })
	value(gauge, "paused_projects", "Projects that are paused, not counting a pause of the whole site.",
		func(s *Snapshot) float64 { return float64(len(s.Paused.Projects)) })

	add(gauge, "queue_keys", "Representations that wait to be processed: live ones that were just published, and the "+
		"backlog found by the poll.", []string{"lane"}, func(s *Snapshot, emit emitter) {
		emit(float64(s.Queue.Live), "live")
		emit(float64(s.Queue.Backlog), "backlog")
	})
	holds := func(of func(*Snapshot) uploader.Holds) func(*Snapshot, emitter) {
		return func(s *Snapshot, emit emitter) {
			for _, kind := range uploader.TargetKinds {
				emit(float64(of(s)[kind]), string(kind))
			}
		}
	}
	add(gauge, "holds_active", "What is held now: the site as a whole, one of several roots on it, roots of the local "+
		"storage or project folders below them, files whose roots the settings do not know, files larger than the "+
		"free space, or new files where no more may be created.",
		[]string{"kind"}, holds(func(s *Snapshot) uploader.Holds { return s.Uploader.Holding }))
	add(counter, "holds_total", "How often uploads were held, by kind; see sitesync_holds_active.",
		[]string{"kind"}, holds(func(s *Snapshot) uploader.Holds { return s.Uploader.Holds }))
	add(counter, "drive_requests_total", "Requests to Google Drive and its token service, by kind and by outcome.",
		[]string{"kind", "outcome"}, func(s *Snapshot, emit emitter) {
			for r, n := range s.Site.Requests {
				emit(float64(n), r.Kind, r.Outcome)
			}
		})
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
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.snapshot()
	for _, m := range c.metrics {
		m.collect(&s, func(v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
}
