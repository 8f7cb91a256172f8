package site

import (
	"context"
	"time"
)

// Journal keeps what must outlive the process: a file whose create was under way when the process was killed is
// created again under the same id, and a large upload goes on where it was. Only one process at a time may write to
// it, and what it has written must be read by the next. All methods may be called at the same time.
type Journal interface {
	// Reserved returns the ids that are reserved for names in a folder, each with when it was noted last.
	Reserved(ctx context.Context, folder string) (map[string]Reservation, error)

	// Reserve notes ids for names in folders, by folder and name, that were generated for an account. What was noted for
	// a name before counts no more.
	Reserve(ctx context.Context, account string, ids map[string]map[string]string) error

	// Session returns the upload session of a file, by a key, if there is one for a source of that size and time,
	// and "" otherwise. The URI is a bearer secret.
	Session(ctx context.Context, key string, size int64, modTime time.Time) (uri string, err error)

	// SaveSession notes an upload session, in place of the key's last one.
	SaveSession(ctx context.Context, key string, size int64, modTime time.Time, uri string) error

	// DropSession says that the key's upload session is over.
	DropSession(ctx context.Context, key string) error
}

// Reservation is an id that the next create of a name takes.
type Reservation struct {
	ID string
	At time.Time // when it was noted

	// Account is who the id was generated for. It is empty if an older version has noted it.
	Account string
}
