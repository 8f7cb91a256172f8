package avalon

import (
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Reason is why a change stream was lost, in a word for logs and metrics.
type Reason string

// The reasons.
const (
	HistoryLost   Reason = "history_lost"   // the oplog no longer goes back to where the stream was
	Invalidated   Reason = "invalidated"    // the database was dropped
	PrimaryChange Reason = "primary_change" // the member is no longer primary, or shuts down
	Network       Reason = "network"        // a connection broke, or there is no primary to connect to
	Oversized     Reason = "oversized"      // an event exceeds the 16 MB of a document
	Unauthorized  Reason = "unauthorized"   // the user, its password or its rights are not accepted
	NoReplicaSet  Reason = "no_replica_set" // the server is no member of a replica set
	Other         Reason = "other"
)

// Reasons are all of them.
var Reasons = []Reason{HistoryLost, Invalidated, PrimaryChange, Network, Oversized, Unauthorized, NoReplicaSet, Other}

// reasons by MongoDB's error code, as in its error_codes.yml.
var reasons = map[int]Reason{
	260: HistoryLost, // InvalidResumeToken
	280: HistoryLost, // ChangeStreamFatalError: the resume token is not found
	286: HistoryLost, // ChangeStreamHistoryLost
	136: HistoryLost, // CappedPositionLost: the oplog rolled over while it was read

	10107: PrimaryChange, // NotWritablePrimary
	13435: PrimaryChange, // NotPrimaryNoSecondaryOk
	13436: PrimaryChange, // NotPrimaryOrSecondary
	11602: PrimaryChange, // InterruptedDueToReplStateChange
	189:   PrimaryChange, // PrimarySteppedDown
	91:    PrimaryChange, // ShutdownInProgress
	11600: PrimaryChange, // InterruptedAtShutdown

	6:    Network, // HostUnreachable
	7:    Network, // HostNotFound
	89:   Network, // NetworkTimeout
	133:  Network, // FailedToSatisfyReadPreference
	9001: Network, // SocketException

	codeTooLarge: Oversized, // BSONObjectTooLarge

	codeUnauthorized: Unauthorized,
	18:               Unauthorized, // AuthenticationFailed

	codeNotReplicaSet:       NoReplicaSet,
	codeMajorityUnsupported: NoReplicaSet,
}

// ReasonOf says why a change stream, or the attempt to open one, ended with the error.
func ReasonOf(err error) Reason {
	switch {
	case errors.Is(err, errInvalidated):
		return Invalidated
	case errors.Is(err, ErrNoChangeStreams):
		return NoReplicaSet
	}
	var server mongo.ServerError
	if !errors.As(err, &server) || !slices.ContainsFunc(server.ErrorCodes(), func(code int) bool { return code != 0 }) {
		return Network // no server has said anything: there was none to ask, or it was lost
	}
	for _, code := range server.ErrorCodes() {
		if reason, ok := reasons[code]; ok {
			return reason
		}
	}
	return Other
}
