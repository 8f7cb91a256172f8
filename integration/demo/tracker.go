package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sitesync/integration/studio"
)

// state is the progress of a publish.
type state int

const (
	writing   state = iota // the artist's files are being written
	uploading              // the record is there, not all files are synced
	failing                // a try of it has failed
	synced                 // all files are synced
	abandoned              // no progress any more
)

// The phases of the demo.
const (
	publishing = "publishing"
	waiting    = "waiting until all is synced"
	comparing  = "comparing MD5s"
	finished   = "finished"
)

// item is a publish and its progress.
type item struct {
	kind     kind
	project  string
	root     string
	what     string // such as Robot modelMain v003 ma
	files    int
	size     int64 // bytes, of all files
	state    state
	done     int           // files that are synced
	tries    int           // of the one that fails
	since    time.Time     // when the insert was acknowledged; before, when writing began
	reaction time.Duration // once it is synced; of a repaired one: from the repair

	rep *studio.Representation // nil while writing
}

// newItem returns the item of a publish that begins.
func newItem(spec publishSpec, now time.Time) *item {
	p := spec.publish
	it := &item{kind: spec.kind, project: spec.project, root: spec.root, since: now, files: max(1, p.Frames),
		what: fmt.Sprintf("%s %s v%03d %s", p.Asset, p.Subset, p.Version, p.Name)}
	it.size = int64(it.files) * p.Size
	for _, r := range p.Resources {
		it.files++
		it.size += r.Size
	}
	return it
}

// totals are sums over everything since the start, files that are deleted meanwhile included.
type totals struct {
	published int
	synced    int
	repaired  int
	files     int   // synced
	bytes     int64 // synced
	compared  int   // files whose MD5 was compared
	reactions map[kind]studio.Reactions
}

// tracker tracks all publishes. Its methods may be used from several goroutines.
type tracker struct {
	settings settings
	start    time.Time
	calls    func() int // requests to Drive so far

	mu       sync.Mutex
	notify   func(event) // called for each event; may be nil
	phase    string
	ended    time.Time // when the clock was stopped
	items    []*item
	totals   totals
	section  []string // lines about the upload that fails
	problems []string // with what was synced
	progress time.Time

	explanation string // of the upload that failed last
}

// event is something worth a line.
type event struct {
	at   time.Duration // since the start
	verb string
	item item
	text string
}

func newTracker(s settings, calls func() int) *tracker {
	now := time.Now()
	return &tracker{settings: s, start: now, calls: calls, phase: publishing, progress: now,
		totals: totals{reactions: map[kind]studio.Reactions{}}}
}

// emit notifies of an event. t.mu must be held.
func (t *tracker) emit(verb string, it *item, text string) {
	if t.notify != nil {
		t.notify(event{at: time.Since(t.start), verb: verb, item: *it, text: text})
	}
}

// add enters a publish whose files are about to be written.
func (t *tracker) add(it *item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items = append(t.items, it)
}

// published reports that the document of a publish is in the database.
func (t *tracker) published(it *item, rep *studio.Representation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.rep, it.since, it.state = rep, rep.Acknowledged, uploading
	t.totals.published++
	t.emit("published", it, "")
}

// uploaded reports how many of its files are synced.
func (t *tracker) uploaded(it *item, files int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if files > it.done {
		it.done, t.progress = files, time.Now()
	}
}

// failed reports that a try has failed.
func (t *tracker) failed(it *item, tries int, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.state, it.tries, t.progress = failing, tries, time.Now()
	t.addLine("failed", it, text)
}

// addLine adds a line to the section of the upload that fails, which is cleared by a first try. t.mu must be held.
func (t *tracker) addLine(verb string, it *item, text string) {
	if verb == "failed" && it.tries == 1 {
		t.section = []string{fmt.Sprintf("%s %s: a folder has been left where its file should be", it.project, it.what)}
	}
	t.section = append(t.section, text)
	t.emit(verb, it, text)
}

// explained takes note of what sitesync explain prints for the upload that has failed.
func (t *tracker) explained(it *item, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.explanation = text
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Do:") {
			t.addLine("explained", it, "sitesync explain: "+strings.TrimSpace(line))
		}
	}
}

// repaired reports that the cause of the failures is fixed.
func (t *tracker) repaired(it *item, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.state = uploading
	t.totals.repaired++
	t.addLine("repaired", it, text)
}

// synced reports that all files of a publish are synced.
func (t *tracker) synced(it *item, reaction time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.state, it.done, it.reaction, t.progress = synced, it.files, reaction, time.Now()
	t.totals.synced++
	t.totals.files += it.files
	t.totals.bytes += it.size
	t.totals.reactions[it.kind] = append(t.totals.reactions[it.kind], reaction)
	if it.kind == broken {
		t.section = append(t.section, "synced, "+formatReaction(reaction)+" later")
	}
	t.emit("synced", it, formatReaction(reaction))
}

// abandoned reports that a publish is no longer waited for.
func (t *tracker) abandoned(it *item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.state = abandoned
	t.emit("NOT SYNCED", it, "no progress for "+stallTimeout(t.settings).String())
}

// compared reports that the content of a publish was compared, with the problems found.
func (t *tracker) compared(it *item, problems []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.compared += it.files
	t.problems = append(t.problems, problems...)
}

// addProblem adds a problem.
func (t *tracker) addProblem(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, text)
}

// toCompare are the synced publishes.
func (t *tracker) toCompare() []*item {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.items), func(it *item) bool { return it.state != synced })
}

// stalled reports whether no publish has made progress for that long.
func (t *tracker) stalled(limit time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.progress) > limit
}

// enter sets the phase of the demo.
func (t *tracker) enter(phase string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = phase
}

// stopClock marks the end of publishing and syncing.
func (t *tracker) stopClock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = time.Now()
}

// removeOldest removes the oldest synced publish if all together have more than limit bytes on the storage; else it
// returns nil.
func (t *tracker) removeOldest(limit int64) *item {
	t.mu.Lock()
	defer t.mu.Unlock()
	var size int64
	for _, it := range t.items {
		size += it.size
	}
	i := slices.IndexFunc(t.items, func(it *item) bool { return it.state == synced })
	if size <= limit || i < 0 {
		return nil
	}
	it := t.items[i]
	t.items = slices.Delete(t.items, i, i+1)
	return it
}

// snapshot is the state of a tracker at one moment.
type snapshot struct {
	settings settings
	phase    string
	clock    time.Duration // since the start, until all was synced
	calls    int           // requests to Drive
	totals   totals
	items    []item
	section  []string
	problems []string

	explanation string
}

func (t *tracker) snapshot() snapshot {
	calls := t.calls()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := snapshot{settings: t.settings, phase: t.phase, clock: time.Since(t.start), calls: calls, totals: t.totals,
		section: slices.Clone(t.section), problems: slices.Clone(t.problems), explanation: t.explanation}
	if !t.ended.IsZero() {
		s.clock = t.ended.Sub(t.start)
	}
	s.totals.reactions = map[kind]studio.Reactions{}
	for k, all := range t.totals.reactions {
		s.totals.reactions[k] = slices.Clone(all)
	}
	for _, it := range t.items {
		s.items = append(s.items, *it)
	}
	return s
}
