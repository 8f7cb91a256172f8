// Package site is what the uploader and its sites have to say to each other: what an upload is, what came
// of it, and how an error is classed. It holds no behaviour; sites are in packages of their own beside it.
package site

import (
	"context"
	"errors"
	"io"
	"time"
)

// Upload is one file to be put on a site.
type Upload struct {
	Path    string      // where to, with the site's root: "/My Drive/Test/a.exr"
	Content io.ReaderAt // the source, open for as long as the upload runs
	Size    int64       // bytes of Content
	ModTime time.Time
	Urgent  bool              // it goes before others where the service sets a limit
	Sent    func(bytes int64) // told of progress, in bytes sent so far; may be nil, and may go back

	// Along tells the paths of files that are about to be uploaded to the same folder, such as the other frames of a
	// sequence: what a site has to note ahead of an upload it may note for all of them at once. May be nil.
	Along func() []string

	// MayCreate is asked right before something is created in a folder. Its error ends the upload. May be nil.
	MayCreate func(folder string) error
}

// Object is a file on a site.
type Object struct {
	ID  string // the site's own id
	MD5 string // hex digits, as the site confirmed it
}

// Found is what was found on a site by whoever only looks.
type Found struct {
	Object
	State  State
	Name   string
	In     string // name of the folder that it is in now, if that is known and another one
	Size   int64  // bytes
	Folder bool   // it is a folder
	Asked  bool   // it was not listed where it was put, so it was asked for by its id
}

// State says whether something is there.
type State int

// The states.
const (
	Nowhere   State = iota // there is none, or it is hidden from the account
	Trashed                // it, or a folder above it, is in the trash
	Elsewhere              // it was moved or renamed
	There                  // something is at the path
)

// Backend is where files are uploaded to. All methods may be called at the same time from many goroutines.
//
// Errors are classed: [ClassOf] says what is to be done about them.
type Backend interface {
	// Put makes the file at the path hold exactly the content, creating folders on the way, and returns once
	// the site has confirmed its MD5. It is idempotent: a file that is there already is updated in place and
	// keeps its id, one that holds the content already is left as it is, and there is never a second file of
	// that name, whatever was interrupted when. A failed Put leaves the old file or none, unless the site has
	// stored something else than was sent to it; the next Put repairs that.
	Put(ctx context.Context, u Upload) (Object, error)

	// Check makes sure that credentials are accepted and that every root is there and can be written to. It
	// changes nothing on the site.
	Check(ctx context.Context) error

	// CheckRoot is Check for one root.
	CheckRoot(ctx context.Context, root string) error

	// Left is how many bytes can still be uploaded below a root; known is false where the service does not tell, and
	// where there is no limit.
	Left(ctx context.Context, root string) (bytes int64, known bool, err error)

	// Close drops idle connections. Nothing else may be called afterwards.
	Close() error
}

// A backend may also be one or more of the following, which callers ask for by type assertion.
type (
	// Prober finds files that were uploaded, and changes nothing.
	Prober interface {
		// Probe tells where the file is that was uploaded to a path, by the id that it got there; without one, what is at
		// the path. A backend that was just opened tells what is there now, not what it remembers.
		Probe(ctx context.Context, path, id string) (Found, error)
	}

	// Quotaer knows how much space there is.
	Quotaer interface {
		Quota(ctx context.Context) (Quota, error)
	}

	// Clock knows the time of the service.
	Clock interface {
		// ClockAhead is how far this machine's clock is ahead of the service's, by its last answer, to some seconds;
		// negative if it is behind. It is not known before the first answer.
		ClockAhead() (ahead time.Duration, known bool)
	}

	// Accounter acts as an account of the service.
	Accounter interface {
		Account() string // name for people
	}

	// Statser counts its requests, for metrics.
	Statser interface {
		Stats() Stats
	}
)

// Quota is how much space there is for uploads, as far as the service tells.
type Quota struct {
	Known bool  // whether the service tells it
	Limit int64 // bytes; 0: none
	Used  int64 // bytes, those in the trash included
}

// Stats are the numbers of a backend since it was opened.
type Stats struct {
	Requests  map[Request]int64
	Throttled int64   // answers that said that we are too fast
	Limit     float64 // requests a second that are made at most, now; infinite if the service has set no limit so far
}

// Request is a class of requests; there are few.
type Request struct {
	Kind    string // the service's name of the method, such as files.list
	Outcome string // such as ok or not_found
}

// Class says whose trouble an error is, and so what is to be done about it.
type Class int

// The classes.
const (
	File      Class = iota // this file's: a try is spent, it backs off, and after retry_cnt tries it stops
	Waiting                // nobody's: the source is not there yet; look again soon, no try is spent
	Throttled              // the service is busy or out of reach: try again later, no try is spent
	Held                   // the whole site's (or a whole local root's): hold everything until a probe succeeds
)

// Scope says what an error of class [Held] concerns.
type Scope int

// The scopes.
const (
	WholeSite Scope = iota // all uploads: the credentials, a limit of the account
	OneRoot                // those below the root that the upload went to
	Creations              // what would be created below that root, or in Folder; what is there can be updated
	LargeOnes              // files below that root that are as large as this one, or larger
)

// String names the class for logs.
func (c Class) String() string {
	return [...]string{"file", "waiting", "throttled", "site"}[c]
}

// Error is an error with its class.
type Error struct {
	Class      Class
	Err        error
	RetryAfter time.Duration // how long the service asked us to wait; 0 if it did not
	Shared     bool          // of class Throttled: any upload would have met it, so it says nothing of this file
	Scope      Scope         // of class Held
	Folder     string        // of scope Creations: path of the folder that takes no more; empty if the whole root does not
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Classed gives an error a class.
func Classed(c Class, err error) error { return &Error{Class: c, Err: err} }

// IsShared reports whether an error would have met any upload.
func IsShared(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Shared
}

// HeldIn is an error of class [Held] that concerns only so much.
func HeldIn(scope Scope, err error) error { return &Error{Class: Held, Scope: scope, Err: err} }

// ScopeOf returns the scope of an error of class [Held].
func ScopeOf(err error) (scope Scope, folder string) {
	var e *Error
	if errors.As(err, &e) {
		return e.Scope, e.Folder
	}
	return WholeSite, ""
}

// ClassOf returns the class of an error; one without a class is the file's.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return File
}
