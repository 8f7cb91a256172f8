package uploader

import "maps"

// Paused is what people have paused. The zero value is nothing.
type Paused struct {
	Site     bool            // all uploads
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
	return u.schedule.pause(p)
}

// Paused returns what is paused.
func (u *Uploader) Paused() Paused {
	u.schedule.mu.Lock()
	defer u.schedule.mu.Unlock()
	return u.schedule.paused
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
	s.notify()
	return ended
}
