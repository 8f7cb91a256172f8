package main

import (
	"math"
	"path"
	"reflect"
	"testing"
	"time"

	"sitesync/integration/drive"
)

func TestScenario(t *testing.T) {
	for seed := range uint64(50) {
		p := profile{files: 500, kills: 40, primaryKills: 5, maxSize: 12_000_000, meanUptime: time.Second, seed: seed}
		s := newScenario(p)
		if !reflect.DeepEqual(s, newScenario(p)) {
			t.Fatalf("seed %d: the scenario is not always the same", seed)
		}
		files, again, shared, large := 0, 0, 0, 0
		for i, spec := range s.publishes {
			files += spec.files
			if spec.after >= i || spec.at > s.duration {
				t.Errorf("seed %d: publish %d is at %s of %s, after publish %d", seed, i, spec.at, s.duration,
					spec.after)
			}
			if spec.again {
				again++
			}
			if spec.shared >= 0 {
				shared++
			}
			for _, pub := range spec.publishes {
				if pub.Size > 5_000_000 {
					large++
				}
			}
		}
		if files != p.files || again == 0 || shared == 0 || large < p.files/100 {
			t.Errorf("seed %d: %d files, %d published again, %d shared, %d large ones", seed, files, again, shared,
				large)
		}
		if len(s.kills) != p.kills || len(s.primaryFaults) != 9 {
			t.Errorf("seed %d: %d kills, %d primary faults", seed, len(s.kills), len(s.primaryFaults))
		}
	}
}

func TestScenarioDependsOnTheSeed(t *testing.T) {
	p := profile{files: 500, kills: 40, primaryKills: 5, maxSize: 12_000_000, meanUptime: time.Second}
	one := newScenario(p)
	p.seed = 1
	if other := newScenario(p); reflect.DeepEqual(one.kills, other.kills) ||
		reflect.DeepEqual(one.primaryFaults, other.primaryFaults) || reflect.DeepEqual(one.publishes, other.publishes) {
		t.Error("two seeds make the same scenario")
	}
}

// Each kind of request fails at the given rate, with any of the faults.
func TestFaultRate(t *testing.T) {
	all := faults(0.05)
	for _, kind := range []string{"token", "files.generateIds", "files.list", "files.create.multipart", "upload.put",
		"upload.status", "drives.list", "about.get"} {
		passes := 1.0
		for _, f := range all {
			if ok, err := path.Match(f.Kind, kind); err != nil {
				t.Error(err)
			} else if ok {
				passes *= 1 - f.Probability
			}
		}
		if rate := 1 - passes; math.Abs(rate-0.05) > 1e-9 {
			t.Errorf("%s fails at a rate of %g", kind, rate)
		}
	}
	// AddFault panics if one is invalid.
	server := drive.StartTest(t)
	for _, f := range all {
		server.AddFault(f)
	}
	if none := faults(0); len(none) > 0 {
		t.Errorf("at a rate of 0 there are %v", none)
	}
}
