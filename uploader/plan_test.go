package uploader

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
)

var rules = avalon.Rules{Route: avalon.Route{From: "studio", To: "gdrive"}, RetryCount: 3,
	Backoff: avalon.ExponentialBackoff(10*time.Second, time.Hour)}

func TestPlanOfSeveralFiles(t *testing.T) {
	now := time.Now()
	sites := func(remote avalon.SiteRecord) []avalon.SiteRecord {
		remote.Name = "gdrive"
		return []avalon.SiteRecord{{Name: "studio", Created: true}, remote}
	}
	got := newPlan(rules, &avalon.Representation{Files: []avalon.File{
		{Path: "{root}/due", Sites: sites(avalon.SiteRecord{})},
		{Path: "{root}/synced", Sites: sites(avalon.SiteRecord{Created: true})},
		{Path: "{root}/later", Sites: sites(avalon.SiteRecord{Tries: 2, LastFailed: now})},
		{Path: "{root}/sooner", Sites: sites(avalon.SiteRecord{Tries: 1, LastFailed: now})},
		{Path: "{root}/due", Sites: sites(avalon.SiteRecord{})}, // the same once more
		{Path: "", Sites: sites(avalon.SiteRecord{}), Problem: "its path is missing"},
		{Path: "{root}/bad record", Sites: sites(avalon.SiteRecord{Problem: "its tries can't be read"})},
		{Path: "", Sites: sites(avalon.SiteRecord{Created: true}), Problem: "nobody needs to care"},
		{Path: "{root}/also due", Sites: sites(avalon.SiteRecord{})},
	}}, now)
	var due []string
	for _, f := range got.due {
		due = append(due, f.Path)
	}
	if diff := cmp.Diff([]string{"{root}/due", "{root}/also due"}, due); diff != "" {
		t.Errorf("due, -want +got:\n%s", diff)
	}
	if got.next != 10*time.Second {
		t.Errorf("next look in %s", got.next)
	}
	if diff := cmp.Diff("files[5]: its path is missing; files[6]: its tries can't be read",
		strings.Join(got.problems, "; ")); diff != "" {
		t.Errorf("problems, -want +got:\n%s", diff)
	}
}
