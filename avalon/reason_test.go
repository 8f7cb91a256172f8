package avalon

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/mongod"
)

// connect returns a store with a client of its own, known to fail points by its name.
func connect(t *testing.T, uri, name string) *Store {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetAppName(name).
		SetServerSelectionTimeout(2 * time.Second).SetHeartbeatInterval(500 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = client.Disconnect(ctx) // the server may be gone
	})
	return NewStore(client, mongod.Database(t).Name())
}

func TestReasonOf(t *testing.T) {
	m, err := mongod.Shared(t).Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := connect(t, mongod.URI(t), t.Name())
	s.db.Collection(project).InsertOne(t.Context(), bson.D{}) //nolint:errcheck // what follows shows it
	seen := map[Reason]bool{Invalidated: true}                // see TestChangesEnd
	for _, tt := range []struct {
		name string
		how  bson.E
		want Reason
	}{
		{"oplog rolled over", code(286), HistoryLost},
		{"oplog rolled over while it was read", code(136), HistoryLost},
		{"resume token not found", code(280), HistoryLost},
		{"resume token invalid", code(260), HistoryLost},
		{"event too large", code(10334), Oversized},
		{"no right", code(13), Unauthorized},
		{"not let in", code(18), Unauthorized},
		{"no replica set", code(40573), NoReplicaSet},
		{"no majority reads", code(148), NoReplicaSet},
		{"bad value", code(2), Other},
		{"cut off", bson.E{Key: "closeConnection", Value: true}, Network},
		{"stepped down", code(189), PrimaryChange},
		{"no longer primary", code(10107), PrimaryChange},
		{"interrupted by an election", code(11602), PrimaryChange},
		{"shutting down", code(91), PrimaryChange},
		{"interrupted by a shutdown", code(11600), PrimaryChange},
	} {
		off, err := m.FailPoint(t.Context(), "failCommand", mongod.AlwaysOn, bson.D{
			{Key: "failCommands", Value: bson.A{"aggregate"}}, {Key: "appName", Value: t.Name()}, tt.how})
		if err != nil {
			t.Fatal(err)
		}
		changes, err := s.Changes(t.Context(), route)
		if err == nil {
			_ = changes.Close(t.Context())
			t.Errorf("%s: opened", tt.name)
		} else if got := ReasonOf(err); got != tt.want {
			t.Errorf("%s: reason %q, want %q: %v", tt.name, got, tt.want, err)
		}
		seen[tt.want] = true
		if err := off(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range Reasons {
		if !seen[r] {
			t.Errorf("nothing has the reason %q", r)
		}
	}
	for r := range reasonCodes {
		if !slices.Contains(Reasons, r) {
			t.Errorf("codes have the reason %q, which is none", r)
		}
	}
}

func code(n int) bson.E { return bson.E{Key: "errorCode", Value: n} }

func TestReasonWithoutAServer(t *testing.T) {
	s := connect(t, "mongodb://127.0.0.1:1/?replicaSet=rs0", t.Name())
	_, err := s.Changes(t.Context(), route)
	if err == nil {
		t.Fatal("opened")
	}
	if got := ReasonOf(err); got != Network {
		t.Errorf("reason %q, want %q: %v", got, Network, err)
	}
}
