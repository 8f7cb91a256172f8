package uploader

import (
	"context"
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
)

// largeFile is from which size on, in bytes, a file may not take the last of the transfers, so that a few
// giant caches do not stop everything else.
const largeFile = 64 << 20

// task is one file to be uploaded.
type task struct {
	job  *job
	file avalon.File
}

// job is what is under way for one representation.
type job struct {
	key      avalon.Key
	lane     watcher.Lane
	seen     time.Time // when the representation came to our notice
	roots    avalon.Roots
	planning bool // the document is being read; the job does not end meanwhile
	again    bool // planned anew while files were under way: look once more when they are done
	known    map[avalon.FileKey]bool
	pending  []avalon.File
	running  int
	total    int // files since the job began
	wake     time.Duration

	outcomes  []avalon.Outcome
	recording bool
	recorded  time.Time // when outcomes were last written
	flush     *time.Timer
}

// schedule deals the files that are due out to the transfers: live ones before the backlog, and within a
// lane one file of each representation in turn, so that a sequence of 2,000 frames does not make a single
// file wait.
type schedule struct {
	transfers int

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that somebody may wait for
	jobs    map[avalon.Key]*job
	turn    [2][]*job // jobs with pending files, by lane
	files   [2]int    // pending files, by lane
	large   int       // large files that run
}

func newSchedule(transfers int) *schedule {
	return &schedule{transfers: transfers, changed: make(chan struct{}), jobs: map[avalon.Key]*job{}}
}

// begin starts planning a representation. end must follow.
func (s *schedule) begin(item watcher.Item) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[item.Key]
	if j == nil {
		j = &job{key: item.Key, lane: item.Lane, seen: item.Seen, known: map[avalon.FileKey]bool{}}
		s.jobs[item.Key] = j
	} else {
		j.again = true
	}
	if item.Lane < j.lane {
		s.move(j, item.Lane)
	}
	j.planning = true
	return j
}

// end ends the planning with the files that are due. Those that are under way already are left out. It
// reports whether the job is over, as there was nothing to do.
func (s *schedule) end(j *job, roots avalon.Roots, due []avalon.File) (over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.planning = false
	if roots != nil {
		j.roots = roots
	}
	queued := len(j.pending) > 0
	for _, f := range due {
		if !j.known[f.Key()] {
			j.known[f.Key()] = true
			j.pending = append(j.pending, f)
			j.total++
			s.files[j.lane]++
		}
	}
	if !queued && len(j.pending) > 0 {
		s.turn[j.lane] = append(s.turn[j.lane], j)
	}
	s.notify()
	return s.over(j)
}

// next hands out a file when there is one.
func (s *schedule) next(ctx context.Context) (task, error) {
	var t task
	err := s.wait(ctx, func() bool {
		for lane := range s.turn {
			for i, j := range s.turn[lane] {
				f := j.pending[0]
				if f.Size >= largeFile && s.large >= max(1, s.transfers*3/4) {
					continue
				}
				j.pending = j.pending[1:]
				j.running++
				s.files[lane]--
				if f.Size >= largeFile {
					s.large++
				}
				rest := append(s.turn[lane][:i:i], s.turn[lane][i+1:]...)
				if len(j.pending) > 0 {
					rest = append(rest, j)
				}
				s.turn[lane] = rest
				t = task{job: j, file: f}
				s.notify()
				return true
			}
		}
		return false
	})
	return t, err
}

// room waits until a lane has few enough files waiting to be worth planning more.
func (s *schedule) room(ctx context.Context, lane watcher.Lane) error {
	limit := 8 * s.transfers
	if lane == watcher.Live {
		limit = 10_000
	}
	return s.wait(ctx, func() bool { return s.files[lane] < limit })
}

// finish says that a file is done with, and what is to be recorded of it, if anything. wake is when to look
// at the representation again; 0 if there is no need. It returns outcomes that are to be recorded now; the
// caller does that and calls recorded.
func (s *schedule) finish(t task, outcome *avalon.Outcome, wake time.Duration, later func(*job)) (record []avalon.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := t.job
	j.running--
	if t.file.Size >= largeFile {
		s.large--
	}
	if wake > 0 && (j.wake == 0 || wake < j.wake) {
		j.wake = wake
	}
	if outcome != nil {
		j.outcomes = append(j.outcomes, *outcome)
	}
	s.notify()
	return s.takeOutcomes(j, later)
}

const (
	// recordEvery is the shortest time between two updates of one document.
	recordEvery = 100 * time.Millisecond
	// recordParts is into how many updates the outcomes of a representation are grouped at the most, but for
	// the last.
	recordParts = 50
)

// takeOutcomes hands out what has gathered if it is time to write it: when the last file is done, and before
// that in groups, as every update rewrites the whole document on the server. later is called when it
// becomes time without anything else happening.
func (s *schedule) takeOutcomes(j *job, later func(*job)) []avalon.Outcome {
	if j.recording || len(j.outcomes) == 0 {
		return nil
	}
	if drained := len(j.pending)+j.running == 0; !drained {
		if len(j.outcomes) < (j.total+recordParts-1)/recordParts {
			return nil
		}
		if wait := recordEvery - time.Since(j.recorded); wait > 0 {
			if j.flush == nil {
				j.flush = time.AfterFunc(wait, func() { later(j) })
			}
			return nil
		}
	}
	if j.flush != nil {
		j.flush.Stop()
		j.flush = nil
	}
	out := j.outcomes
	j.outcomes, j.recording, j.recorded = nil, true, time.Now()
	return out
}

// due is takeOutcomes for when the wait is over.
func (s *schedule) due(j *job, later func(*job)) []avalon.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.flush = nil
	return s.takeOutcomes(j, later)
}

// recordedAll says that what takeOutcomes handed out is written. It returns what has gathered meanwhile, if
// it is time for that, and whether the job is over.
func (s *schedule) recordedAll(j *job, later func(*job)) (more []avalon.Outcome, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.recording = false
	if more = s.takeOutcomes(j, later); more != nil {
		return more, false
	}
	return nil, s.over(j)
}

// ended reports whether a job without outcomes is over.
func (s *schedule) ended(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over(j)
}

// over takes a job out of the schedule if nothing is left of it.
func (s *schedule) over(j *job) bool {
	if j.planning || j.recording || len(j.pending)+j.running+len(j.outcomes) > 0 || s.jobs[j.key] != j {
		return false
	}
	delete(s.jobs, j.key)
	s.notify()
	return true
}

// idle waits until nothing is under way.
func (s *schedule) idle(ctx context.Context) error {
	return s.wait(ctx, func() bool { return len(s.jobs) == 0 })
}

func (s *schedule) move(j *job, lane watcher.Lane) {
	for i, other := range s.turn[j.lane] {
		if other == j {
			s.turn[j.lane] = append(s.turn[j.lane][:i:i], s.turn[j.lane][i+1:]...)
			s.turn[lane] = append(s.turn[lane], j)
			break
		}
	}
	s.files[j.lane] -= len(j.pending)
	s.files[lane] += len(j.pending)
	j.lane = lane
}

func (s *schedule) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait calls try with the lock held, now and after every change, until it succeeds or ctx ends.
func (s *schedule) wait(ctx context.Context, try func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := ctx.Err() == nil && try(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
