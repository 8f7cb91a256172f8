package site

import (
	"context"
	"time"
)

// Journal keeps what must survive the process: a file whose create was interrupted is created again under the same id,
// and a large upload resumes where it was. One process at a time may write to it, and the next must read what it wrote.
// All methods are safe for concurrent use.
type Journal interface {
	// Reserved returns the ids that are reserved for names in a folder.
	Reserved(ctx context.Context, folder string) (map[string]Reservation, error)

	// Reserve reserves ids for names in folders, by folder and name, that were generated for an account. They replace
	// earlier ones of the same names.
	Reserve(ctx context.Context, account string, ids map[string]map[string]string) error

	// Session returns the upload session of a file, by a key, if there is one for a source of that size and time, and
	// "" otherwise. The URI is a bearer secret.
	Session(ctx context.Context, key string, size int64, modTime time.Time) (uri string, err error)

	// SaveSession saves an upload session, in place of the key's last one.
	SaveSession(ctx context.Context, key string, size int64, modTime time.Time, uri string) error

	// DropSession deletes the key's upload session.
	DropSession(ctx context.Context, key string) error
}

// Reservation is the id that the next create of a name uses.
type Reservation struct {
	ID string
	At time.Time // when it was written last

	// Account is what the id was generated for. It is empty if an older version has written it.
	Account string
}
