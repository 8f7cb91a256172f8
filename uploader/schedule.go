package uploader

import (
	"context"
	"strings"
	"sync"
	"time"

	"sitesync/avalon"
	"sitesync/watcher"
)

// largeFile is from which size on, in bytes, a file may not take the last of the transfers, so that a few
// giant caches do not stop everything else.
const largeFile = 64 << 20

// mostLive is how many files that were published just now are planned at once, about.
const mostLive = 10_000

// An update rewrites the whole document on the server, so outcomes of a representation are gathered: until
// its last file is done, or there are enough of them, or the oldest has waited long enough.
const (
	recordParts = 50                     // updates of a representation at the most, while they are not late
	recordEvery = 100 * time.Millisecond // shortest time between two updates of it
	recordLate  = 5 * time.Second        // longest time an outcome waits to be written
)

// task is one file to be uploaded.
type task struct {
	job   *job
	file  avalon.File
	roots avalon.Roots // of its document
	lane  watcher.Lane // that it was handed out from

	transfer *transfer // once it runs
	progress *progress // of its upload; nil if that is not noted
}

func (t task) ref() fileRef { return fileRef{t.job.key, t.file.Key()} }

// result is an outcome, with what is told of it once it is recorded.
type result struct {
	avalon.Outcome
	bytes int64
	took  time.Duration
	seen  time.Time // when the file came to our notice
}

// job is what is under way for one representation.
type job struct {
	key      avalon.Key
	lane     watcher.Lane
	seen     time.Time // when the representation came to our notice
	roots    avalon.Roots
	planning bool // the document is being read; the job does not end meanwhile
	again    bool // look once more when it is over
	known    map[avalon.FileKey]bool
	pending  []avalon.File
	running  map[avalon.FileKey]avalon.File
	total    int           // files since the job began
	wake     time.Duration // look once more so long after it is over; 0 if there is no need

	results   []result
	oldest    time.Time // when the first of results came
	recording bool
	recorded  time.Time // when results were last taken
}

// schedule deals the files that are due out to the transfers: live ones before the backlog, and within a
// lane one file of each representation in turn, so that a sequence of 2,000 frames does not make a single
// file wait. It gathers what came of them until it is time to write it.
type schedule struct {
	transfers int
	queue     *watcher.Queue

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that somebody may wait for
	jobs    map[avalon.Key]*job
	turn    [2][]*job     // jobs with pending files, by lane
	files   [2]int        // pending files, by lane
	full    bool          // whether there are enough of them of the backlog
	running map[*job]bool // jobs with running files
	large   int           // large files that run
	backlog int           // files of the backlog that run
	held    map[*job]bool // jobs whose results wait to be written
	paused  Paused
}

func newSchedule(transfers int, queue *watcher.Queue) *schedule {
	return &schedule{transfers: transfers, queue: queue, changed: make(chan struct{}),
		jobs: map[avalon.Key]*job{}, running: map[*job]bool{}, held: map[*job]bool{}}
}

// begin starts planning a representation. end must follow.
func (s *schedule) begin(item watcher.Item) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[item.Key]
	if j == nil {
		j = &job{key: item.Key, lane: item.Lane, seen: item.Seen, known: map[avalon.FileKey]bool{},
			running: map[avalon.FileKey]avalon.File{}}
		s.jobs[item.Key] = j
	} else {
		// What is under way was planned by an older document.
		j.again = true
	}
	if item.Lane < j.lane {
		s.move(j, item.Lane)
	}
	j.planning = true
	return j
}

// end ends the planning with the files that are due. Those that are under way already are left out. wake is
// when to look at the representation again; 0 if there is no need.
func (s *schedule) end(j *job, roots avalon.Roots, due []avalon.File, wake time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.planning = false
	if roots != nil {
		j.roots = roots
	}
	if s.paused.Is(j.key.Project) {
		due = nil
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
	j.wakeIn(wake)
	s.settle(j)
}

// next hands out a file when there is one. finish must follow. To the spare transfer, which is one more than transfers,
// only what would otherwise wait for a file of the backlog or a large one to end: what has just been published and is
// not large itself.
func (s *schedule) next(ctx context.Context, spare bool) (task, error) {
	var t task
	err := s.wait(ctx, func() bool {
		if spare && s.backlog+s.large == 0 {
			return false
		}
		for lane := range s.turn {
			if spare && watcher.Lane(lane) == watcher.Backlog {
				return false
			}
			for i, j := range s.turn[lane] {
				f := j.pending[0]
				if f.Size >= largeFile && (spare || s.large >= max(1, s.transfers*3/4)) {
					continue
				}
				j.pending = j.pending[1:]
				j.running[f.Key()] = f
				s.running[j] = true
				s.files[lane]--
				if f.Size >= largeFile {
					s.large++
				}
				if watcher.Lane(lane) == watcher.Backlog {
					s.backlog++
				}
				s.turn[lane] = append(s.turn[lane][:i:i], s.turn[lane][i+1:]...)
				if len(j.pending) > 0 {
					s.turn[lane] = append(s.turn[lane], j)
				}
				t = task{job: j, file: f, roots: j.roots, lane: watcher.Lane(lane)}
				s.notify()
				return true
			}
		}
		return false
	})
	return t, err
}

// beside returns the files that are uploaded now or soon and are in the same folder as a task's: all of its
// representation, and as many of others as are planned ahead of a backlog.
func (s *schedule) beside(t task) (out []task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder := folderOf(t.file.Path)
	add := func(j *job, f avalon.File) {
		if folderOf(f.Path) == folder {
			out = append(out, task{job: j, file: f, roots: j.roots})
		}
	}
	for _, f := range t.job.pending {
		add(t.job, f)
	}
	for j := range s.running {
		for _, f := range j.running {
			add(j, f)
		}
	}
	left := s.ahead()
	for _, lane := range s.turn {
		for _, j := range lane {
			if j == t.job {
				continue
			}
			for _, f := range j.pending {
				if left--; left < 0 {
					return out
				}
				add(j, f)
			}
		}
	}
	return out
}

// folderOf is the folder of a path as it is written in a document.
func folderOf(p string) string { return p[:strings.LastIndexAny(p, `/\`)+1] }

// ahead is how many files of a backlog are planned before they are uploaded.
func (s *schedule) ahead() int { return 8 * s.transfers }

// room waits until a lane has few enough files waiting to be worth planning more. Once there are enough of a backlog, it
// waits until half of them have been handed out, so that documents are read several at a time. What was published just
// now does not wait for that: each of many representations has its turn.
func (s *schedule) room(ctx context.Context, lane watcher.Lane) error {
	return s.wait(ctx, func() bool { return s.hasRoom(lane) })
}

func (s *schedule) hasRoom(lane watcher.Lane) bool {
	if lane == watcher.Live {
		return s.files[lane] < mostLive
	}
	switch limit := s.ahead(); {
	case s.files[lane] >= limit:
		s.full = true
	case s.files[lane] <= limit/2:
		s.full = false
	}
	return !s.full
}

// finish says that a file is done with, and what is to be recorded of it, if anything. wake is when to look
// at the representation again; 0 if there is no need. It returns results that are to be recorded now, if it
// is time; recorded must follow.
func (s *schedule) finish(t task, r *result, wake time.Duration) []result {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := t.job
	if delete(j.running, t.file.Key()); len(j.running) == 0 {
		delete(s.running, j)
	}
	if t.file.Size >= largeFile {
		s.large--
	}
	if t.lane == watcher.Backlog {
		s.backlog--
	}
	j.wakeIn(wake)
	if r != nil {
		if len(j.results) == 0 {
			j.oldest = time.Now()
		}
		j.results = append(j.results, *r)
	}
	out := s.take(j)
	s.settle(j)
	return out
}

// recorded says that results which were handed out are written. It returns what has gathered meanwhile, if
// it is time for that.
func (s *schedule) recorded(j *job) []result {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.recording = false
	out := s.take(j)
	s.settle(j)
	return out
}

// late waits for results that have become late and hands them out; recorded must follow.
func (s *schedule) late(ctx context.Context) (*job, []result, error) {
	for {
		s.mu.Lock()
		var first *job
		for j := range s.held {
			if first == nil || j.due().Before(first.due()) {
				first = j
			}
		}
		var timer <-chan time.Time
		if first != nil {
			if out := s.take(first); out != nil {
				s.mu.Unlock()
				return first, out, nil
			}
			timer = time.After(time.Until(first.due()))
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// rest hands out all results that are left, for when no more files are handed out.
func (s *schedule) rest() map[*job][]result {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[*job][]result{}
	for j := range s.held {
		out[j] = j.results
		j.results = nil
	}
	clear(s.held)
	return out
}

// take hands out a job's results if it is time to write them.
func (s *schedule) take(j *job) []result {
	delete(s.held, j)
	if j.recording || len(j.results) == 0 {
		return nil
	}
	if time.Now().Before(j.due()) {
		s.held[j] = true
		return nil
	}
	out := j.results
	j.results, j.recording, j.recorded = nil, true, time.Now()
	return out
}

// due is when the results of a job are to be written.
func (j *job) due() time.Time {
	switch {
	case len(j.pending)+len(j.running) == 0:
		return time.Time{} // these are the last
	case len(j.results) >= (j.total+recordParts-1)/recordParts:
		return j.recorded.Add(recordEvery)
	}
	return j.oldest.Add(recordLate)
}

// wakeIn has the job looked at again so long after it is over, or sooner if that is wanted.
func (j *job) wakeIn(d time.Duration) {
	if d > 0 && (j.wake == 0 || d < j.wake) {
		j.wake = d
	}
}

// again has a job looked at once more when it is over.
func (s *schedule) again(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.again = true
}

// settle takes a job out of the schedule if nothing is left of it, and tells who waits for a change. The job
// is back in the queue, if there is reason, before it has left the schedule.
func (s *schedule) settle(j *job) {
	defer s.notify()
	if j.planning || j.recording || len(j.pending)+len(j.running)+len(j.results) > 0 || s.jobs[j.key] != j {
		return
	}
	switch {
	case j.again:
		s.queue.Add(j.key, j.lane)
	case j.wake > 0:
		s.queue.AddAfter(j.key, j.lane, j.wake)
	}
	delete(s.jobs, j.key)
}

// idle reports that nothing is under way, queued or delayed.
func (s *schedule) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) == 0 && s.queue.Idle()
}

// move puts a job into another lane.
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
