package uploader

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"sitesync/cond"
	"sitesync/config"
	"sitesync/site"
)

const (
	// Bounds of the wait between two probes of what is held.
	minProbeDelay = time.Second
	maxProbeDelay = time.Minute

	// maxLargeProbeDelay is maxProbeDelay where a large file has to be tried to find out.
	maxLargeProbeDelay = 15 * time.Minute

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

// maxBreakers bounds the holds of a kind: documents name local roots, and what the settings do not fit. Those beyond
// are one hold.
func maxBreakers(k TargetKind) int {
	if k == Settings {
		return 20
	}
	return 1000
}

// Target is what a breaker trips for: what belongs to it is not transferred until a probe succeeds.
type Target struct {
	Kind TargetKind
	Name string // path of a root or folder, here or on the site; empty for the site, and for all beyond maxBreakers
}

// siteTarget is the remote site as a whole.
var siteTarget = Target{Kind: SiteTarget}

// Hold is what holds transfers up.
type Hold struct {
	Target
	From  int64 // of LargeFiles: from which size on files are held, bytes
	Hangs bool  // of LocalRoot: its storage does not answer
	Why   string
	Since time.Time
	Next  time.Time // probe; zero if only new settings can end it
}

// Subject is what is held, for people.
func (h Hold) Subject() string {
	switch {
	case h.Kind == SiteTarget:
		return "site"
	case h.Kind == Settings:
		return "files that the settings do not fit"
	case h.Kind == RemoteRoot:
		return "remote root " + h.Name
	case h.Kind == LargeFiles:
		return fmt.Sprintf("files of %s and more for %s", humanize.IBytes(uint64(max(h.From, 0))), h.Name)
	case h.Kind == NewFiles:
		return "new files and folders in " + h.Name
	case h.Name == "":
		return "other local roots"
	}
	return h.Name
}

// String is the subject, and why it is held.
func (h Hold) String() string { return h.Subject() + ": " + h.Why }

// Concerns reports whether a hold concerns the file that was inspected, as far as is known: whether it would be
// created is not known.
func (h Hold) Concerns(i Inspection, size int64) bool {
	within := func(p string) bool {
		return p != "" && (p == h.Name || strings.HasPrefix(p, strings.TrimRight(h.Name, `/\`)+"/") ||
			strings.HasPrefix(p, h.Name+`\`))
	}
	switch h.Kind {
	case SiteTarget:
		return true
	case LocalRoot:
		return i.Root != "" && i.Root == h.Name
	case ProjectFolder:
		return within(i.Local)
	case RemoteRoot:
		return within(i.Remote)
	case NewFiles:
		return within(i.Remote) || within(i.Local)
	case LargeFiles:
		return (within(i.Remote) || within(i.Local)) && max(size, i.Size) >= h.From
	}
	return false
}

// Holds is a number of holds by the kind of their target.
type Holds map[TargetKind]int

// trip is something that is no file's own: all files that it concerns are held up by it.
type trip struct {
	Target
	probe func(context.Context) error // whether it has ended; nil if only a restart, or other documents, can end it

	// Only a trial ends it: no probe shows whether it has ended, so one file is tried when the probe has succeeded.
	trial bool
	from  int64 // of LargeFiles: the smallest size that does not fit, bytes
	size  int64 // of LargeFiles: of the file that was refused, bytes
}

// what is held up, for people.
func (t trip) what() string { return Hold{Target: t.Target, From: t.from}.Subject() }

// breakers are what is out of order. Each is probed independently, at growing intervals, and closes by itself.
type breakers struct {
	log  *zap.Logger
	noun string // for one transfer
	poll func() // finds again what was held up

	mu    cond.Mutex
	held  map[Target]*breaker
	kinds Holds // of held
	ended map[Target]closedBreaker
	begun Holds // since the start
}

type breaker struct {
	trip
	err     error
	since   time.Time
	policy  *backoff.ExponentialBackOff // of the probes
	next    time.Time                   // probe
	probing bool
	open    bool      // a file may be tried
	trying  bool      // it is
	asked   time.Time // when a file was last refused
	sizes   [2]int64  // of LargeFiles: the smallest file that waits, and the largest, as far as is known
}

// closedBreaker is how a hold was when it ended. One that comes again soon goes on where it was: the probe did not see
// the trouble.
type closedBreaker struct {
	at     time.Time
	policy *backoff.ExponentialBackOff
}

func newBreakers(log *zap.Logger, noun string, poll func()) *breakers {
	return &breakers{log: log, noun: noun, poll: poll, held: map[Target]*breaker{}, kinds: Holds{}, begun: Holds{},
		ended: map[Target]closedBreaker{}}
}

// trip opens the breaker of a target, if it is not open already, and logs it.
func (h *breakers) trip(t trip, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.held[t.Target] == nil && h.kinds[t.Kind] >= maxBreakers(t.Kind) {
		t.Name, t.probe, t.trial = "", nil, false
		err = fmt.Errorf("more than %d are held; one of the others: %w", maxBreakers(t.Kind), err)
	}
	if held := h.held[t.Target]; held != nil {
		if t.probe == nil {
			held.next = now.Add(forgetAfter)
		}
		if t.from < held.from {
			held.from, held.err = t.from, err
		}
		held.refuse(t.size)
		return
	}
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(minProbeDelay), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
	if last, ok := h.ended[t.Target]; ok && now.Sub(last.at) < maxProbeDelay {
		policy = last.policy
	}
	held := &breaker{trip: t, err: err, since: now, policy: policy, next: now.Add(forgetAfter), asked: now,
		sizes: [2]int64{t.size, t.size}}
	if t.probe != nil {
		held.backOff(err)
	}
	h.held[t.Target] = held
	h.kinds[t.Kind]++
	h.begun[t.Kind]++
	h.mu.Notify()
	h.log.Error(h.noun+"s are held until this is repaired; no try is spent", zap.String("held", t.what()),
		zap.Error(err))
}

// slowest is the longest time between two probes.
func (t trip) slowest() time.Duration {
	if t.trial && t.from >= largeFile {
		return maxLargeProbeDelay
	}
	return maxProbeDelay
}

// check returns why something is held, nil if it is not.
func (h *breakers) check(t Target) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[t]; held != nil {
		return held.err
	}
	return nil
}

// checkFolders is check for the folders on the way to a file below a local root.
func (h *breakers) checkFolders(root, rel string) error {
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
func (h *breakers) try(t Target, size int64) (*breaker, error) {
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

// refuse registers a file that has to wait.
func (held *breaker) refuse(size int64) {
	held.asked = time.Now()
	held.sizes[0], held.sizes[1] = min(held.sizes[0], size), max(held.sizes[1], size)
}

// fit takes how many bytes are left where large files are held. The error says why some still are.
func (h *breakers) fit(t Target, left int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[t]
	if held == nil || left >= held.sizes[1] || time.Since(held.asked) > forgetAfter {
		return nil
	}
	err := h.roomLeft(left)
	if left >= held.sizes[0] {
		// Those that fit by now go on.
		held.from, held.err, held.sizes[0] = left+1, err, held.sizes[1]
		held.policy.Reset()
		h.poll()
	}
	return err
}

// roomLeft says why large files are held.
func (h *breakers) roomLeft(left int64) error {
	remedy := "free some space (what is in the trash counts too), or have the quota raised"
	if h.noun == config.Down.Noun() {
		remedy = "free some space, or have the quota raised"
	}
	return fmt.Errorf("there is room for %s only: %s; smaller files are %sed",
		humanize.IBytes(uint64(max(left, 0))), remedy, h.noun)
}

// trialEnded takes the result of a trial: the file was transferred, or it was refused, or its end is no evidence.
func (h *breakers) trialEnded(held *breaker, transferred bool, refused error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held.trying = false
	switch {
	case h.held[held.Target] != held:
	case transferred:
		h.close(held)
	case refused != nil:
		held.backOff(refused)
	default:
		held.open, held.next = true, time.Now().Add(maxProbeDelay)
	}
	h.mu.Notify()
}

// wait returns when it is not held.
func (h *breakers) wait(ctx context.Context, t Target) error {
	return h.mu.Wait(ctx, func() bool { return h.held[t] == nil })
}

// probeNow probes something now, if it is held.
func (h *breakers) probeNow(t Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[t]; held != nil && held.probe != nil {
		held.next = time.Now()
		h.mu.Notify()
	}
}

// run probes until ctx ends. Probes run side by side: one that takes long delays no other.
func (h *breakers) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	for {
		h.mu.Lock()
		changed := h.mu.Changed()
		now := time.Now()
		var first *breaker
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
func (h *breakers) probe(ctx context.Context, held *breaker) {
	var err error
	if held.probe != nil {
		err = held.probe(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.mu.Notify()
	held.probing = false
	now := time.Now()
	switch {
	case h.held[held.Target] != held: // it was ended meanwhile
	case held.probe == nil && now.Before(held.next): // a file ran into it meanwhile
	case held.trying:
		held.next = now.Add(maxProbeDelay)
	case err != nil:
		held.backOff(err)
	case held.trial && !held.open:
		held.open, held.next = true, now.Add(maxProbeDelay)
		h.poll()
	default:
		h.close(held) // also if no file has come that could be tried
	}
}

// backOff probes a breaker again later, and ever later.
func (held *breaker) backOff(err error) {
	held.err = err
	held.policy.MaxInterval = held.slowest()
	held.next = time.Now().Add(min(held.policy.NextBackOff(), held.slowest()))
}

// close ends a hold. h.mu must be held.
func (h *breakers) close(held *breaker) {
	delete(h.held, held.Target)
	if h.kinds[held.Kind]--; h.kinds[held.Kind] == 0 {
		delete(h.kinds, held.Kind)
	}
	if held.probe == nil {
		return
	}
	now := time.Now()
	for t, last := range h.ended {
		if now.Sub(last.at) >= maxProbeDelay {
			delete(h.ended, t)
		}
	}
	h.ended[held.Target] = closedBreaker{now, held.policy}
	h.log.Info(h.noun+"s go on", zap.String("held", held.what()), zap.Duration("after", now.Sub(held.since)))
	h.poll()
}

// list returns every hold, in a stable order.
func (h *breakers) list() (all []Hold) {
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

// counts returns how many holds there are, and how many there have been.
func (h *breakers) counts() (now, begun Holds) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.kinds), maps.Clone(h.begun)
}
