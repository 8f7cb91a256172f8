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

// script is what happens in a run. All of it is derived from the seed.
type script struct {
	acts     []act
	lives    []life
	strikes  []strike
	duration time.Duration // about, until the last kill
}

// act is something that is published.
type act struct {
	at      time.Duration // since the start
	project string
	// publishes are made at once; several have their resources in common.
	publishes []studio.Publish
	// after is the act that must be over before, -1 if there is none: it has published what is published again here.
	after int
	// shared is the act whose files are recorded here once more, -1 if there is none.
	shared int
	again  bool // it is published again
	files  int  // that are new
}

// life is one sitesync until it is killed.
type life struct {
	moment moment
	after  time.Duration
}

// moment says what the time until a kill is counted from.
type moment int

const (
	anytime moment = iota // from the start
	early                 // from the start, a short time
	amidst                // from when the next create has reached Drive, a short time
)

func (m moment) String() string {
	return [...]string{"at any time", "at the start", "amidst a create"}[m]
}

// Times between a start of sitesync and its kill.
const (
	meanLife   = 2500 * time.Millisecond
	earlyLife  = 400 * time.Millisecond // at the most; it watches after about 100 ms
	amidstLife = 40 * time.Millisecond  // at the most; a request takes about as long

	// firstCreate is about when the first create comes. If none comes for longest, sitesync is killed without.
	firstCreate = 700 * time.Millisecond
	longest     = 4 * time.Second
)

// strike is what is done to the primary.
type strike struct {
	at     time.Duration // since the start, at the earliest
	kind   blow
	length time.Duration // how long it is down or hangs
}

type blow int

const (
	killed blow = iota
	steppedDown
	hung
)

func (b blow) String() string { return [...]string{"kill -9", "step-down", "SIGSTOP"}[b] }

// newScript derives everything from the seed. What is published, killed and struck has dice of its own, so that
// one does not change with the other's number.
func newScript(p profile) script {
	var s script
	dice := rand.New(rand.NewPCG(p.seed, 1))
	for range p.kills {
		l := life{moment: moment([...]moment{anytime, anytime, early, amidst}[dice.IntN(4)])}
		switch l.moment {
		case anytime:
			l.after = min(time.Duration(dice.ExpFloat64()*float64(meanLife)), 5*meanLife)
			s.duration += l.after
		case early:
			l.after = time.Duration(dice.Float64() * float64(earlyLife))
			s.duration += l.after
		case amidst:
			l.after = time.Duration(dice.Float64() * float64(amidstLife))
			s.duration += l.after + firstCreate
		}
		s.lives = append(s.lives, l)
	}
	s.duration = max(s.duration, 10*time.Second)

	dice = rand.New(rand.NewPCG(p.seed, 2))
	for i := range p.primaryKills + 2*(p.primaryKills/2) {
		k := strike{kind: killed, at: time.Duration(dice.Float64() * 0.9 * float64(s.duration))}
		if i >= p.primaryKills {
			k.kind = [...]blow{steppedDown, hung}[i%2]
		}
		switch k.kind {
		case killed:
			k.length = 200*time.Millisecond + time.Duration(dice.Float64()*float64(2*time.Second))
		case hung:
			k.length = 2*time.Second + time.Duration(dice.Float64()*float64(4*time.Second))
		}
		s.strikes = append(s.strikes, k)
	}
	slices.SortStableFunc(s.strikes, func(a, b strike) int { return cmp.Compare(a.at, b.at) })

	s.publish(p, rand.New(rand.NewPCG(p.seed, 3)))
	return s
}

// The studio.
var (
	projects = [...]string{"Aurora", "Borealis"}
	assets   = [...]string{"Robot", "Castle", "Dragon", "O'Hara's Häuschen"}
)

// publish writes the acts, until there are enough files.
func (s *script) publish(p profile, dice *rand.Rand) {
	last := map[int]int{}       // by the act that published first: the last one that published it again
	var originals, shares []int // acts that may be published again, and whose files may be recorded once more
	large := 0
	for files := 0; files < p.files; {
		i, left := len(s.acts), p.files-files
		a := act{project: projects[dice.IntN(len(projects))], after: -1, shared: -1}
		pub := studio.Publish{Asset: assets[dice.IntN(len(assets))], Subset: fmt.Sprintf("subset%d", dice.IntN(6)), Version: i + 1,
			Seed: dice.Uint64(), DictSites: dice.IntN(10) == 0}
		if dice.IntN(5) == 0 {
			pub.RenameAfter = time.Duration(dice.Float64() * float64(300*time.Millisecond))
		}
		kind := dice.IntN(100)
		switch {
		case kind < 18 && len(originals) > 0:
			of := originals[dice.IntN(len(originals))]
			s.acts = append(s.acts, s.again(of, last, slices.Contains(shares, of), dice))
			continue
		case kind < 23 || large*100 < files: // one of a hundred files or more
			large++
			pub.Name, pub.Family, pub.Size = "vdb", "vdbcache", 5_500_000+dice.Int64N(p.largest-5_500_000)
			a.publishes, a.files = []studio.Publish{pub}, 1
		case kind < 33:
			pub.Name, pub.Family, pub.Size, pub.Frames = "exr", "render", 1+dice.Int64N(60_000), min(left, 8+dice.IntN(33))
			a.publishes, a.files = []studio.Publish{pub}, pub.Frames
		case kind < 45 && left >= 5: // textures that two representations name
			pub.Family = "look"
			pub.Resources = resources(1+dice.IntN(min(6, left-2)), dice)
			for _, name := range []string{"ma", "json"} {
				pub.Name, pub.Size = name, small(dice)
				a.publishes = append(a.publishes, pub)
			}
			a.files = 2 + len(pub.Resources)
			shares = append(shares, i)
		case kind < 52 && len(shares) > 0: // textures of an earlier publish
			pub.Name, pub.Family, pub.Size = "ma", "rig", small(dice)
			a.publishes, a.files, a.shared = []studio.Publish{pub}, 1, shares[dice.IntN(len(shares))]
			a.after = a.shared
			s.acts = append(s.acts, a)
			files++
			continue
		case kind < 62:
			pub.Name, pub.Family, pub.Size = "abc", "pointcache", small(dice)
			pub.Resources = resources(min(left-1, 2+dice.IntN(6)), dice)
			a.publishes, a.files = []studio.Publish{pub}, 1+len(pub.Resources)
		default:
			pub.Name, pub.Size = "ma", small(dice)
			a.publishes, a.files = []studio.Publish{pub}, 1
		}
		files += a.files
		originals = append(originals, i)
		s.acts = append(s.acts, a)
	}
	for i := range s.acts {
		s.acts[i].at = time.Duration(float64(s.duration) * 0.97 * float64(i) / float64(len(s.acts)))
	}
}

// again publishes an act again, with other content, of another size or the same. Files that others have recorded
// keep their size: the record of the others would not fit any more.
func (s *script) again(of int, last map[int]int, shared bool, dice *rand.Rand) act {
	a := s.acts[of]
	a.again, a.files, a.after = true, 0, of
	if before, ok := last[of]; ok {
		a.after = before
	}
	last[of] = len(s.acts)
	a.publishes = slices.Clone(a.publishes)
	seed, resize := dice.Uint64(), dice.IntN(2) == 0
	for i := range a.publishes {
		pub := &a.publishes[i]
		pub.Seed = seed
		if resize && !shared {
			pub.Size = pub.Size/2 + dice.Int64N(pub.Size/2+2)
		}
	}
	return a
}

// small is the size of a small file in bytes: few are large, and some are empty.
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
