package avalon

import (
	"testing"
	"time"
)

func TestEvaluate(t *testing.T) {
	now := time.Date(2020, 6, 18, 8, 0, 0, 0, time.UTC)
	r := Rules{Route: route, RetryCount: 3, Backoff: ExponentialBackoff(10*time.Second, time.Hour)}
	studio := SiteRecord{Name: "studio", Created: true}
	failed := func(tries int, at time.Duration) SiteRecord {
		return SiteRecord{Name: gdrive, Tries: tries, LastFailed: now.Add(at)}
	}
	for name, test := range map[string]struct {
		sites []SiteRecord
		want  Status
		wait  time.Duration
	}{
		"skeleton":                  {sites: []SiteRecord{studio, {Name: gdrive}}, want: Pending},
		"synced":                    {sites: []SiteRecord{studio, {Name: gdrive, Created: true}}, want: Synced},
		"not wanted":                {sites: []SiteRecord{studio}, want: Untracked},
		"another site":              {sites: []SiteRecord{studio, {Name: "sftp"}}, want: Untracked},
		"not at the studio":         {sites: []SiteRecord{{Name: "studio"}, {Name: gdrive}}, want: SourceMissing},
		"nowhere":                   {sites: []SiteRecord{{Name: gdrive}}, want: SourceMissing},
		"no sites":                  {want: Untracked},
		"failed, wait is over":      {sites: []SiteRecord{studio, failed(1, -10*time.Second)}, want: Pending},
		"failed once":               {sites: []SiteRecord{studio, failed(1, -4*time.Second)}, want: BackingOff, wait: 6 * time.Second},
		"failed twice":              {sites: []SiteRecord{studio, failed(2, -4*time.Second)}, want: BackingOff, wait: 16 * time.Second},
		"failed for good":           {sites: []SiteRecord{studio, failed(3, -time.Hour)}, want: Failed},
		"failed in the future":      {sites: []SiteRecord{studio, failed(1, time.Hour)}, want: BackingOff, wait: 10 * time.Second},
		"paused":                    {sites: []SiteRecord{studio, {Name: gdrive, Paused: true}}, want: Paused},
		"paused after failures":     {sites: []SiteRecord{studio, {Name: gdrive, Paused: true, Tries: 3}}, want: Paused},
		"paused while it waits":     {sites: []SiteRecord{studio, {Name: gdrive, Paused: true, Tries: 1, LastFailed: now}}, want: Paused},
		"synced, once paused":       {sites: []SiteRecord{studio, {Name: gdrive, Paused: true, Created: true}}, want: Synced},
		"paused at the studio":      {sites: []SiteRecord{{Name: "studio", Created: true, Paused: true}, {Name: gdrive}}, want: Pending},
		"failed at an unknown time": {sites: []SiteRecord{studio, {Name: gdrive, Tries: 2}}, want: Pending},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.Evaluate(&File{Path: "{root}/a", Sites: test.sites}, now); got != (Decision{Status: test.want, Wait: test.wait}) {
				t.Errorf("got %+v, want %d, %s", got, test.want, test.wait)
			}
		})
	}
}

func TestExponentialBackoff(t *testing.T) {
	after := ExponentialBackoff(10*time.Second, time.Minute)
	for tries, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		if got := after(tries); got != want {
			t.Errorf("after %d tries: %s, want %s", tries, got, want)
		}
	}
	if got := after(1_000_000); got != time.Minute {
		t.Errorf("after very many tries: %s", got)
	}
	if got := ExponentialBackoff(time.Hour, time.Minute)(1); got != time.Minute {
		t.Errorf("first longer than the maximum: %s", got)
	}
}
