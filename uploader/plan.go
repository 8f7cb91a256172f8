package uploader

import (
	"fmt"
	"time"

	"sitesync/avalon"
)

// rules decide which files of a representation are due.
type rules struct {
	activeSite, remoteSite string
	retryCount             int
	backoff                Backoff
}

// plan is what is to be done about a representation.
type plan struct {
	due      []avalon.File
	next     time.Duration // when to look again, as a file backs off; 0 if there is no need
	problems []string      // files that can't be worked with, each with its reason
}

// plan decides, file by file. A file is due if the remote site waits for it, the active site has it, there
// are tries left, and the wait after the last failed one is over.
func (r rules) plan(rep *avalon.Representation, now time.Time) plan {
	var p plan
	planned := map[avalon.FileKey]bool{}
	for i, f := range rep.Files {
		remote, wanted := f.On(r.remoteSite)
		if f.Problem != "" && (wanted && !remote.Created || len(f.Sites) == 0) {
			p.problems = append(p.problems, problem(i, f.Problem))
			continue
		}
		if !wanted || remote.Created || remote.Tries >= r.retryCount || planned[f.Key()] {
			continue
		}
		if remote.Problem != "" {
			p.problems = append(p.problems, problem(i, remote.Problem))
			continue
		}
		if active, ok := f.On(r.activeSite); !ok || !active.Created {
			continue // not a source
		}
		if remote.Tries > 0 && !remote.LastFailed.IsZero() {
			// A clock that is behind the one which wrote the date must not make the wait longer than it is.
			full := r.backoff.After(remote.Tries)
			if wait := min(remote.LastFailed.Add(full).Sub(now), full); wait > 0 {
				if p.next == 0 || wait < p.next {
					p.next = wait
				}
				continue
			}
		}
		planned[f.Key()] = true
		p.due = append(p.due, f)
	}
	return p
}

func problem(i int, reason string) string { return fmt.Sprintf("files[%d]: %s", i, reason) }
