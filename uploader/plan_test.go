package uploader

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
)

func TestPlan(t *testing.T) {
	now := time.Date(2020, 6, 18, 8, 0, 0, 0, time.UTC)
	r := Rules{ActiveSite: "studio", RemoteSite: "gdrive", RetryCount: 3, Backoff: Backoff{First: 10 * time.Second, Max: time.Hour}}
	studio := avalon.Site{Name: "studio", Created: true}
	for name, test := range map[string]struct {
		sites []avalon.Site
		due   bool
		next  time.Duration
		is    Standing
	}{
		"skeleton":                  {sites: []avalon.Site{studio, {Name: "gdrive"}}, due: true, is: Due},
		"synced":                    {sites: []avalon.Site{studio, {Name: "gdrive", Created: true}}, is: Synced},
		"not wanted":                {sites: []avalon.Site{studio}, is: Unwanted},
		"another site":              {sites: []avalon.Site{studio, {Name: "sftp"}}, is: Unwanted},
		"not at the studio":         {sites: []avalon.Site{{Name: "studio"}, {Name: "gdrive"}}, is: Absent},
		"nowhere":                   {sites: []avalon.Site{{Name: "gdrive"}}, is: Absent},
		"no sites":                  {is: Unwanted},
		"failed, wait is over":      {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 1, LastFailed: now.Add(-10 * time.Second)}}, due: true, is: Due},
		"failed once":               {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 1, LastFailed: now.Add(-4 * time.Second)}}, next: 6 * time.Second, is: Resting},
		"failed twice":              {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 2, LastFailed: now.Add(-4 * time.Second)}}, next: 16 * time.Second, is: Resting},
		"failed for good":           {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 3, LastFailed: now.Add(-time.Hour)}}, is: GivenUp},
		"failed in the future":      {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 1, LastFailed: now.Add(time.Hour)}}, next: 10 * time.Second, is: Resting},
		"paused":                    {sites: []avalon.Site{studio, {Name: "gdrive", Paused: true}}, is: FilePaused},
		"paused after failures":     {sites: []avalon.Site{studio, {Name: "gdrive", Paused: true, Tries: 3}}, is: FilePaused},
		"paused while it waits":     {sites: []avalon.Site{studio, {Name: "gdrive", Paused: true, Tries: 1, LastFailed: now}}, is: FilePaused},
		"synced, once paused":       {sites: []avalon.Site{studio, {Name: "gdrive", Paused: true, Created: true}}, is: Synced},
		"paused at the studio":      {sites: []avalon.Site{{Name: "studio", Created: true, Paused: true}, {Name: "gdrive"}}, due: true, is: Due},
		"failed at an unknown time": {sites: []avalon.Site{studio, {Name: "gdrive", Tries: 2}}, due: true, is: Due},
	} {
		t.Run(name, func(t *testing.T) {
			f := avalon.File{Path: "{root}/a", Sites: test.sites}
			got := r.plan(&avalon.Representation{Files: []avalon.File{f}}, now)
			if (len(got.due) == 1) != test.due || got.next != test.next || len(got.problems) > 0 {
				t.Errorf("got %+v, want due %t, next %s", got, test.due, test.next)
			}
			if got := r.Of(&f, now); got.Standing != test.is || got.Wait != test.next {
				t.Errorf("got %+v, want %d, %s", got, test.is, test.next)
			}
		})
	}
}

func TestPlanOfSeveralFiles(t *testing.T) {
	now := time.Now()
	r := Rules{ActiveSite: "studio", RemoteSite: "gdrive", RetryCount: 3, Backoff: Backoff{First: 10 * time.Second, Max: time.Hour}}
	sites := func(remote avalon.Site) []avalon.Site {
		remote.Name = "gdrive"
		return []avalon.Site{{Name: "studio", Created: true}, remote}
	}
	got := r.plan(&avalon.Representation{Files: []avalon.File{
		{Path: "{root}/due", Sites: sites(avalon.Site{})},
		{Path: "{root}/synced", Sites: sites(avalon.Site{Created: true})},
		{Path: "{root}/later", Sites: sites(avalon.Site{Tries: 2, LastFailed: now})},
		{Path: "{root}/sooner", Sites: sites(avalon.Site{Tries: 1, LastFailed: now})},
		{Path: "{root}/due", Sites: sites(avalon.Site{})}, // the same once more
		{Path: "", Sites: sites(avalon.Site{}), Problem: "its path is missing"},
		{Path: "{root}/bad record", Sites: sites(avalon.Site{Problem: "its tries can't be read"})},
		{Path: "", Sites: sites(avalon.Site{Created: true}), Problem: "nobody needs to care"},
		{Path: "{root}/also due", Sites: sites(avalon.Site{})},
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
	if diff := cmp.Diff("files[5]: its path is missing; files[6]: its tries can't be read", strings.Join(got.problems, "; ")); diff != "" {
		t.Errorf("problems, -want +got:\n%s", diff)
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{First: 10 * time.Second, Max: time.Minute}
	for tries, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		if got := b.After(tries); got != want {
			t.Errorf("after %d tries: %s, want %s", tries, got, want)
		}
	}
	if got := b.After(1_000_000); got != time.Minute {
		t.Errorf("after very many tries: %s", got)
	}
	if got := (Backoff{First: time.Hour, Max: time.Minute}).After(1); got != time.Minute {
		t.Errorf("first longer than the maximum: %s", got)
	}
}
