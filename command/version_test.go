package command

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersion(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"},
		{Key: "vcs.time", Value: "2026-11-24T04:11:44Z"}, {Key: "vcs.modified", Value: "true"}}
	for name, test := range map[string]struct {
		info       debug.BuildInfo
		text, json string
	}{
		"a release": {debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}},
			"sitesync v1.2.3, go1.26.0, " + platform,
			`{"version":"v1.2.3","changed":false,"go":"go1.26.0","platform":"` + platform + `"}`},
		"a clone": {debug.BuildInfo{GoVersion: "go1.26.0", Settings: vcs},
			"sitesync (devel), commit 0123456789ab of 2026-11-24 (changed), go1.26.0, " + platform,
			`{"version":"(devel)","revision":"0123456789abcdef0123","time":"2026-11-24T04:11:44Z",` +
				`"changed":true,"go":"go1.26.0","platform":"` + platform + `"}`},
	} {
		got := buildOf(&test.info)
		if diff := cmp.Diff(test.text, got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		out, err := json.Marshal(got)
		if diff := cmp.Diff(test.json, string(out)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
