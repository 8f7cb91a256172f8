// Package explain says why a file is synced or is not: it evaluates the rules of the uploader on the document as it is
// now, looks where the uploader would look, and says what to do. It changes nothing.
package explain

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"sitesync/avalon"
	"sitesync/config"
)

// Severity is how good or bad a finding is, or all of them together.
type Severity string

// The severities.
const (
	OK      Severity = "ok"      // as it should be; of all together: synced
	Waiting Severity = "waiting" // it will be done by itself
	Unknown Severity = "unknown" // it cannot be seen from here
	Wrong   Severity = "wrong"   // it needs attention
)

// severities are all of them, the best first.
var severities = []Severity{OK, Waiting, Unknown, Wrong}

func (s Severity) rank() int { return slices.Index(severities, s) }

// Remedy is what to do about a finding. Its zero value is nothing.
type Remedy struct {
	Text    string
	Command string // that does it, as it is typed in a shell; may be empty
}

// String is the remedy in one line.
func (r Remedy) String() string {
	if r.Command == "" {
		return r.Text
	}
	return r.Text + ": " + r.Command
}

// MarshalText has JSON show a remedy as one line.
func (r Remedy) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Finding is what was found of one rule.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"verdict"`
	Detail   string   `json:"detail"`
	Remedy   Remedy   `json:"mend,omitzero"`

	// Cause distinguishes what may be found of a rule with one severity: a word, or an error. It is not shown.
	Cause string `json:"-"`
}

// Findings are in the order in which the rules are evaluated.
type Findings []Finding

// add adds a finding, and returns it so that a cause can be set.
func (f *Findings) add(rule string, s Severity, remedy Remedy, format string, args ...any) *Finding {
	*f = append(*f, Finding{Rule: rule, Severity: s, Detail: fmt.Sprintf(format, args...), Remedy: remedy})
	return &(*f)[len(*f)-1]
}

// worst is the worst of the severities; OK if there is no finding.
func (f Findings) worst() Severity {
	worst := OK
	for _, finding := range f {
		if finding.Severity.rank() > worst.rank() {
			worst = finding.Severity
		}
	}
	return worst
}

// remedies are those of the findings of a severity.
func (f Findings) remedies(s Severity) (all []Remedy) {
	for _, finding := range f {
		if finding.Severity == s && finding.Remedy != (Remedy{}) {
			all = append(all, finding.Remedy)
		}
	}
	return all
}

// states are the statuses of files in JSON.
var states = map[avalon.Status]string{avalon.Synced: "synced", avalon.Pending: "due", avalon.BackingOff: "resting",
	avalon.Paused: "paused", avalon.Failed: "failed", avalon.SourceMissing: "absent", avalon.Untracked: "unwanted",
	avalon.Invalid: "unusable"}

// File is one file of the representation.
type File struct {
	ID   string `json:"id"`
	Path string `json:"path"` // as the document has it: {root}/...

	// Direction is up for an upload, and down for a download, also of a file that is not meant to be transferred, or
	// that was.
	Direction config.Direction `json:"direction"`

	Source     string     `json:"source,omitempty"` // where it is, or will be, on this machine
	Remote     string     `json:"remote,omitempty"` // where it is, or will be, on the remote site
	Size       int64      `json:"size"`             // as published, bytes; -1 if that is not known
	State      string     `json:"state"`            // its [avalon.Status], one of states
	SyncedAt   *time.Time `json:"synced_at,omitempty"`
	RemoteID   string     `json:"remote_id,omitempty"` // the site's id of it, as recorded
	Tries      int        `json:"tries"`
	Error      string     `json:"error,omitempty"` // of the last failed try
	LastFailed *time.Time `json:"last_failed,omitempty"`
	NextTry    *time.Time `json:"next_try,omitempty"`
	Findings   Findings   `json:"steps"`
	Severity   Severity   `json:"verdict"` // the worst of its findings
}

// From is where the file comes from; empty if that is not known.
func (f *File) From() string {
	if f.Direction == config.Down {
		return f.Remote
	}
	return f.Source
}

// To is where the file goes; empty if that is not known.
func (f *File) To() string {
	if f.Direction == config.Down {
		return f.Source
	}
	return f.Remote
}

// nextStep is the one thing to do about a file.
func (f *File) nextStep() Remedy {
	for _, s := range slices.Backward(severities) {
		switch remedies := f.Findings.remedies(s); {
		case len(remedies) > 1 && f.State == states[avalon.Failed]: // the first one is to retry
			return Remedy{remedies[1].Text + "; then retry", remedies[0].Command}
		case len(remedies) > 0:
			return remedies[0]
		}
	}
	return Remedy{}
}

// outcome returns the rules and severities of the findings, and their causes. Errors name the file, so its names are
// left out of them: files of which the same was found have the same outcome.
func (f *File) outcome() (rules, causes string) {
	var names []string
	for _, name := range []string{f.Source, f.Remote, f.Path, path.Base(f.Remote), f.RemoteID, f.ID} {
		if name != "" && name != "." {
			names = append(names, name, "")
		}
	}
	rules = string(f.Direction) + " " + f.State
	for _, finding := range f.Findings {
		rules += "\n" + finding.Rule + " " + string(finding.Severity)
		causes += finding.Cause + "\n"
	}
	return rules, strings.NewReplacer(names...).Replace(causes)
}

// Group is all files of the representation that the same was found of.
type Group struct {
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"` // without files of unknown size
	Severity Severity `json:"verdict"`
	Example  File     `json:"example"` // the first of them
	Last     string   `json:"last"`    // path of the last of them
	NextStep Remedy   `json:"do"`
}

// maxCauses bounds the groups of files that differ only by the causes. Where there are more of them, each error has
// something of its own in it, such as a size or a checksum, and the files are one group.
const maxCauses = 5

// group groups the files that the same was found of, the worst first.
func group(files []File) []Group {
	keys := make([][2]string, len(files))
	known := map[string]map[string]bool{} // causes, by rules
	for i, f := range files {
		rules, causes := f.outcome()
		if keys[i] = [2]string{rules, causes}; known[rules] == nil {
			known[rules] = map[string]bool{}
		}
		known[rules][causes] = true
	}
	var groups []Group
	indexes := map[[2]string]int{}
	for n, f := range files {
		key := keys[n]
		if len(known[key[0]]) > maxCauses {
			key[1] = ""
		}
		i, ok := indexes[key]
		if !ok {
			i = len(groups)
			indexes[key] = i
			groups = append(groups, Group{Severity: f.Severity, Example: f, NextStep: f.nextStep()})
		}
		g := &groups[i]
		g.Files++
		if g.Bytes += max(f.Size, 0); g.Bytes < 0 {
			g.Bytes = math.MaxInt64 // sizes that are not true
		}
		g.Last = f.Path
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Severity.rank(), a.Severity.rank()), cmp.Compare(b.Files, a.Files))
	})
	return groups
}

// Report explains a representation.
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
	Matched        int        `json:"told"`   // of them match what was asked for, and are in the groups
	Others         []string   `json:"others"` // other representations that have the path, the newest first
	More           bool       `json:"more"`   // there are more of them
	Findings       Findings   `json:"steps"`  // about the representation, and the process that syncs it
	Groups         []Group    `json:"groups"` // the worst first
	Severity       Severity   `json:"verdict"`
	NextStep       Remedy     `json:"do"` // the one thing to do
}

// Healthy reports whether nothing needs attention: all is synced, or on its way.
func (r *Report) Healthy() bool { return r.Severity == OK || r.Severity == Waiting }

// conclude derives the severity and the next step from the findings and groups.
func (r *Report) conclude() *Report {
	r.Severity = r.Findings.worst()
	if len(r.Groups) > 0 && r.Groups[0].Severity.rank() > r.Severity.rank() {
		r.Severity = r.Groups[0].Severity
	}
	r.NextStep = r.nextStep()
	return r
}

// nextStep is the one thing to do: about what stops everything, else about the most files.
func (r *Report) nextStep() Remedy {
	for _, s := range slices.Backward(severities) {
		if remedies := r.Findings.remedies(s); len(remedies) > 0 {
			return remedies[0]
		}
		for _, g := range r.Groups {
			if g.Severity == s && g.NextStep != (Remedy{}) {
				return g.NextStep
			}
		}
	}
	return Remedy{Text: "nothing"}
}
