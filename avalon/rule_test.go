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
	type sites []SiteRecord
	for name, test := range map[string]struct {
		sites sites
		want  Decision
	}{
		"skeleton":             {sites{studio, {Name: gdrive}}, Decision{Status: Pending}},
		"synced":               {sites{studio, {Name: gdrive, Created: true}}, Decision{Status: Synced}},
		"not wanted":           {sites{studio}, Decision{Status: Untracked}},
		"another site":         {sites{studio, {Name: "sftp"}}, Decision{Status: Untracked}},
		"not at the studio":    {sites{{Name: "studio"}, {Name: gdrive}}, Decision{Status: SourceMissing}},
		"nowhere":              {sites{{Name: gdrive}}, Decision{Status: SourceMissing}},
		"no sites":             {nil, Decision{Status: Untracked}},
		"failed, wait is over": {sites{studio, failed(1, -10*time.Second)}, Decision{Status: Pending}},
		"failed once": {sites{studio, failed(1, -4*time.Second)},
			Decision{Status: BackingOff, Wait: 6 * time.Second}},
		"failed twice": {sites{studio, failed(2, -4*time.Second)},
			Decision{Status: BackingOff, Wait: 16 * time.Second}},
		"failed for good": {sites{studio, failed(3, -time.Hour)}, Decision{Status: Failed}},
		"failed in the future": {sites{studio, failed(1, time.Hour)},
			Decision{Status: BackingOff, Wait: 10 * time.Second}},
		"paused":                {sites{studio, {Name: gdrive, Paused: true}}, Decision{Status: Paused}},
		"paused after failures": {sites{studio, {Name: gdrive, Paused: true, Tries: 3}}, Decision{Status: Paused}},
		"paused while it waits": {sites{studio, {Name: gdrive, Paused: true, Tries: 1, LastFailed: now}},
			Decision{Status: Paused}},
		"synced, once paused": {sites{studio, {Name: gdrive, Paused: true, Created: true}},
			Decision{Status: Synced}},
		"paused at the studio": {sites{{Name: "studio", Created: true, Paused: true}, {Name: gdrive}},
			Decision{Status: Pending}},
		"failed at an unknown time": {sites{studio, {Name: gdrive, Tries: 2}}, Decision{Status: Pending}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.Evaluate(&File{Path: "{root}/a", Sites: test.sites}, now); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestExponentialBackoff(t *testing.T) {
	after := ExponentialBackoff(10*time.Second, time.Minute)
	for tries, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute,
		time.Minute} {
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
