package avalon

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestFailedReturnsTheLastToFail(t *testing.T) {
	s, coll := newStore(t)
	var docs []bson.D
	for i := range 10 {
		docs = append(
			docs,
			representation(
				entry(
					fmt.Sprintf("{root}/%d", i),
					list(bson.E{Key: "tries", Value: 6}, bson.E{Key: "error", Value: "no"},
						bson.E{Key: "last_failed_dt", Value: published.Add(time.Duration(i*7%10) * time.Second)}),
				),
			),
		)
	}
	docs = append(docs, representation(entry("{root}/tries left", list(bson.E{Key: "tries", Value: 5}))))
	keys := insert(t, coll, docs...)
	got, err := s.Failed(t.Context(), project, doubling, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []FailedFile{
		{keys[7], "{root}/7", 6, "no", published.Add(9 * time.Second)},
		{keys[4], "{root}/4", 6, "no", published.Add(8 * time.Second)},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ID{})); diff != "" {
		t.Errorf("failed files (-want +got):\n%s", diff)
	}
	if got, err := s.Failed(t.Context(), project, doubling, 0); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}
