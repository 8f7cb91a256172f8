package avalon

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/mongod"
)

// Pending files are counted by how they name their root, whatever else their documents have.
func TestRootUses(t *testing.T) {
	t.Parallel()
	db := mongod.Database(t)
	s := NewStore(db.Client(), db.Name())
	here, wanted := bson.D{
		{Key: "name", Value: "studio"},
		{Key: "created_dt", Value: published},
	}, bson.D{
		{Key: "name", Value: gdrive},
	}
	file := func(path any, sites ...any) bson.D {
		return bson.D{
			{Key: "_id", Value: bson.NewObjectID()},
			{Key: "path", Value: path},
			{Key: "sites", Value: bson.A(sites)},
		}
	}
	rep := func(root any, files ...any) {
		_, err := db.Collection("Test").InsertOne(t.Context(), bson.D{{Key: "type", Value: "representation"},
			{Key: "context", Value: bson.D{{Key: "root", Value: root}}}, {Key: "files", Value: bson.A(files)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish := bson.D{{Key: "publish", Value: "/p"}}
	done := bson.D{{Key: "name", Value: gdrive}, {Key: "created_dt", Value: published}}
	rep(
		publish,
		file("{root[publish]}/a", here, wanted),
		file("{root[work]}/a", here, wanted),
		file("{root[work]}/b", here, wanted),
	)
	rep(
		publish,
		file("{root[work]}/c", here, wanted),
		file("{root[work]}/synced", here, done),
		file("{root[work]}/absent", wanted),
	)
	rep(
		"/q",
		file("{root}/\xff", here, wanted),
		file("\xff\xfe", here, wanted),
		file("é}x", here, wanted),
		file(7, here, wanted),
		file("{root/x", here, wanted),
	)
	uses, err := s.RootUses(t.Context(), "Test", route)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, u := range uses {
		name := "none"
		if len(u.Path) > 6 && u.Path[:5] == "{root" {
			name = u.Path[:6]
		}
		counts[name+u.Roots[""]+u.Roots["publish"]] += u.Files
	}
	want := map[string]int64{"{root[/p": 4, "{root}/q": 1, "none/q": 3}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
