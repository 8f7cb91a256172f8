package command

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/config"
)

// The check says who brings files to the sites that all are wanted on, and finds names that are mistyped.
func TestCheckAccessible(t *testing.T) {
	const record = "always_accessible_on: every published file gets a record of site "
	for _, test := range []struct {
		site      string
		direction config.Direction
		root      string
		want      string
	}{
		{"studio", config.Both, "/mnt", "ok    " + record + `"studio", and is brought there`},
		{"gdrive", config.Up, "", "ok    " + record + `"gdrive", and is brought there`},
		{"studio", config.Both, "", "warn  " + record + `"studio", but this sitesync brings none there; for ` +
			"downloads it needs local_root, and --direction must not exclude them"},
		{"backup", config.Both, "/mnt", "warn  " + record + `"backup"; another sitesync must bring the files there`},
		{"nas", config.Both, "/mnt", "warn  " + record + `"nas", which no setting here names: look ` +
			`whether it is spelled right. Another sitesync must bring the files there`},
		{"studoi", config.Both, "/mnt", "warn  " + record + `"studoi", which no setting here names; did you mean ` +
			`"studio"? If not, another sitesync must bring the files there`},
	} {
		cfg := &config.Config{ActiveSite: "studio", RemoteSite: "gdrive", Direction: test.direction,
			AlwaysAccessibleOn: []string{test.site}, Sites: map[string]config.Site{"gdrive": {}, "backup": {}}}
		if test.root != "" {
			cfg.LocalRoot = config.Roots{"": test.root}
		}
		var out bytes.Buffer
		checkAccessible(&checkPrinter{out: &out}, cfg)
		if diff := cmp.Diff(test.want+"\n", out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
