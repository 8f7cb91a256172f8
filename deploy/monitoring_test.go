package deploy_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
)

// metrics are the labels and their values of each metric that there is.
type metrics map[string]map[string][]string

// served are the metrics that sitesync serves, as the test of package web compares them, and those that every
// process and target has.
func served(t *testing.T) metrics {
	t.Helper()
	m := metrics{
		"up":                            {},
		"ALERTS":                        {"alertname": nil, "alertstate": nil},
		"process_resident_memory_bytes": {},
		"process_cpu_seconds_total":     {},
		"sitesync_build_info":           {"version": nil, "revision": nil, "go_version": nil},
	}
	sample := regexp.MustCompile(`^(sitesync_\w+)(?:\{(.*)\})? `)
	for line := range strings.Lines(read(t, "../web/testdata/metrics.golden")) {
		found := sample.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		if m[found[1]] == nil {
			m[found[1]] = map[string][]string{}
		}
		for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(found[2], -1) {
			m[found[1]][l[1]] = append(m[found[1]][l[1]], l[2])
		}
	}
	if len(m) < 20 {
		t.Fatalf("only %d metrics are served", len(m))
	}
	return m
}

// check parses an expression and looks for the metrics, labels and values that it names.
func (m metrics) check(t *testing.T, where, expr string) {
	t.Helper()
	// Grafana puts these in.
	parsed, err := metricsql.Parse(
		strings.NewReplacer("$__rate_interval", "5m", "$job", "sitesync", "$site", ".*",
			"$direction", ".*").Replace(expr),
	)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expr, err)
		return
	}
	labels := []string{"job", "instance"}
	var grouped []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				name := filters[0].Value
				known, ok := m[name]
				if filters[0].Label != "__name__" || !ok {
					t.Errorf("%s: there is no metric %s", where, name)
					continue
				}
				for label := range known {
					labels = append(labels, label)
				}
				for _, f := range filters[1:] {
					if f.Label == "job" {
						continue
					}
					values, ok := known[f.Label]
					chosen := f.IsRegexp && (f.Label == "site" || f.Label == "direction") // by a variable
					if !ok || !chosen && !slices.Contains(values, f.Value) {
						t.Errorf("%s: %s has no label %s=%q", where, name, f.Label, f.Value)
					}
				}
			}
		case *metricsql.AggrFuncExpr:
			grouped = append(grouped, e.Modifier.Args...)
		case *metricsql.BinaryOpExpr:
			grouped = append(grouped, e.GroupModifier.Args...)
		}
	})
	for _, label := range grouped {
		if !slices.Contains(labels, label) {
			t.Errorf("%s: no metric in it has the label %s", where, label)
		}
	}
}

// The alert rules name only what there is. What they fire on is tested by promtool, see alerts_test.yaml.
func TestAlerts(t *testing.T) {
	m := served(t)
	var rules struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	decode(t, "prometheus/alerts.yaml", &rules)
	page, tests, seen := read(t, "README.md"), read(t, "prometheus/alerts_test.yaml"), map[string]bool{}
	for _, r := range rules.Groups[0].Rules {
		m.check(t, r.Alert, r.Expr)
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Sitesync") {
			t.Errorf("%s is no name, or there twice", r.Alert)
		}
		seen[r.Alert] = true
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			!slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s has no summary, description or severity", r.Alert)
		}
		if !strings.Contains(page, "`"+r.Alert+"`") {
			t.Errorf("README.md does not name %s", r.Alert)
		}
		if !strings.Contains(tests, `{alertname="`+r.Alert+`"}`) {
			t.Errorf("alerts_test.yaml does not test %s", r.Alert)
		}
	}
	if len(seen) < 8 {
		t.Errorf("there are only the alerts %v", seen)
	}
}

// The dashboard names only what there is, and its panels do not overlap.
func TestDashboard(t *testing.T) {
	m := served(t)
	var d struct {
		UID, Title    string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	text := read(t, "grafana/sitesync.json")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if of := regexp.MustCompile(`^label_values\((\w+)(?:\{.*\})?, ` +
			`(?:job|site|direction)\)$`).FindStringSubmatch(v.Definition); v.Definition != "" &&
			(of == nil || m[of[1]] == nil) {
			t.Errorf("variable %s is %s", v.Name, v.Definition)
		}
	}
	for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(used[1], "__") && !slices.Contains(variables, used[1]) {
			t.Errorf("there is no variable %s", used[1])
		}
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			m.check(t, p.Title, target.Expr)
		}
		if (p.Type != "row") != (len(p.Targets) > 0) || ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s shows nothing, has the id of another panel, or is too wide", p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok {
					t.Fatalf("%s and %s overlap", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
	if len(d.Panels) < 20 || d.UID == "" || d.SchemaVersion == 0 {
		t.Errorf("there are %d panels", len(d.Panels))
	}
}
