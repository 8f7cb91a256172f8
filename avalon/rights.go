package avalon

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Actions of MongoDB that sitesync needs to be allowed on the database.
var (
	neededActions = []string{"find", "listCollections", "changeStream", "update"}
	indexActions  = []string{"createIndex"}
)

// MissingRights returns the actions that the user is not allowed on the database, which the role readWrite allows.
// With index those are included that creating the index takes. Nothing is missing without authentication. What is
// allowed on some collections only is taken as allowed.
func (s *Store) MissingRights(ctx context.Context, index bool) ([]string, error) {
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
	err := s.db.RunCommand(ctx, bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}).Decode(&status)
	if err != nil {
		return nil, s.wrap(err, "ask for the rights on database %s", s.db.Name())
	}
	if len(status.AuthInfo.Users) == 0 {
		return nil, nil
	}
	needed := neededActions
	if index {
		needed = slices.Concat(needed, indexActions)
	}
	var missing []string
	for _, action := range needed {
		allowed := false
		for _, p := range status.AuthInfo.Privileges {
			here := p.Resource.Any || p.Resource.DB != nil && (*p.Resource.DB == "" || *p.Resource.DB == s.db.Name())
			allowed = allowed || here && slices.Contains(p.Actions, action)
		}
		if !allowed {
			missing = append(missing, action)
		}
	}
	return missing, nil
}
