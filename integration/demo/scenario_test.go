package main

import (
	"fmt"
	"testing"
	"time"
)

func TestScenario(t *testing.T) {
	for name, s := range map[string]settings{
		"default":  testSettings,
		"short":    {Duration: time.Second, Rate: 0.1, Frames: 2, Cache: 1},
		"fast":     {Duration: time.Minute, Rate: 100, Frames: 2, Cache: 1},
		"for ever": {Duration: time.Second, Forever: true, Rate: 3, Frames: 2, Cache: 1},
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScenario(s)
			kinds, roots, paths := map[kind]int{}, map[string]map[string]bool{}, map[string]bool{}
			const cycles = 3
			for i := range cycles * sc.cycle {
				spec := sc.spec(i)
				kinds[spec.kind]++
				if roots[spec.project] == nil {
					roots[spec.project] = map[string]bool{}
				}
				roots[spec.project][spec.root] = true
				p := fmt.Sprint(spec.project, spec.root, spec.publish.Asset, spec.publish.Subset, spec.publish.Version,
					spec.publish.Name)
				if paths[p] {
					t.Errorf("publish %d has the path of an earlier one: %s", i, p)
				}
				paths[p] = true
			}
			if kinds[cache] != cycles || kinds[broken] != cycles || kinds[sequence] < cycles ||
				kinds[single] <= kinds[sequence] {
				t.Errorf("of the kinds of publishes there are %v in %d cycles", kinds, cycles)
			}
			if len(roots["Cascade"]) != 2 || len(roots["Aurora"]) != 1 || len(roots["Borealis"]) != 1 {
				t.Errorf("the projects have the roots %v", roots)
			}
		})
	}
}

// The demo shows everything within its duration.
func TestScenarioFitsTheDuration(t *testing.T) {
	sc := newScenario(testSettings)
	seen := map[kind]bool{}
	for i := range int(testSettings.Rate * testSettings.Duration.Seconds() / 2) {
		seen[sc.spec(i).kind] = true
	}
	for _, k := range []kind{single, sequence, cache, broken} {
		if !seen[k] {
			t.Errorf("no %s in the first half", k.name(testSettings))
		}
	}
}

func TestSettings(t *testing.T) {
	ok := testSettings
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*settings){
		"duration": func(s *settings) { s.Duration = 0 },
		"rate":     func(s *settings) { s.Rate = 0 },
		"latency":  func(s *settings) { s.Latency = -1 },
		"frames":   func(s *settings) { s.Frames = 0 },
		"cache":    func(s *settings) { s.Cache = 2000 },
	} {
		s := testSettings
		if change(&s); s.Validate() == nil {
			t.Errorf("a wrong %s is taken", name)
		}
	}
}
