package uploader

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sitesync/avalon"
	"sitesync/cond"
	"sitesync/watcher"
)

// largeFile is from which size on, in bytes, a file may not take the last of the transfers, so that a few
// giant caches do not stop everything else.
const largeFile = 64 << 20

// maxLive is how many files that were published just now are planned at once, about.
const maxLive = 10_000

// maxBlocked is how many files that may not be handed out are remembered of a lane, about 5 MB. Others are planned
// beside them, and what there is no room for is planned again after blockedRetry.
const (
	maxBlocked   = 10_000
	blockedRetry = 30 * time.Second
)

// An update rewrites the whole document on the server, so outcomes of a representation are gathered: until
// its last file is done, or there are enough of them, or the oldest has waited long enough.
const (
	maxFlushes       = 50                     // updates of a representation at the most, while they are not late
	minFlushInterval = 100 * time.Millisecond // shortest time between two updates of it
	maxFlushDelay    = 5 * time.Second        // longest time an outcome waits to be written
)

// task is one file to be transferred.
type task struct {
	job   *job
	file  avalon.File
	roots avalon.Roots // of its document
	lane  watcher.Lane // that it was handed out from

	transfer *transfer // once it runs
	progress *progress // of its upload; nil if that is not noted
}

func (t task) ref() fileRef { return fileRef{t.job.key, t.file.Key()} }

// result is an outcome, with what is logged once it is recorded.
type result struct {
	avalon.Outcome
	bytes int64
	took  time.Duration
	seen  time.Time // when the file came to our notice
}

// job is what is under way for one representation.
type job struct {
	key          avalon.Key
	lane         watcher.Lane
	seen         time.Time // when the representation came to our notice
	roots        avalon.Roots
	planning     bool // the document is being read; the job does not end meanwhile
	again        bool // look once more when it is over
	tracked      map[avalon.FileKey]bool
	pending      []*batch
	running      map[avalon.FileKey]avalon.File
	total        int           // files since the job began
	requeueAfter time.Duration // look once more so long after it is over; 0 if there is no need

	results   []result
	oldest    time.Time // when the first of results came
	recording bool
	recorded  time.Time // when results were last taken
}

// class is what decides whether a file may be handed out.
type class struct {
	large bool
	root  string // of the storage
}

// batch is the files of a job that wait for a transfer and are of one class.
type batch struct {
	job   *job
	class class
	files []avalon.File // not empty
	place uint64        // orders the batches of a lane
}

// line is the batches of a lane that are of one class, in their order.
type line struct {
	batches []*batch
	files   int
}

// scheduler deals the files that are due out to the transfers: live ones before the backlog, and within a
// lane one file of each representation in turn, so that a sequence of 2,000 frames does not make a single
// file wait. It gathers what came of them until it is time to write it.
//
// No transfer is idle while there is a file for it: what may not be handed out now, as there are large ones enough or
// its storage does not answer, is stepped over, and more is planned beside it.
type scheduler struct {
	transfers int
	share     *share // of the transfers, without the spare one
	queue     *watcher.Queue
	// which root of the storage a file is in; "" if that is unknown
	rootOf func(*avalon.File, avalon.Roots) string

	mu        cond.Mutex
	jobs      map[avalon.Key]*job
	lines     [2]map[class]*line // by lane
	places    uint64             // handed out
	full      bool               // whether there are enough files of the backlog
	skipped   bool               // whether there was no room for some since that was asked last
	running   map[*job]bool      // jobs with running files
	refused   bool               // whether the budget has had no transfer for a live file since it last had one
	large     int                // large files that run
	backlog   int                // files of the backlog that run
	slow      map[string]int     // calls of the file system that take long, by root
	unflushed map[*job]bool      // jobs whose results wait to be written
	paused    Paused
}

func newScheduler(transfers int, queue *watcher.Queue, budget *Budget) *scheduler {
	s := &scheduler{transfers: transfers, queue: queue, rootOf: func(*avalon.File, avalon.Roots) string { return "" },
		jobs: map[avalon.Key]*job{}, lines: [2]map[class]*line{{}, {}},
		running: map[*job]bool{}, slow: map[string]int{}, unflushed: map[*job]bool{}}
	s.share = budget.join(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.Notify()
	})
	return s
}

// begin starts planning a representation. end must follow.
func (s *scheduler) begin(item watcher.Item) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[item.Key]
	if j == nil {
		j = &job{key: item.Key, lane: item.Lane, seen: item.EnqueuedAt, tracked: map[avalon.FileKey]bool{},
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
// when to plan the representation again; 0 if there is no need.
func (s *scheduler) end(j *job, roots avalon.Roots, due []avalon.File, wake time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.planning = false
	if roots != nil {
		j.roots = roots
	}
	if s.paused.Is(j.key.Project) {
		due = nil
	}
	ready, all := s.count(j.lane)
	for _, f := range due {
		c := class{f.Size >= largeFile, s.rootOf(&f, j.roots)}
		switch {
		case j.tracked[f.Key()]:
			continue
		case all-ready >= maxBlocked && !s.isReady(c, false):
			s.skipped = true
			j.scheduleRequeue(blockedRetry)
			continue
		}
		j.tracked[f.Key()] = true
		j.total++
		s.add(j, c, f)
	}
	j.scheduleRequeue(wake)
	s.release(j)
}

// add has a file wait for a transfer.
func (s *scheduler) add(j *job, c class, f avalon.File) {
	for _, b := range j.pending {
		if b.class == c {
			b.files = append(b.files, f)
			s.lines[j.lane][c].files++
			return
		}
	}
	b := &batch{job: j, class: c, files: []avalon.File{f}}
	j.pending = append(j.pending, b)
	s.push(j.lane, b)
}

// push puts a batch at the end of its line.
func (s *scheduler) push(lane watcher.Lane, b *batch) {
	l := s.lines[lane][b.class]
	if l == nil {
		l = &line{}
		s.lines[lane][b.class] = l
	}
	s.places++
	b.place = s.places
	l.batches = append(l.batches, b)
	l.files += len(b.files)
}

// pull takes a batch out of its line.
func (s *scheduler) pull(lane watcher.Lane, b *batch) {
	l := s.lines[lane][b.class]
	i := slices.Index(l.batches, b)
	l.batches[i] = nil
	if i == 0 {
		l.batches = l.batches[1:]
	} else {
		l.batches = slices.Delete(l.batches, i, i+1)
	}
	if l.files -= len(b.files); len(l.batches) == 0 {
		delete(s.lines[lane], b.class)
	}
}

// isReady reports whether a file of a class may be handed out now. Of a storage that is slow to answer only so much is
// begun that it can't take all transfers.
func (s *scheduler) isReady(c class, spare bool) bool {
	if c.large && (spare || !s.share.mayAddLarge()) {
		return false
	}
	return s.slow[c.root] < max(1, s.transfers/4)
}

// nextTask hands out a file when there is one. finish must follow, and then, but for the spare transfer, free. To the
// spare transfer, which is one more than transfers, only what would otherwise wait for a file of the backlog, a large
// one or one of another uploader to end: what has just been published and is not large itself. A transfer whose storage
// is slow to answer makes room for another one.
func (s *scheduler) nextTask(ctx context.Context, spare bool) (task, error) {
	var t task
	err := s.mu.Wait(ctx, func() bool {
		if spare && s.backlog+s.large == 0 && !s.share.isCrowded() {
			return false
		}
		next, lane := s.next(spare)
		if next == nil {
			if !spare {
				s.refused = false
				s.share.rest()
			}
			return false
		}
		if !spare && !s.share.take() {
			if lane == watcher.Live && !s.refused {
				s.refused = true
				s.mu.Notify() // the spare transfer may have it
			}
			return false
		}
		s.refused = s.refused && spare
		t = s.handOut(next, lane)
		s.mu.Notify()
		return true
	})
	if err != nil {
		s.share.rest() // others need not leave anything for it
	}
	return t, err
}

// next is the batch whose first file is to be handed out next; nil if there is none.
func (s *scheduler) next(spare bool) (first *batch, lane watcher.Lane) {
	for _, lane := range []watcher.Lane{watcher.Live, watcher.Backlog} {
		if spare && lane == watcher.Backlog {
			break
		}
		for c, l := range s.lines[lane] {
			if (first == nil || l.batches[0].place < first.place) && s.isReady(c, spare) {
				first = l.batches[0]
			}
		}
		if first != nil {
			return first, lane
		}
	}
	return nil, 0
}

// soon returns up to n files that are handed out next, one of each representation.
func (s *scheduler) soon(n int) (tasks []task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane, lines := range s.lines {
		var next []*batch
		for c, l := range lines {
			if s.isReady(c, false) {
				next = append(next, l.batches[:min(n, len(l.batches))]...)
			}
		}
		slices.SortFunc(next, func(a, b *batch) int { return cmp.Compare(a.place, b.place) })
		for _, b := range next[:min(n-len(tasks), len(next))] {
			tasks = append(tasks, task{job: b.job, file: b.files[0], roots: b.job.roots, lane: watcher.Lane(lane)})
		}
	}
	return tasks
}

// handOut hands out the first file of a batch, which is the first of its line.
func (s *scheduler) handOut(b *batch, lane watcher.Lane) task {
	j, f := b.job, b.files[0]
	s.pull(lane, b)
	if b.files = b.files[1:]; len(b.files) > 0 {
		s.push(lane, b)
	} else {
		j.pending = slices.DeleteFunc(j.pending, func(other *batch) bool { return other == b })
	}
	j.running[f.Key()] = f
	s.running[j] = true
	if b.class.large {
		s.large++
		s.share.addLarge(1)
	}
	if lane == watcher.Backlog {
		s.backlog++
	}
	return task{job: j, file: f, roots: j.roots, lane: lane}
}

// free says that a transfer has nothing more to do with the file that it was handed.
func (s *scheduler) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share.add(-1)
	s.mu.Notify()
}

// addSlowCalls counts n more calls of a root that take long; fewer, if n is negative.
func (s *scheduler) addSlowCalls(root string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow[root] += n; s.slow[root] <= 0 {
		delete(s.slow, root)
	}
	s.share.add(-n)
	s.mu.Notify()
}

// count is how many files of a lane could be handed out one after the other, and how many there are.
func (s *scheduler) count(lane watcher.Lane) (ready, all int) {
	for c, l := range s.lines[lane] {
		all += l.files
		if s.isReady(c, false) {
			ready += l.files
		}
	}
	return ready, all
}

// planned is how many files wait for a transfer, by lane.
func (s *scheduler) planned() (live, backlog int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, live = s.count(watcher.Live)
	_, backlog = s.count(watcher.Backlog)
	return live, backlog
}

// siblings returns the files that are uploaded now or soon and are in the same folder as a task's: all of its
// representation, and as many of others as are planned ahead of a backlog.
func (s *scheduler) siblings(t task) (out []task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder := folderOf(t.file.Path)
	add := func(j *job, f avalon.File) {
		if folderOf(f.Path) == folder {
			out = append(out, task{job: j, file: f, roots: j.roots})
		}
	}
	for _, b := range t.job.pending {
		for _, f := range b.files {
			add(t.job, f)
		}
	}
	for j := range s.running {
		for _, f := range j.running {
			add(j, f)
		}
	}
	left := s.ahead()
	for _, lines := range s.lines {
		for _, l := range lines {
			for _, b := range l.batches {
				if b.job == t.job {
					continue
				}
				for _, f := range b.files {
					if left--; left < 0 {
						return out
					}
					add(b.job, f)
				}
			}
		}
	}
	return out
}

// folderOf is the folder of a path as it is written in a document.
func folderOf(p string) string { return p[:strings.LastIndexAny(p, `/\`)+1] }

// ahead is how many files of a backlog are planned before they are uploaded.
func (s *scheduler) ahead() int { return 8 * s.transfers }

// room waits until a lane has few enough files waiting to be worth planning more. Once there are enough of a backlog,
// it waits until half of them have been handed out, so that documents are read several at a time. What was published
// just now does not wait for that: each of many representations has its turn.
func (s *scheduler) room(ctx context.Context, lane watcher.Lane) error {
	return s.mu.Wait(ctx, func() bool { return s.hasRoom(lane) })
}

func (s *scheduler) hasRoom(lane watcher.Lane) bool {
	ready, _ := s.count(lane)
	if lane == watcher.Live {
		return ready < maxLive
	}
	switch limit := s.ahead(); {
	case ready >= limit:
		s.full = true
	case ready <= limit/2:
		s.full = false
	}
	return !s.full
}

// finish says that a file is done with, and what is to be recorded of it, if anything. wake is when to look
// at the representation again; 0 if there is no need. It returns results that are to be recorded now, if it
// is time; recorded must follow.
func (s *scheduler) finish(t task, r *result, wake time.Duration) []result {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := t.job
	if delete(j.running, t.file.Key()); len(j.running) == 0 {
		delete(s.running, j)
	}
	if t.file.Size >= largeFile {
		s.large--
		s.share.addLarge(-1)
	}
	if t.lane == watcher.Backlog {
		s.backlog--
	}
	j.scheduleRequeue(wake)
	if r != nil {
		if len(j.results) == 0 {
			j.oldest = time.Now()
		}
		j.results = append(j.results, *r)
	}
	out := s.takeResults(j)
	s.release(j)
	return out
}

// recorded says that results which were handed out are written. It returns what has gathered meanwhile, if
// it is time for that.
func (s *scheduler) recorded(j *job) []result {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.recording = false
	out := s.takeResults(j)
	s.release(j)
	return out
}

// awaitLate waits for results that have become awaitLate and hands them out; recorded must follow.
func (s *scheduler) awaitLate(ctx context.Context) (*job, []result, error) {
	for {
		s.mu.Lock()
		var first *job
		for j := range s.unflushed {
			if first == nil || j.due().Before(first.due()) {
				first = j
			}
		}
		var timer <-chan time.Time
		if first != nil {
			if out := s.takeResults(first); out != nil {
				s.mu.Unlock()
				return first, out, nil
			}
			timer = time.After(time.Until(first.due()))
		}
		changed := s.mu.Changed()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// takeAll hands out all results that are left, for when no more files are handed out.
func (s *scheduler) takeAll() map[*job][]result {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[*job][]result{}
	for j := range s.unflushed {
		out[j] = j.results
		j.results = nil
	}
	clear(s.unflushed)
	return out
}

// takeResults hands out a job's results if it is time to write them.
func (s *scheduler) takeResults(j *job) []result {
	delete(s.unflushed, j)
	if j.recording || len(j.results) == 0 {
		return nil
	}
	if time.Now().Before(j.due()) {
		s.unflushed[j] = true
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
	case len(j.results) >= (j.total+maxFlushes-1)/maxFlushes:
		return j.recorded.Add(minFlushInterval)
	}
	return j.oldest.Add(maxFlushDelay)
}

// scheduleRequeue has the job planned again after d at the latest, once it is over.
func (j *job) scheduleRequeue(d time.Duration) {
	if d > 0 && (j.requeueAfter == 0 || d < j.requeueAfter) {
		j.requeueAfter = d
	}
}

// requeueNow has a job planned again as soon as it is over.
func (s *scheduler) requeueNow(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.again = true
}

// release takes a job out of the schedule if nothing is left of it, and wakes the waiters. The job
// is back in the queue, if there is reason, before it has left the schedule.
func (s *scheduler) release(j *job) {
	defer s.mu.Notify()
	if j.planning || j.recording || len(j.pending)+len(j.running)+len(j.results) > 0 || s.jobs[j.key] != j {
		return
	}
	switch {
	case j.again:
		s.queue.Add(j.key, j.lane)
	case j.requeueAfter > 0:
		s.queue.AddAfter(j.key, j.lane, j.requeueAfter)
	}
	delete(s.jobs, j.key)
}

// idle reports that nothing is under way, queued or delayed.
func (s *scheduler) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) == 0 && s.queue.Idle()
}

// takeSkipped reports whether files were left out since it was asked last, as there was no room for them.
func (s *scheduler) takeSkipped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.skipped
	s.skipped = false
	return left
}

// move puts a job into another lane.
func (s *scheduler) move(j *job, lane watcher.Lane) {
	for _, b := range j.pending {
		s.pull(j.lane, b)
		s.push(lane, b)
	}
	j.lane = lane
}

// Paused is what people have paused. The zero value is nothing.
type Paused struct {
	Site     bool            // all transfers
	Projects map[string]bool // those of these projects; must not be changed any more
}

// Is reports whether uploads of a project are paused.
func (p Paused) Is(project string) bool { return p.Site || p.Projects[project] }

// ended reports whether something that was paused is not any more.
func (p Paused) ended(now Paused) bool {
	if p.Site || now.Site {
		return p.Site && !now.Site
	}
	for project := range p.Projects {
		if !now.Projects[project] {
			return true
		}
	}
	return false
}

// Pause sets what is paused from now on. No upload of it is begun any more; those that run go on. What waits for an
// upload is forgotten, which costs no try, so that it blocks nothing. It reports whether a pause has ended:
// then a poll has to find again what was forgotten.
func (u *Uploader) Pause(p Paused) (ended bool) {
	p.Projects = maps.Clone(p.Projects)
	return u.scheduler.pause(p)
}

// Paused returns what is paused.
func (u *Uploader) Paused() Paused {
	u.scheduler.mu.Lock()
	defer u.scheduler.mu.Unlock()
	return u.scheduler.paused
}

// pause takes the files of what is paused out of the schedule.
func (s *scheduler) pause(p Paused) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = s.paused.ended(p)
	s.paused = p
	for _, j := range s.jobs {
		if !p.Is(j.key.Project) || len(j.pending) == 0 {
			continue
		}
		for _, b := range j.pending {
			s.pull(j.lane, b)
			for _, f := range b.files {
				delete(j.tracked, f.Key())
			}
		}
		j.pending = nil
		s.release(j)
	}
	s.mu.Notify()
	return ended
}
