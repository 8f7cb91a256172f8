package avalon

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// What isTransient by itself is written again; what does not is the document's.
func TestPassingWriteErrors(t *testing.T) {
	for code, want := range map[int]bool{-31800: true, 112: true, 365: true, 121: false, 10334: false, 17419: false} {
		err := mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: code}}}
		if got := isTransient(err); got != want {
			t.Errorf("code %d: %v", code, got)
		}
	}
	if isTransient(nil) || isTransient(mongo.CommandError{Code: 112}) {
		t.Error("what is no write error is not repeated here")
	}
}
