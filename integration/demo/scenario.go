package main

import (
	"context"
	"math"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// kind groups publishes whose reaction times are comparable.
type kind int

const (
	single   kind = iota // one file, or a few
	sequence             // many files of one representation
	cache                // one big file
	broken               // one that fails until its cause is fixed
)

// publishSpec is one publish of the demo.
type publishSpec struct {
	kind    kind
	project string
	root    string
	publish studio.Publish
}

// The studio. Its last project has its renderings on a storage of their own.
var (
	projects = [...]string{"Aurora", "Borealis", "Cascade"}
	assets   = [...]string{"Robot", "Castle", "Dragon", "Lantern", "Harbor"}
)

// The roots of the studio, and which folder of the shared drive they have.
const (
	workRoot   = "work"
	renderRoot = "render"
)

var driveFolders = map[string]string{workRoot: "projects", renderRoot: "renders"}

// scenario is the sequence of publishes. It repeats after a cycle, with other versions.
type scenario struct {
	cycle     int   // publishes, 10 or more
	frames    int   // of a sequence
	cacheSize int64 // bytes
}

// maxCycle is the time in which all kinds are seen.
const maxCycle = 30 * time.Second

// newScenario has all kinds within the duration of the demo.
func newScenario(s settings) scenario {
	cycle := maxCycle
	if !s.Forever {
		cycle = min(s.Duration, cycle)
	}
	return scenario{cycle: max(10, int(math.Round(s.Rate*cycle.Seconds()))), frames: s.Frames, cacheSize: s.Cache << 20}
}

// spec is the publish of number i, from 0. No two publish to the same path.
func (s scenario) spec(i int) publishSpec {
	n := len(projects)
	spec := publishSpec{project: projects[i%n], root: workRoot, publish: studio.Publish{
		Asset: assets[i/n%len(assets)], Version: 1 + i/n/len(assets), Seed: uint64(i),
	}}
	p := &spec.publish
	switch at := i % s.cycle; {
	case at == s.cycle*15/100:
		spec.kind = cache
		p.Family, p.Subset, p.Name, p.Size = "vdbcache", "fxMain", "vdb", s.cacheSize
	case at == s.cycle*30/100:
		spec.kind = broken
		p.Family, p.Subset, p.Name, p.Size = "rig", "rigMain", "ma", 350_000
		p.Hold = true
	case at%max(3, s.cycle/6) == 2:
		spec.kind, spec.project, spec.root = sequence, projects[n-1], renderRoot
		p.Family, p.Subset, p.Name, p.Size, p.Frames = "render", "renderMain", "exr", 150_000, s.frames
	default:
		spec.single(i)
	}
	p.Root = spec.root
	return spec
}

// single makes it a small publish.
func (spec *publishSpec) single(i int) {
	p := &spec.publish
	switch i % 4 {
	case 0:
		p.Family, p.Subset, p.Name, p.Size = "model", "modelMain", "ma", 180_000
	case 1:
		p.Family, p.Subset, p.Name, p.Size = "look", "lookMain", "json", 6_000
		p.Resources = []studio.Resource{{Name: "diffuse.tif", Size: 900_000}, {Name: "normal.tif", Size: 700_000}}
	case 2:
		p.Family, p.Subset, p.Name, p.Size = "pointcache", "animMain", "abc", 2_500_000
	case 3:
		p.Family, p.Subset, p.Name, p.Size = "review", "reviewMain", "mov", 6_000_000
		if spec.project == projects[len(projects)-1] {
			spec.root = renderRoot
		}
	}
}

// retryCount is the number of tries of a file.
const retryCount = 3

// setUp starts all servers. The studio has two roots.
func setUp(ctx context.Context, s settings, term *terminal) (*testenv.Env, error) {
	return testenv.Start(ctx, testenv.Options{
		Roots:   driveFolders,
		Drive:   drive.Settings{Latency: s.Latency},
		Presets: process.Presets{RetryCnt: retryCount},
		Args:    []string{"--retry-delay", pace(s).String(), "--listen", "127.0.0.1:0"},
		Step:    (&steps{term: term}).do,
	})
}

// pace is how long something to read is shown: a second, less if the whole demo is short.
func pace(s settings) time.Duration {
	if s.Forever {
		return time.Second
	}
	return min(s.Duration/20, time.Second)
}
