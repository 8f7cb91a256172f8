package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sitesync/integration/studio"
)

// state is how far a publish is.
type state int

const (
	writing   state = iota // the artist's files are being written
	uploading              // the record is there, not all files are synced
	failing                // a try of it has failed
	synced                 // all files are synced
	abandoned              // nothing moves any more
)

// The phases of the demo.
const (
	publishing = "publishing"
	waiting    = "waiting until all is synced"
	comparing  = "comparing MD5s"
	finished   = "finished"
)

// item is a publish as the board knows it.
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

// newItem is an act that begins.
func newItem(a act, now time.Time) *item {
	p := a.publish
	it := &item{kind: a.kind, project: a.project, root: a.root, since: now, files: max(1, p.Frames),
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

// board is what is known of all publishes. Its methods may be used from several goroutines.
type board struct {
	settings settings
	start    time.Time
	calls    func() int // requests to Drive so far

	mu       sync.Mutex
	notify   func(event) // is told of each event; may be nil
	phase    string
	ended    time.Time // when the clock was stopped
	items    []*item
	totals   totals
	story    []string // of the upload that fails
	problems []string // what is wrong with what was synced
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

func newBoard(s settings, calls func() int) *board {
	now := time.Now()
	return &board{settings: s, start: now, calls: calls, phase: publishing, progress: now,
		totals: totals{reactions: map[kind]studio.Reactions{}}}
}

// tell notifies of an event. The lock is held.
func (b *board) tell(verb string, it *item, text string) {
	if b.notify != nil {
		b.notify(event{at: time.Since(b.start), verb: verb, item: *it, text: text})
	}
}

// add enters a publish whose files are about to be written.
func (b *board) add(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, it)
}

// published says that the record of a publish is in the database.
func (b *board) published(it *item, rep *studio.Representation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.rep, it.since, it.state = rep, rep.Acknowledged, uploading
	b.totals.published++
	b.tell("published", it, "")
}

// uploaded says how many of its files are synced.
func (b *board) uploaded(it *item, files int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if files > it.done {
		it.done, b.progress = files, time.Now()
	}
}

// failed says that a try has failed.
func (b *board) failed(it *item, tries int, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.state, it.tries, b.progress = failing, tries, time.Now()
	b.chapter("failed", it, text)
}

// chapter goes on with the story of the upload that fails. A story begins with its first try. The lock is held.
func (b *board) chapter(verb string, it *item, text string) {
	if verb == "failed" && it.tries == 1 {
		b.story = []string{fmt.Sprintf("%s %s: a folder has been left where its file should be", it.project, it.what)}
	}
	b.story = append(b.story, text)
	b.tell(verb, it, text)
}

// explained takes in what sitesync says of the upload that has failed.
func (b *board) explained(it *item, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.explanation = text
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Do:") {
			b.chapter("explained", it, "sitesync explain: "+strings.TrimSpace(line))
		}
	}
}

// repaired says that the cause of the failures is gone.
func (b *board) repaired(it *item, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.state = uploading
	b.totals.repaired++
	b.chapter("repaired", it, text)
}

// synced says that all files of a publish are synced.
func (b *board) synced(it *item, reaction time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.state, it.done, it.reaction, b.progress = synced, it.files, reaction, time.Now()
	b.totals.synced++
	b.totals.files += it.files
	b.totals.bytes += it.size
	b.totals.reactions[it.kind] = append(b.totals.reactions[it.kind], reaction)
	if it.kind == broken {
		b.story = append(b.story, "synced, "+formatReaction(reaction)+" later")
	}
	b.tell("synced", it, formatReaction(reaction))
}

// abandoned says that a publish is no longer waited for.
func (b *board) abandoned(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.state = abandoned
	b.tell("NOT SYNCED", it, "nothing has moved for "+patience(b.settings).String())
}

// compared says that the content of a publish was compared, and what is wrong with it.
func (b *board) compared(it *item, problems []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals.compared += it.files
	b.problems = append(b.problems, problems...)
}

// wrong adds to what is wrong.
func (b *board) wrong(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, text)
}

// toCompare are the publishes that are synced and on the board.
func (b *board) toCompare() []*item {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.items), func(it *item) bool { return it.state != synced })
}

// stalled is whether nothing has moved for that long, on any publish.
func (b *board) stalled(limit time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.progress) > limit
}

// enter begins a phase of the demo.
func (b *board) enter(phase string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase = phase
}

// stopClock says that publishing and syncing are over.
func (b *board) stopClock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = time.Now()
}

// oldest takes the oldest synced publish off the board if all together have more than limit bytes on the storage;
// else it returns nil.
func (b *board) oldest(limit int64) *item {
	b.mu.Lock()
	defer b.mu.Unlock()
	var size int64
	for _, it := range b.items {
		size += it.size
	}
	i := slices.IndexFunc(b.items, func(it *item) bool { return it.state == synced })
	if size <= limit || i < 0 {
		return nil
	}
	it := b.items[i]
	b.items = slices.Delete(b.items, i, i+1)
	return it
}

// snapshot is a board at one moment, to be drawn.
type snapshot struct {
	settings settings
	phase    string
	clock    time.Duration // since the start, until all was synced
	calls    int           // requests to Drive
	totals   totals
	items    []item
	story    []string
	problems []string

	explanation string
}

func (b *board) snapshot() snapshot {
	calls := b.calls()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := snapshot{settings: b.settings, phase: b.phase, clock: time.Since(b.start), calls: calls, totals: b.totals,
		story: slices.Clone(b.story), problems: slices.Clone(b.problems), explanation: b.explanation}
	if !b.ended.IsZero() {
		s.clock = b.ended.Sub(b.start)
	}
	s.totals.reactions = map[kind]studio.Reactions{}
	for k, all := range b.totals.reactions {
		s.totals.reactions[k] = slices.Clone(all)
	}
	for _, it := range b.items {
		s.items = append(s.items, *it)
	}
	return s
}
