package web

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source tells the page what it shows. All methods may be called at the same time from many goroutines. Those with a
// context may ask the database or Drive; they are called seldom, and only while somebody looks.
type Source interface {
	// Activity is what is under way now. It is called some times a second while somebody looks.
	Activity() Activity
	// Paused is what people have paused, all first.
	Paused(ctx context.Context) ([]Pause, error)
	// Projects are the names of the projects.
	Projects(ctx context.Context) ([]string, error)
	// Count counts the files of a project. It may take long.
	Count(ctx context.Context, project string) (Counts, error)
	// Failed are files of a project that have no tries left, the last to fail first, but not more than so many.
	Failed(ctx context.Context, project string, most int) ([]FailedFile, error)
	// Room is how much space is left on the remote site.
	Room(ctx context.Context) (Room, error)
	// Explain says why a representation is synced or not. The error is [ErrUnknown] if there is none.
	Explain(ctx context.Context, project, id string) (*Explanation, error)
}

// Actions are what can be changed from the page. by tells who asks, for the record.
type Actions interface {
	// Retry has failed files tried again: those of a representation, or all of a project if id is "". It returns how
	// many there were.
	Retry(ctx context.Context, project, id string) (int64, error)
	// Pause pauses the uploads of a project, or all if it is "". No file is begun any more; those that run go on.
	Pause(ctx context.Context, project, by string) error
	// Resume ends a pause.
	Resume(ctx context.Context, project string) error
}

// ErrUnknown says that there is no such representation or project.
var ErrUnknown = errors.New("there is no such representation")

// About says which sitesync this is.
type About struct {
	ActiveSite, RemoteSite string // the latter is empty if nothing is synced
	Host                   string
	Version                string
}

// Activity is what is under way.
type Activity struct {
	Transfers     []Transfer
	Waiting       []Waiting
	Live, Backlog int // files that wait for a transfer: of fresh publishes, and others
	Held          []Held
	Away          bool // the remote site is busy or out of reach
}

// File is a file of a representation.
type File struct {
	Project string
	ID      fmt.Stringer // of the representation; comparable
	Path    string       // as in the document
	Size    int64        // bytes; negative if unknown
}

// Transfer is a file that is being uploaded.
type Transfer struct {
	File
	Number uint64 // together with Began tells it from others
	Sent   int64  // bytes
	Began  time.Time
}

// Waiting is a file that is looked at again later.
type Waiting struct {
	File
	What  string // what it waits for, in two words
	Why   string
	Until time.Time
}

// Held is what holds uploads up.
type Held struct {
	What, Why string
	Since     time.Time
	Next      time.Time // when it is looked at again; zero if only a person can end it
}

// Pause is what a person has paused.
type Pause struct {
	Project string // "": all
	By, Why string // Why may be empty
	Since   time.Time
}

// Counts are how far a project is.
type Counts struct {
	Pending, Waiting, Paused, Failed, Synced, Absent, Unusable Count
	Oldest                                                     time.Time // when the first of what is pending or waiting was published; zero if unknown
}

// Count is a number of files.
type Count struct{ Files, Bytes int64 }

// FailedFile is a file without tries left.
type FailedFile struct {
	File
	Tries      int
	Error      string
	LastFailed time.Time // zero if unknown
}

// Room is how much space there is.
type Room struct {
	Known bool
	Limit int64 // bytes; 0: none
	Used  int64
}

// SyncedFile is a file that was synced.
type SyncedFile struct {
	File
	Upload   time.Duration // how long its upload took
	Reaction time.Duration // from when it came to our notice until the database said that it is synced
}

// Explanation says why a representation is synced or not.
type Explanation struct {
	Name      string
	Published time.Time // zero if unknown
	Files     int
	Level     Level
	Do        string // the one thing to do; empty if nothing is
	Steps     []Step // about the representation, and about what works on it
	Groups    []FileGroup
}

// FileGroup is all files of a representation that the same was found of.
type FileGroup struct {
	Files       int
	Bytes       int64
	First, Last string // paths
	Level       Level
	State       string // such as "synced"
	Do          string
	Details     []Detail // of the first
	Steps       []Step   // of the first
}

// Detail is something that is known of a file.
type Detail struct{ Name, Text string }

// Step is a rule that was looked at, and what came of it.
type Step struct {
	Level             Level
	Rule, Found, Mend string
}

// Level is how good or bad something is.
type Level string

// The levels.
const (
	Good    Level = "good"
	Busy    Level = "busy" // under way
	Notice  Level = "notice"
	Bad     Level = "bad"
	Neutral Level = "neutral"
)

// Text is the level for people who do not see colors.
func (l Level) Text() string {
	switch l {
	case Good:
		return "ok"
	case Busy:
		return "under way"
	case Notice:
		return "notice"
	case Bad:
		return "trouble"
	}
	return "not known"
}
