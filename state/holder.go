package state

import (
	"fmt"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Holder is a process that holds a lease.
type Holder struct {
	ID      string    `bson:"id"` // of this run of the process
	Host    string    `bson:"host"`
	PID     int       `bson:"pid"`
	Since   time.Time `bson:"since"` // when it got the lease
	System  string    `bson:"system"`
	Started string    `bson:"started"`
}

// Self is this process as a holder.
func Self() Holder {
	host, _ := os.Hostname() // for people only
	pid := os.Getpid()
	return Holder{ID: bson.NewObjectID().Hex(), Host: host, PID: pid, System: thisSystem(), Started: startOf(pid)}
}

// String names the process for people.
func (h Holder) String() string { return fmt.Sprintf("process %d on %s", h.PID, h.Host) }

// isDead reports whether the process is known to have ended: it ran on this system, and no longer exists. So a process
// that is started after a crash on the same machine need not wait for the lease to expire.
func (h Holder) isDead() bool {
	return h.System != "" && h.System == thisSystem() && h.Started != "" && hasEnded(h.PID, h.Started)
}
