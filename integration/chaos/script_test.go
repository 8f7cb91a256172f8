package main

import (
	"math"
	"path"
	"reflect"
	"testing"

	"sitesync/integration/drive"
)

func TestScript(t *testing.T) {
	for seed := range uint64(50) {
		p := profile{files: 500, kills: 40, primaryKills: 5, largest: 12_000_000, seed: seed}
		s := newScript(p)
		if !reflect.DeepEqual(s, newScript(p)) {
			t.Fatalf("seed %d: the script is not always the same", seed)
		}
		files, again, shared, large := 0, 0, 0, 0
		for i, a := range s.acts {
			files += a.files
			if a.after >= i || a.at > s.duration {
				t.Errorf("seed %d: act %d is at %s of %s, after act %d", seed, i, a.at, s.duration, a.after)
			}
			if a.again {
				again++
			}
			if a.shared >= 0 {
				shared++
			}
			for _, pub := range a.publishes {
				if pub.Size > 5_000_000 {
					large++
				}
			}
		}
		if files != p.files || again == 0 || shared == 0 || large < p.files/100 {
			t.Errorf("seed %d: %d files, %d published again, %d shared, %d large ones", seed, files, again, shared, large)
		}
		if len(s.lives) != p.kills || len(s.strikes) != 9 {
			t.Errorf("seed %d: %d lives, %d strikes", seed, len(s.lives), len(s.strikes))
		}
	}
}

func TestScriptDependsOnTheSeed(t *testing.T) {
	p := profile{files: 500, kills: 40, primaryKills: 5, largest: 12_000_000}
	one := newScript(p)
	p.seed = 1
	if other := newScript(p); reflect.DeepEqual(one.lives, other.lives) || reflect.DeepEqual(one.strikes, other.strikes) ||
		reflect.DeepEqual(one.acts, other.acts) {
		t.Error("two seeds make the same")
	}
}

// Each kind of request fails at the rate, whichever of the faults hits it.
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
	// Adding one that makes no sense panics.
	server := drive.StartTest(t)
	for _, f := range all {
		server.AddFault(f)
	}
	if none := faults(0); len(none) > 0 {
		t.Errorf("at a rate of 0 there are %v", none)
	}
}
