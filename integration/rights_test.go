package integration_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

// privilege is what a role of MongoDB allows in a database.
type privilege struct {
	Resource struct {
		DB         string `bson:"db"`
		Collection string `bson:"collection"`
	} `bson:"resource"`
	Actions []string `bson:"actions"`
}

// documentedRole reads the role in docs/security.md, with the state database of tests.
func documentedRole(t *testing.T, state string) []privilege {
	t.Helper()
	page := must(os.ReadFile("../docs/security.md"))(t)
	found := regexp.MustCompile(`(?s)\ndb\.adminCommand\((\{.*?\n\})\)`).FindSubmatch(page)
	if found == nil {
		t.Fatal("there is no db.adminCommand on the page")
	}
	var role struct {
		Name       string      `bson:"createRole"`
		Privileges []privilege `bson:"privileges"`
		Roles      bson.A      `bson:"roles"`
	}
	check(t, bson.UnmarshalExtJSON(found[1], false, &role))
	if role.Name != "sitesync" || len(role.Privileges) != 2 || len(role.Roles) != 0 {
		t.Fatalf("the role is %+v", role)
	}
	if role.Privileges[0].Resource.DB != "avalon" || role.Privileges[1].Resource.DB != "sitesync" {
		t.Fatalf("the role is for %s and %s", role.Privileges[0].Resource.DB, role.Privileges[1].Resource.DB)
	}
	role.Privileges[1].Resource.DB = state
	return role.Privileges
}

// The role in docs/security.md is enough, and none of it is too much.
func TestDocumentedRole(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	admin := set.Client().Database("admin")
	role := func(command string, privileges []privilege) {
		t.Helper()
		check(t, admin.RunCommand(t.Context(), bson.D{
			{Key: command, Value: "sitesync"}, {Key: "privileges", Value: privileges}, {Key: "roles", Value: bson.A{}},
		}).Err())
	}
	privileges := documentedRole(t, "avalon-state")
	role("createRole", privileges)
	uri := must(set.CreateUser(t.Context(), "sync", "S3cr3tOfMongo", mongod.Role{Role: "sitesync", DB: "admin"}))(t)
	s := newTestStudioOn(t, uri, set.Client().Database("avalon"))
	p := s.project("Test")

	// Ids are reserved, an upload session is saved and dropped, and a lease is taken from one that is gone.
	d := s.start()
	s.synced(s.publish(p, studio.Publish{Size: 8 << 20}))
	s.synced(s.publish(p, studio.Publish{Size: 100, Name: "exr", Frames: 20, Version: 2}))
	s.eventually("the index is there", func() bool {
		return len(must(s.db.Collection("Test").Indexes().ListSpecifications(t.Context()))(t)) > 1
	})
	s.eventually("sitesync's own indexes are there", func() bool {
		for _, name := range []string{"claims", "sessions"} {
			if len(must(s.stateDB().Collection(name).Indexes().ListSpecifications(t.Context()))(t)) < 2 {
				return false
			}
		}
		return true
	})
	d.Kill()
	d = s.start()
	s.synced(s.publish(p, studio.Publish{Size: 8 << 20, Version: 3}))
	check(t, d.Stop())
	if n := s.drive.Calls()["upload.put"]; n < 2 {
		t.Errorf("%d uploads had a session", n)
	}
	if n := must(s.stateDB().Collection("sessions").CountDocuments(t.Context(), bson.D{}))(t); n != 0 {
		t.Errorf("%d upload sessions are left", n)
	}
	if warnings := warnings(d); len(warnings) > 0 {
		t.Errorf("sitesync warns: %v", warnings)
	}
	s.allOK()

	// What the role does not allow.
	client := must(mongo.Connect(options.Client().ApplyURI(uri)))(t)
	defer client.Disconnect(t.Context())
	project := client.Database("avalon").Collection("Test")
	_, insert := project.InsertOne(t.Context(), bson.D{})
	_, remove := project.DeleteOne(t.Context(), bson.D{})
	for what, err := range map[string]error{
		"insert": insert, "remove": remove, "drop": project.Drop(t.Context()),
		"read of another database": client.Database("other").Collection("Test").FindOne(t.Context(), bson.D{}).Err(),
	} {
		var refused mongo.ServerError
		if !errors.As(err, &refused) || !refused.HasErrorCode(13) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// Nothing of it can be left out, and check reports what is missing.
	for i, p := range privileges {
		for _, action := range p.Actions {
			fewer := slices.Clone(privileges)
			fewer[i].Actions = slices.DeleteFunc(slices.Clone(p.Actions), func(a string) bool { return a == action })
			role("updateRole", fewer)
			if status, stdout, _ := s.exits("check"); status != 1 || !strings.Contains(stdout, action) {
				t.Errorf("without %s in database %s check ends with status %d:\n%s", action, p.Resource.DB, status,
					stdout)
			}
		}
	}
}
