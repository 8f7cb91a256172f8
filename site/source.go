package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Source is a site that files are read from. All methods may be called at the same time from many goroutines.
//
// Errors are classed: of class [Unavailable], the scope says what is out of order: [WholeSite], [OneRoot] the whole
// root, [OneFolder] a folder below it, [OneFile] just this file for now, [Settings] files that the settings do not fit.
type Source interface {
	// Open opens a file for reading if it is the one that was published. A file that may still come, as it is not there
	// or of another size, is of class [NotReady].
	Open(ctx context.Context, at Location, o OpenOptions) (SourceFile, error)

	// Resolve finds out where a file is, or would be. The text of a path may be read in several ways: that by which
	// there is a file is taken.
	Resolve(ctx context.Context, at Location) (Resolved, error)

	// CheckReadable returns an error unless a root is there and can be read. Where roots are mounted, there must be
	// something in it.
	CheckReadable(ctx context.Context, root string) error

	// CheckFolder returns an error unless a folder below a root is there, as far as that matters: Open has found it
	// away, or it is the first one on the way to a file, whose files are away together.
	CheckFolder(ctx context.Context, root, folder string) error
}

// Storage is a site in both of its roles.
type Storage interface {
	Backend
	Source
}

// OpenOptions say what a file is opened for.
type OpenOptions struct {
	Size     int64 // bytes as published; negative if unknown
	Priority bool  // as in [Incoming]

	// WillRead says that the file is read right after, so that its content may be asked for with all else.
	WillRead bool

	// Siblings returns where other files are that are about to be opened and are in the same folder, so that a site can
	// ask for all of them at once. May be nil.
	Siblings func() []Location

	// Next returns which files are about to be opened, wherever they are, the next one first, so that a site can ask
	// for them in advance. May be nil.
	Next func() []Expected
}

// Expected is a file that is about to be opened.
type Expected struct {
	Location
	Size int64 // bytes as published; negative if unknown
}

// Resolved is where a file is on a site.
type Resolved struct {
	Path    string // for people
	Reading Reading

	// Folder is the path of the first folder below the root on the way to the file: mostly that of a project, and often
	// on a storage of its own. It is empty for a file in the root itself.
	Folder string
}

// Location is where a file is on a site.
type Location struct {
	Root string // path of the root on the site
	Rel  string // path below it, as a document has it: with any separators, and with braces doubled perhaps
	ID   string // that the site gave the file when it was put there, as the document has it; empty if it has none
}

// SourceFile is a file that is open for reading. ReadAt may be called at the same time from many goroutines.
type SourceFile interface {
	io.ReaderAt

	Size() int64 // bytes, when it was opened
	ModTime() time.Time
	MD5() string      // hexadecimal; empty if the site does not know it without reading the file
	Reading() Reading // by which it was found
	String() string   // path, for people

	// ReadError is why the file could not be read, nil if it could; used is the error of what read it. It is asked
	// for when reading has ended.
	ReadError(ctx context.Context, used error) error

	// Changed is an error if the file, or what has its name now, is no longer what it was when it was opened, unless it
	// is certain that all that was read is what it was then.
	Changed(ctx context.Context) error

	Close() error
}

// A [SourceFile] may implement these as well; callers use a type assertion.
type (
	// Announcer is a file that other content may be published over in place.
	Announcer interface {
		// NewerAnnounced reports whether other content is there already, under a temporary name that it will be
		// renamed from.
		NewerAnnounced(ctx context.Context) (bool, error)
	}

	// Ranger is a file that is read over a network: one call streams many bytes, and several at once carry more than
	// one.
	Ranger interface {
		// ReadRange reads n bytes from an offset. The reader ends with [io.EOF] after exactly as many. Its error is
		// [ErrNoRanges] where a range that ends before the file costs all that is before it; one up to the end of the
		// file is read nevertheless.
		ReadRange(ctx context.Context, offset, n int64) (io.ReadCloser, error)
	}
)

// ErrNoRanges says that something on the way to a [Ranger] hands over whole files only, as filters do that look for
// viruses.
var ErrNoRanges = errors.New("parts of files do not get through, only whole ones")

// Staller is a site whose calls may take long, or never return.
type Staller interface {
	// OnStall has slow called with how many calls of a root more, or fewer, take long, and returned with a root one of
	// whose calls returns after it was given up. It must be called before anything else.
	OnStall(slow func(root string, more int), returned func(root string))

	// Stalled is how many calls were given up and have not returned.
	Stalled() int

	// Avoid has it taken that a root does not answer, so that nothing is asked of it. Where one process hangs, the next
	// may too, and can't even end then.
	Avoid(root string)
}

// StallError says that a call was given up, as it did not return.
type StallError struct {
	Root, Path string
	Timeout    time.Duration
	Began      time.Time
	Repeated   bool // it was given up before, and was not made again
}

func (e *StallError) Error() string {
	return fmt.Sprintf("the storage does not answer: a call for %s has not returned for %s; look at the mount of %s "+
		"and its server", e.Path, e.Timeout, e.Root)
}

// IsStall reports whether an error is that of a call that was given up.
func IsStall(err error) bool { return errors.As(err, new(*StallError)) }
