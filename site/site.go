// Package site is the contract between the uploader and the storage of a site: how files are read from it and written
// to it, and how errors are classed. Each kind of storage, a provider, is a package of its own below this one;
// CONTRIBUTING.md says how to add one.
package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sitesync/duration"
)

// Incoming is one file to be written to a site.
type Incoming struct {
	Root    string      // of the site, that Path is below
	Path    string      // destination, with the root: "/My Drive/Test/a.exr"
	Content io.ReaderAt // open for as long as Put runs; it may be a [Ranger]
	Size    int64       // bytes of Content
	ModTime time.Time
	MD5     string // of Content, hexadecimal; empty if its site does not know it

	// Priority lets the file go before others where the service limits the rate of requests.
	Priority bool

	// OnProgress is called with the bytes written so far. The number decreases when something is written again. May be
	// nil.
	OnProgress func(bytes int64)

	// Upcoming returns the paths of files that are about to be written to the same folder, such as the other frames of
	// a sequence, so that a site can prepare for all of them at once. May be nil.
	Upcoming func() []string

	// MayCreate is called right before something is created in a folder. Its error ends Put. May be nil.
	MayCreate func(folder string) error
}

// Object is a file on a site.
type Object struct {
	ID  string // the site's own id
	MD5 string // hexadecimal, as confirmed by the site

	// Replaced says that Put has replaced other content, where that is worth to be logged: people put files there too.
	Replaced bool
}

// Found is the result of a probe.
type Found struct {
	Object
	State         State
	Name          string
	CurrentFolder string // name of the folder that it is in now, if that is known and another one
	Size          int64  // bytes
	Folder        bool   // it is a folder
	ByID          bool   // it was not listed at its path, so it was looked up by its id
}

// State says whether a file is where it was uploaded to.
type State int

// The states.
const (
	NotFound State = iota // it does not exist, or it is hidden from the account
	Trashed               // it, or a folder above it, is in the trash
	Moved                 // it was moved or renamed
	Present               // something is at the path
)

// Backend is the storage of a site. All methods are safe for concurrent use.
//
// Its errors are classed: [ClassOf] says how to handle them.
type Backend interface {
	// Put makes the file at the path hold exactly the content, creates the folders above it, and returns once the site
	// has confirmed its MD5. It is idempotent: an existing file is replaced at once, and keeps its id if the site has
	// ids, one that holds the content already is left as it is, and there is never a second file of the name, no matter
	// what was interrupted when. After an error there is the old file or none, unless the site has stored something
	// else than was sent; the next Put repairs that. An error of reading the content is returned as it is.
	Put(ctx context.Context, in Incoming) (Object, error)

	// Check makes sure that the credentials are accepted and that every root exists and can be written to. It changes
	// nothing on the site.
	Check(ctx context.Context) error

	// CheckRoot is Check for one root.
	CheckRoot(ctx context.Context, root string) error

	// Left returns how many bytes can still be written below a root; known is false if the service does not say so, or
	// sets no limit.
	Left(ctx context.Context, root string) (bytes int64, known bool, err error)

	// Close drops idle connections. No method may be called afterwards.
	Close() error
}

// A backend may implement these as well; callers use a type assertion.
type (
	// Prober finds uploaded files. It changes nothing.
	Prober interface {
		// Probe finds the file that was uploaded to a path, by the id that it got then; without an id, whatever is at
		// the path. On a backend that was just opened the answer is current, not remembered.
		Probe(ctx context.Context, path, id string) (Found, error)
	}

	// Quotaer reports storage space.
	Quotaer interface {
		Quota(ctx context.Context) (Quota, error)
	}

	// Clock compares this machine's clock with the service's.
	Clock interface {
		// ClockAhead is how far this machine's clock is ahead of the service's, by its last answer, to some seconds;
		// negative if it is behind. It is not known before the first answer.
		ClockAhead() (ahead time.Duration, known bool)
	}

	// Accounter acts as an account of the service.
	Accounter interface {
		Account() string // display name
	}

	// Statser counts its requests, for metrics.
	Statser interface {
		Stats() Stats
	}
)

// Quota is the storage space of an account.
type Quota struct {
	Known bool  // whether the service reports it
	Limit int64 // bytes; 0: none
	Used  int64 // bytes, including the trash
}

// Stats are the counters of a backend since it was opened.
type Stats struct {
	Requests  map[Request]int64
	Throttled int64   // answers that reported too many requests
	Limit     float64 // requests a second at present; infinite while the service has set no limit
}

// Request is a class of requests; there are few.
type Request struct {
	Kind    string // the service's name of the method, such as files.list
	Outcome string // such as ok or not_found
}

// Class says whose fault an error is, and so how it is handled.
type Class int

// The classes.
const (
	FileError   Class = iota // the file's: it costs a try, the file backs off, and after retry_cnt tries it has failed
	NotReady                 // of nobody: the source is not complete yet; look again soon, at no cost of a try
	Transient                // the service is busy or unreachable: retry later, at no cost of a try
	Unavailable              // of the site or a root of it: nothing is transferred until a probe succeeds
)

// String names the class for tests and logs.
func (c Class) String() string {
	return [...]string{"file error", "not ready", "transient", "unavailable"}[c]
}

// Scope says what an error of class [Unavailable] concerns.
type Scope int

// The scopes.
const (
	WholeSite Scope = iota // all transfers: the credentials, a limit of the account
	OneRoot                // transfers of files below the root
	Creations              // new files and folders below the root, or in Folder; existing ones can be updated
	LargeOnes              // files below the root that are as large as this one, or larger
	OneFolder              // of a [Source]: files in Folder, below the root
	OneFile                // just this file, to be tried again after RetryAfter
	Settings               // files that the settings do not fit in the same way; the error says how
)

// Error is an error with its class.
type Error struct {
	Class      Class
	Err        error
	RetryAfter time.Duration // how long the service asked us to wait; 0 if it did not
	Shared     bool          // of class Transient: any upload would have failed
	Scope      Scope         // of class Unavailable
	Folder     string        // of scope OneFolder; of Creations, the path of the full folder, empty for the whole root
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Classed returns an error of the class.
func Classed(c Class, err error) error { return &Error{Class: c, Err: err} }

// UnavailableIn returns an error of class [Unavailable] with its scope.
func UnavailableIn(scope Scope, err error) error {
	return &Error{Class: Unavailable, Scope: scope, Err: err}
}

// asError returns what is known of an error: nothing, in the zero value, if it is not classed.
func asError(err error) Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return *e
	}
	return Error{}
}

// IsShared reports whether any upload would have met the error.
func IsShared(err error) bool { return asError(err).Shared }

// RetryAfter returns how long to wait before the next attempt; 0 if the error does not say.
func RetryAfter(err error) time.Duration { return asError(err).RetryAfter }

// ScopeOf returns the scope of an error of class [Unavailable], and the folder of one of scope [Creations] or
// [OneFolder].
func ScopeOf(err error) (scope Scope, folder string) {
	e := asError(err)
	return e.Scope, e.Folder
}

// ClassOf returns the class of an error: FileError if it has none.
func ClassOf(err error) Class { return asError(err).Class }

// clockTolerance is how far clocks may be apart before that is reported. Google accepts signatures by a clock that is
// some minutes off, and an answer, which has the time of its beginning, may be on its way for seconds.
const clockTolerance = time.Minute

// ClocksDiffer reports whether two clocks differ so much that one should be set.
func ClocksDiffer(ahead time.Duration) bool { return ahead.Abs() >= clockTolerance }

// ClockTrouble says how wrong the clock of this machine is, which is that far ahead of another one (negative: behind),
// and what to do. It is empty if the clock is right.
func ClockTrouble(ahead time.Duration, other string) string {
	return ClockOf("this machine", ahead, other)
}

// ClockOf is ClockTrouble for another machine. It is rounded to minutes, so that the text stays the same.
func ClockOf(machine string, ahead time.Duration, other string) string {
	if !ClocksDiffer(ahead) {
		return ""
	}
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	apart := duration.Exact(ahead.Abs().Round(time.Minute))
	return fmt.Sprintf("the clock of %s is %s %s %s; set it right, best by NTP", machine, apart, way, other)
}

// Journal keeps what must survive the process, and what processes that write to the site at the same time must agree
// on: the id that a name is created with, so that a create which is repeated, by whichever process, makes no second
// file; and upload sessions, so that a large upload resumes where it was. All methods are safe for concurrent use.
type Journal interface {
	// Claim makes sure that each of the names has a claim, and confirms those of the account, which then nobody
	// replaces for as long as hold says. It returns the claims as they are now, in the order of the requests. All is
	// one write.
	//
	// Of new names in a folder that is to be created, and whose own claim is requested before them, nothing is claimed
	// if the folder turns out to have another id; their claims are zero then.
	Claim(ctx context.Context, account string, hold time.Duration, requests []ClaimRequest) ([]Claim, error)

	// Reserved returns the ids that an older version has reserved for names in a folder.
	Reserved(ctx context.Context, folder string) (map[string]Reservation, error)

	// Session returns the upload session of a file, by a key, if there is one for a source of that size and time, and
	// "" otherwise. No other process is given the same one at the same time. The URI is a bearer secret.
	Session(ctx context.Context, key string, size int64, modTime time.Time) (uri string, err error)

	// SaveSession saves an upload session, in place of the key's last one.
	SaveSession(ctx context.Context, key string, size int64, modTime time.Time, uri string) error

	// DropSession deletes the key's upload session.
	DropSession(ctx context.Context, key string) error
}

// Claim is the id that all processes create a name with.
type Claim struct {
	ID      string
	Account string    // that the id was generated for; others can't create anything with it
	At      time.Time // when it was confirmed last, by the journal's clock; zero if it is new

	// Replaceable says that nobody creates anything under the id any more. What was created is there.
	Replaceable bool

	// Wanted says that it was not confirmed, though it is of the account: nothing was created for long, and a process
	// with another account waits for it. It is kept from that one no longer than it was.
	Wanted bool
}

// ClaimRequest asks for the claim of a name in a folder.
type ClaimRequest struct {
	Folder, Name string

	// ID, which was generated for Account, becomes the id of the name if it has none.
	ID, Account string

	// Spent is an id that can't be created with any more, as it was used for something else. A claim of it is replaced.
	// May be empty. With IfSole it is only if no process of another route has the claim, which may be creating it.
	Spent  string
	IfSole bool

	// Stale is a claim that is replaced if it is Replaceable, and still just so. If it isn't, and of another account,
	// that one is asked for it. May be zero.
	Stale Claim

	// InUse confirms the claim also if another account waits for it: a large file is on its way.
	InUse bool
}

// Reservation is the id that an older version has reserved for a name.
type Reservation struct {
	ID string
	At time.Time // when it was written last

	// Account is what the id was generated for. It is empty if a still older version has written it.
	Account string
}
