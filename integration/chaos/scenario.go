package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"sitesync/integration/studio"
)

// scenario is what happens in a run. All of it is derived from the seed.
type scenario struct {
	publishes     []publishSpec
	kills         []killPlan
	primaryFaults []primaryFault
	duration      time.Duration // about, until the last kill
}

// publishSpec is one insert of an artist.
type publishSpec struct {
	at      time.Duration // since the start
	project string
	// publishes are made with one insert; they have their resources in common.
	publishes []studio.Publish
	// after is the index of the publish that must be done before, -1 if none: the one that is published again here.
	after int
	home  bool // the artist at home publishes it
	// shared is the index of the publish whose files are recorded here once more, -1 if none.
	shared int
	again  bool // the path was published before
	files  int  // new ones
}

// killPlan says when a sitesync process is killed.
type killPlan struct {
	point killPoint
	after time.Duration
	home  bool // that of the artist at home
}

// killPoint is the moment from which the time until a kill counts.
type killPoint int

const (
	anytime        killPoint = iota // from the start
	early                           // from the start, briefly
	duringCreate                    // from when the next create has reached Drive, briefly
	duringDownload                  // from when the next download has reached Drive, briefly
)

func (p killPoint) String() string {
	return [...]string{"at any time", "at the start", "during a create", "during a download"}[p]
}

// Times from a killPoint to the kill.
const (
	maxEarly        = 400 * time.Millisecond // it watches after about 100 ms
	maxDuringCreate = 40 * time.Millisecond  // about what a request takes, or a download with all that follows

	// firstRequest is about when the first create or download comes. After maxRequestWait, sitesync is killed without
	// one.
	firstRequest   = 700 * time.Millisecond
	maxRequestWait = 4 * time.Second
)

// primaryFault is a fault of MongoDB's primary.
type primaryFault struct {
	at     time.Duration // earliest, since the start
	kind   faultKind
	length time.Duration // for which it is down or hangs
}

// faultKind is what is done to the primary.
type faultKind int

const (
	killed faultKind = iota
	steppedDown
	hung
)

func (k faultKind) String() string { return [...]string{"kill -9", "step-down", "SIGSTOP"}[k] }

// newScenario derives all from the seed. Publishes, kills and primary faults have a random generator each, so that the
// number of one does not change the others.
func newScenario(p profile) scenario {
	var s scenario
	dice := rand.New(rand.NewPCG(p.seed, 1))
	for range p.kills {
		k := killPlan{point: [...]killPoint{anytime, anytime, early, duringCreate, duringDownload}[dice.IntN(5)],
			home: dice.IntN(2) == 0}
		switch k.point {
		case anytime:
			k.after = min(time.Duration(dice.ExpFloat64()*float64(p.meanUptime)), 5*p.meanUptime)
			s.duration += k.after
		case early:
			k.after = time.Duration(dice.Float64() * float64(maxEarly))
			s.duration += k.after
		case duringCreate, duringDownload:
			k.after = time.Duration(dice.Float64() * float64(maxDuringCreate))
			s.duration += k.after + firstRequest
		}
		s.kills = append(s.kills, k)
	}
	s.duration = max(s.duration, 10*time.Second)

	dice = rand.New(rand.NewPCG(p.seed, 2))
	for i := range p.primaryKills + 2*(p.primaryKills/2) {
		f := primaryFault{kind: killed, at: time.Duration(dice.Float64() * 0.9 * float64(s.duration))}
		if i >= p.primaryKills {
			f.kind = [...]faultKind{steppedDown, hung}[i%2]
		}
		switch f.kind {
		case killed:
			f.length = 200*time.Millisecond + time.Duration(dice.Float64()*float64(2*time.Second))
		case hung:
			f.length = 2*time.Second + time.Duration(dice.Float64()*float64(4*time.Second))
		}
		s.primaryFaults = append(s.primaryFaults, f)
	}
	slices.SortStableFunc(s.primaryFaults, func(a, b primaryFault) int { return cmp.Compare(a.at, b.at) })

	s.publish(p, rand.New(rand.NewPCG(p.seed, 3)))
	return s
}

// The studio.
var (
	projects = [...]string{"Aurora", "Borealis"}
	assets   = [...]string{"Robot", "Castle", "Dragon", "O'Hara's Häuschen"}
)

// publish adds publishes until there are enough files.
func (s *scenario) publish(p profile, dice *rand.Rand) {
	last := map[int]int{}       // by the first publish of a path: the latest one
	var originals, shares []int // publishes that may be repeated, and those whose files may be recorded once more
	large := 0
	for files := 0; files < p.files; {
		i, left := len(s.publishes), p.files-files
		spec := publishSpec{project: projects[dice.IntN(len(projects))], after: -1, shared: -1, home: dice.IntN(3) == 0}
		pub := studio.Publish{Asset: assets[dice.IntN(len(assets))], Subset: fmt.Sprintf("subset%d", dice.IntN(6)),
			Version: i + 1, Seed: dice.Uint64(), DictSites: dice.IntN(10) == 0}
		if dice.IntN(5) == 0 {
			pub.RenameAfter = time.Duration(dice.Float64() * float64(300*time.Millisecond))
		}
		kind := dice.IntN(100)
		switch {
		case kind < 18 && len(originals) > 0:
			of := originals[dice.IntN(len(originals))]
			s.publishes = append(s.publishes, s.again(of, last, slices.Contains(shares, of), dice))
			continue
		case kind < 23 || large*100 < files: // one of a hundred files or more
			large++
			pub.Name, pub.Family, pub.Size = "vdb", "vdbcache", 5_500_000+dice.Int64N(p.maxSize-5_500_000)
			spec.publishes, spec.files = []studio.Publish{pub}, 1
		case kind < 33:
			pub.Name, pub.Family, pub.Size, pub.Frames = "exr", "render", 1+dice.Int64N(60_000),
				min(left, 8+dice.IntN(33))
			spec.publishes, spec.files = []studio.Publish{pub}, pub.Frames
		case kind < 45 && left >= 5: // textures that two representations name
			pub.Family = "look"
			pub.Resources = resources(1+dice.IntN(min(6, left-2)), dice)
			for _, name := range []string{"ma", "json"} {
				pub.Name, pub.Size = name, small(dice)
				spec.publishes = append(spec.publishes, pub)
			}
			spec.files = 2 + len(pub.Resources)
			shares = append(shares, i)
		case kind < 52 && len(shares) > 0: // textures of an earlier publish
			pub.Name, pub.Family, pub.Size = "ma", "rig", small(dice)
			spec.publishes, spec.files, spec.shared = []studio.Publish{pub}, 1, shares[dice.IntN(len(shares))]
			spec.after, spec.home = spec.shared, s.publishes[spec.shared].home
			s.publishes = append(s.publishes, spec)
			files++
			continue
		case kind < 62:
			pub.Name, pub.Family, pub.Size = "abc", "pointcache", small(dice)
			pub.Resources = resources(min(left-1, 2+dice.IntN(6)), dice)
			spec.publishes, spec.files = []studio.Publish{pub}, 1+len(pub.Resources)
		default:
			pub.Name, pub.Size = "ma", small(dice)
			spec.publishes, spec.files = []studio.Publish{pub}, 1
		}
		files += spec.files
		originals = append(originals, i)
		s.publishes = append(s.publishes, spec)
	}
	for i := range s.publishes {
		s.publishes[i].at = time.Duration(float64(s.duration) * 0.97 * float64(i) / float64(len(s.publishes)))
	}
}

// again repeats a publish with other content, of another size or the same. Files that others have recorded too keep
// their size, or the others' records would not match.
func (s *scenario) again(of int, last map[int]int, shared bool, dice *rand.Rand) publishSpec {
	spec := s.publishes[of]
	spec.again, spec.files, spec.after = true, 0, of
	if before, ok := last[of]; ok {
		spec.after = before
	}
	last[of] = len(s.publishes)
	spec.publishes = slices.Clone(spec.publishes)
	seed, resize := dice.Uint64(), dice.IntN(2) == 0
	for i := range spec.publishes {
		pub := &spec.publishes[i]
		pub.Seed = seed
		if resize && !shared {
			pub.Size = pub.Size/2 + dice.Int64N(pub.Size/2+2)
		}
	}
	return spec
}

// small is the size of a small file, bytes: few are large, and some are empty.
func small(dice *rand.Rand) int64 {
	if dice.IntN(20) == 0 {
		return 0
	}
	return int64(math.Exp(dice.Float64() * math.Log(200_000)))
}

func resources(n int, dice *rand.Rand) []studio.Resource {
	var out []studio.Resource
	for i := range n {
		out = append(out, studio.Resource{Name: fmt.Sprintf("texture.%d.tif", i), Size: small(dice)})
	}
	return out
}
