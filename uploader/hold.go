package uploader

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sitesync/site"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

const (
	// Bounds of the wait between two probes of what is held.
	firstProbe = time.Second
	lastProbe  = time.Minute

	// lastLargeProbe is lastProbe where a large file has to be tried to find out.
	lastLargeProbe = 15 * time.Minute

	// forgetAfter is when a hold that can't be probed is forgotten, if nothing runs into it any more.
	forgetAfter = time.Hour
)

// TargetKind is what sort of thing can be out of order.
type TargetKind string

// The kinds.
const (
	SiteTarget    TargetKind = "site"           // the remote site as a whole, or its only root
	RemoteRoot    TargetKind = "remote_root"    // one root of several on the site
	LocalRoot     TargetKind = "local_root"     // a root of the storage
	ProjectFolder TargetKind = "project_folder" // a folder below a root of the storage
	Settings      TargetKind = "settings"       // files whose root the settings do not know
	LargeFiles    TargetKind = "large_files"    // files that are larger than the room left below a root on the site
	NewFiles      TargetKind = "new_files"      // what would be created below a root on the site, or in a folder
)

// TargetKinds are all kinds.
var TargetKinds = []TargetKind{SiteTarget, RemoteRoot, LocalRoot, ProjectFolder, Settings, LargeFiles, NewFiles}

// mostHolds bounds the holds of a kind: documents name local roots, and what the settings do not fit. Those beyond are
// one hold.
func mostHolds(k TargetKind) int {
	if k == Settings {
		return 20
	}
	return 1000
}

// Target is what a breaker trips for: what belongs to it is not uploaded until a probe succeeds.
type Target struct {
	Kind TargetKind
	Name string // path of a root or folder, here or on the site; empty for the site, and for all beyond mostHolds
}

// theSite is the remote site as a whole.
var theSite = Target{Kind: SiteTarget}

// trouble is something that is no file's own: all files that it concerns are held up by it.
type trouble struct {
	Target
	probe func(context.Context) error // whether it has ended; nil if only a restart, or other documents, can end it

	// A trial ends it: as no question tells whether it has ended, one file is tried when the probe has succeeded.
	trial bool
	from  int64 // of LargeFiles: the smallest size that does not fit, bytes
	size  int64 // of LargeFiles: of the file that was refused, bytes
}

// what is held up, for people.
func (t trouble) what() string { return Hold{Target: t.Target, From: t.from}.Subject() }

// holds keeps what is held up by a trouble. Each is probed, beside the others and ever more slowly, and ends by itself.
type holds struct {
	log  *zap.Logger
	poll func() // finds again what was held up

	mu      sync.Mutex
	changed chan struct{}
	held    map[Target]*hold
	kinds   Holds // of held
	ended   map[Target]ending
	begun   Holds // since the start
}

type hold struct {
	trouble
	err     error
	since   time.Time
	delay   time.Duration // between the last probe and the next
	next    time.Time     // probe
	probing bool
	open    bool      // a file may be tried
	trying  bool      // it is
	asked   time.Time // when a file was last refused
	sizes   [2]int64  // of LargeFiles: the smallest file that waits, and the largest, as far as is known
}

// ending is how a hold was when it ended. One that comes again soon goes on where it was: the probe did not see
// the trouble.
type ending struct {
	at    time.Time
	delay time.Duration
}

func newHolds(log *zap.Logger, poll func()) *holds {
	return &holds{log: log, poll: poll, changed: make(chan struct{}), held: map[Target]*hold{}, kinds: Holds{}, begun: Holds{},
		ended: map[Target]ending{}}
}

// hold holds up what the trouble concerns. It is told once.
func (h *holds) hold(t trouble, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.held[t.Target] == nil && h.kinds[t.Kind] >= mostHolds(t.Kind) {
		t.Name, t.probe, t.trial = "", nil, false
		err = fmt.Errorf("more than %d are held; one of the others: %w", mostHolds(t.Kind), err)
	}
	if held := h.held[t.Target]; held != nil {
		if t.probe == nil {
			held.next = now.Add(forgetAfter)
		}
		held.from = min(held.from, t.from)
		held.refuse(t.size)
		return
	}
	delay := firstProbe
	if last, ok := h.ended[t.Target]; ok && now.Sub(last.at) < lastProbe {
		delay = min(2*last.delay, t.slowest())
	}
	if t.probe == nil {
		delay = forgetAfter
	}
	h.held[t.Target] = &hold{trouble: t, err: err, since: now, delay: delay, next: now.Add(delay), asked: now, sizes: [2]int64{t.size, t.size}}
	h.kinds[t.Kind]++
	h.begun[t.Kind]++
	h.notify()
	h.log.Error("uploads are held until this is repaired; no try is spent", zap.String("held", t.what()), zap.Error(err))
}

// slowest is the longest time between two probes.
func (t trouble) slowest() time.Duration {
	if t.trial && t.from >= largeFile {
		return lastLargeProbe
	}
	return lastProbe
}

// check returns why something is held, nil if it is not.
func (h *holds) check(t Target) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[t]; held != nil {
		return held.err
	}
	return nil
}

// checkFolders is check for the folders on the way to a file below a local root.
func (h *holds) checkFolders(root, rel string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kinds[ProjectFolder] == 0 {
		return nil
	}
	at := root
	for _, name := range strings.FieldsFunc(rel, func(c rune) bool { return c == '/' || c == '\\' }) {
		at = filepath.Join(at, name)
		if held := h.held[Target{ProjectFolder, at}]; held != nil {
			return held.err
		}
	}
	return nil
}

// try is check for what one file may be tried with. If it is to be this one, the hold is returned; tried must follow.
func (h *holds) try(t Target, size int64) (*hold, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[t]
	switch {
	case held == nil, held.Kind == LargeFiles && size < held.from:
		return nil, nil
	case held.open && (held.Kind != LargeFiles || size == held.from):
		held.open, held.trying = false, true
		return held, nil
	}
	held.refuse(size)
	return nil, held.err
}

// refuse takes note of a file that has to wait.
func (held *hold) refuse(size int64) {
	held.asked = time.Now()
	held.sizes[0], held.sizes[1] = min(held.sizes[0], size), max(held.sizes[1], size)
}

// fit takes note of how many bytes are left where large files are held. The error says why some still are.
func (h *holds) fit(t Target, left int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[t]
	if held == nil || left >= held.sizes[1] || time.Since(held.asked) > forgetAfter {
		return nil
	}
	if left >= held.sizes[0] {
		// Those that fit by now go on.
		held.from, held.sizes[0], held.delay = left+1, held.sizes[1], firstProbe
		h.poll()
	}
	return roomLeft(left)
}

// roomLeft says why large files are held.
func roomLeft(left int64) error {
	return fmt.Errorf("there is room for %s only: free some (the trash counts too) or have the quota raised; smaller files are uploaded",
		humanize.IBytes(uint64(max(left, 0))))
}

// tried says how the file fared that was tried: well, or it was refused, or its end says nothing about the hold.
func (h *holds) tried(held *hold, well bool, refused error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held.trying = false
	switch {
	case h.held[held.Target] != held:
	case well:
		h.end(held)
	case refused != nil:
		h.later(held, refused)
	default:
		held.open, held.next = true, time.Now().Add(lastProbe)
	}
	h.notify()
}

// wait returns when it is not held.
func (h *holds) wait(ctx context.Context, t Target) error {
	for {
		h.mu.Lock()
		held, changed := h.held[t] != nil, h.changed
		h.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hurry probes something now, if it is held.
func (h *holds) hurry(t Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[t]; held != nil && held.probe != nil {
		held.next = time.Now()
		h.notify()
	}
}

// run probes what is held until ctx ends. Probes run side by side: one that takes long is waited for by nobody.
func (h *holds) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	for {
		h.mu.Lock()
		changed := h.changed
		now := time.Now()
		var first *hold
		for _, held := range h.held {
			switch {
			case held.probing:
			case !held.next.After(now):
				held.probing = true
				probes.Go(func() { h.probe(ctx, held) })
			case first == nil || held.next.Before(first.next):
				first = held
			}
		}
		var timer <-chan time.Time
		if first != nil {
			timer = time.After(first.next.Sub(now))
		}
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer:
		}
	}
}

// probe looks whether a hold has ended.
func (h *holds) probe(ctx context.Context, held *hold) {
	var err error
	if held.probe != nil {
		err = held.probe(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.notify()
	held.probing = false
	now := time.Now()
	switch {
	case h.held[held.Target] != held: // it was ended meanwhile
	case held.probe == nil && now.Before(held.next): // somebody ran into it meanwhile
	case held.trying:
		held.next = now.Add(lastProbe)
	case err != nil:
		h.later(held, err)
	case held.trial && !held.open:
		held.open, held.next = true, now.Add(lastProbe)
		h.poll()
	default:
		h.end(held) // also if no file has come that could be tried
	}
}

// later probes a hold ever more slowly. h.mu must be held.
func (h *holds) later(held *hold, err error) {
	held.err = err
	held.delay = min(2*held.delay, held.slowest())
	held.next = time.Now().Add(held.delay)
}

// end ends a hold. h.mu must be held.
func (h *holds) end(held *hold) {
	delete(h.held, held.Target)
	if h.kinds[held.Kind]--; h.kinds[held.Kind] == 0 {
		delete(h.kinds, held.Kind)
	}
	if held.probe == nil {
		return
	}
	now := time.Now()
	for t, last := range h.ended {
		if now.Sub(last.at) >= lastProbe {
			delete(h.ended, t)
		}
	}
	h.ended[held.Target] = ending{now, held.delay}
	h.log.Info("uploads go on", zap.String("held", held.what()), zap.Duration("after", now.Sub(held.since)))
	h.poll()
}

// list tells of every hold, in an order that stays.
func (h *holds) list() (all []Hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		hold := Hold{Target: held.Target, From: held.from, Why: held.err.Error(), Since: held.since}
		if held.probe != nil {
			hold.Next = held.next
		}
		hold.Hangs = site.IsStall(held.err)
		all = append(all, hold)
	}
	slices.SortFunc(all, func(a, b Hold) int {
		return cmp.Or(strings.Compare(a.Subject(), b.Subject()), strings.Compare(a.Why, b.Why))
	})
	return all
}

func (h *holds) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}
