package avalon

import (
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Actions of MongoDB that sitesync needs to be allowed on the database.
var (
	neededActions = []string{"find", "listCollections", "changeStream", "update"}
	indexActions  = []string{"createIndex"}
)

// MissingRights returns the actions that the user is not allowed on the database, which the role readWrite allows.
// With index those are included that creating the index takes.
func (s *Store) MissingRights(ctx context.Context, index bool) ([]string, error) {
	needed := neededActions
	if index {
		needed = slices.Concat(needed, indexActions)
	}
	return MissingActions(ctx, s.db, needed)
}

// MissingActions returns those of the actions that the user is not allowed on a database. Nothing is missing without
// authentication. What is allowed on some collections only is taken as allowed.
func MissingActions(ctx context.Context, db *mongo.Database, needed []string) ([]string, error) {
	var status struct {
		AuthInfo struct {
			Users      []bson.Raw `bson:"authenticatedUsers"`
			Privileges []struct {
				Resource struct {
					DB  *string `bson:"db"`
					Any bool    `bson:"anyResource"`
				} `bson:"resource"`
				Actions []string `bson:"actions"`
			} `bson:"authenticatedUserPrivileges"`
		} `bson:"authInfo"`
	}
	command := bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}
	err := db.RunCommand(ctx, command).Decode(&status)
	if err != nil {
		return nil, fmt.Errorf("ask for the rights on database %s: %w", db.Name(), err)
	}
	if len(status.AuthInfo.Users) == 0 {
		return nil, nil
	}
	var missing []string
	for _, action := range needed {
		allowed := false
		for _, p := range status.AuthInfo.Privileges {
			here := p.Resource.Any || p.Resource.DB != nil && (*p.Resource.DB == "" || *p.Resource.DB == db.Name())
			allowed = allowed || here && slices.Contains(p.Actions, action)
		}
		if !allowed {
			missing = append(missing, action)
		}
	}
	return missing, nil
}
