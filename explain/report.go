// Package explain tells why a file is synced or is not: it walks through the rules of the uploader on the document as
// it stands, looks where the uploader would look, and says what to do. It changes nothing.
package explain

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Verdict is what was found of one rule, or of all together.
type Verdict string

// The verdicts, the best first.
const (
	OK      Verdict = "ok"      // as it should be; of all together: synced
	Waiting Verdict = "waiting" // it will be done without anybody's help
	Unknown Verdict = "unknown" // it can't be told from here
	Wrong   Verdict = "wrong"   // somebody has to do something
)

func (v Verdict) rank() int { return slices.Index([]Verdict{OK, Waiting, Unknown, Wrong}, v) }

// Step is one rule, and what was found.
type Step struct {
	Rule    string  `json:"rule"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	Mend    string  `json:"mend,omitempty"` // what somebody should do about it
}

// State is how far a file is.
type State string

// The states of files.
const (
	Synced   State = "synced"   // its record says that the site has it
	Due      State = "due"      // it is uploaded now or next
	Resting  State = "resting"  // it waits for its next try
	Paused   State = "paused"   // somebody has paused it in its record
	Failed   State = "failed"   // it has no tries left
	Absent   State = "absent"   // the active site does not have it
	Unwanted State = "unwanted" // it has no record of the remote site
	Unusable State = "unusable" // its entry or its record can't be worked with
)

// File is one file of the representation.
type File struct {
	ID         string     `json:"id"`
	Path       string     `json:"path"`             // as the document has it: {root}/...
	Source     string     `json:"source,omitempty"` // where it is read from on this machine
	Remote     string     `json:"remote,omitempty"` // its path on the remote site
	Size       int64      `json:"size"`             // as published; -1 if that is not known
	State      State      `json:"state"`
	SyncedAt   *time.Time `json:"synced_at,omitempty"`
	RemoteID   string     `json:"remote_id,omitempty"` // the site's id of it, as recorded
	Tries      int        `json:"tries"`
	Error      string     `json:"error,omitempty"` // of the last failed try
	LastFailed *time.Time `json:"last_failed,omitempty"`
	NextTry    *time.Time `json:"next_try,omitempty"`
	Steps      []Step     `json:"steps"`
	Verdict    Verdict    `json:"verdict"` // the worst of its steps
}

// Group is all files of the representation that the same was found of.
type Group struct {
	Files   int     `json:"files"`
	Bytes   int64   `json:"bytes"` // without files of unknown size
	Verdict Verdict `json:"verdict"`
	Example File    `json:"example"` // the first of them
	Last    string  `json:"last"`    // path of the last of them
	Do      string  `json:"do"`
}

// Report is what is to be told of a representation.
type Report struct {
	At             time.Time  `json:"at"`
	Project        string     `json:"project"`
	Asked          string     `json:"asked"`
	ActiveSite     string     `json:"active_site"`
	RemoteSite     string     `json:"remote_site"` // "": nothing is synced
	Representation string     `json:"representation"`
	Name           string     `json:"name,omitempty"` // such as "exr"
	Published      *time.Time `json:"published,omitempty"`
	Files          int        `json:"files"`  // of the representation
	Told           int        `json:"told"`   // of them are told of here: those that were asked for
	Others         []string   `json:"others"` // representations that name the path that was asked for too, the newest first
	More           bool       `json:"more"`   // there are still more of them
	Steps          []Step     `json:"steps"`  // about the representation, and about what works on it
	Groups         []Group    `json:"groups"` // the worst first
	Verdict        Verdict    `json:"verdict"`
	Do             string     `json:"do"` // the one thing to do
}

// Fine reports whether nobody has to do anything: all is synced, or on its way.
func (r *Report) Fine() bool { return r.Verdict == OK || r.Verdict == Waiting }

// worst is the worst of the verdicts; none is fine.
func worst(steps []Step) Verdict {
	v := OK
	for _, s := range steps {
		if s.Verdict.rank() > v.rank() {
			v = s.Verdict
		}
	}
	return v
}

// group puts the files together that the same was found of.
func group(files []File) []Group {
	var groups []Group
	byOutcome := map[string]int{}
	for _, f := range files {
		key := outcome(&f)
		i, ok := byOutcome[key]
		if !ok {
			i = len(groups)
			byOutcome[key] = i
			groups = append(groups, Group{Verdict: f.Verdict, Example: f, Do: toDo(&f)})
		}
		g := &groups[i]
		g.Files++
		if g.Bytes += max(f.Size, 0); g.Bytes < 0 {
			g.Bytes = math.MaxInt64 // sizes that are not true
		}
		g.Last = f.Path
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Verdict.rank(), a.Verdict.rank()), cmp.Compare(b.Files, a.Files))
	})
	return groups
}
