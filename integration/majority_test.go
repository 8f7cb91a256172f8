package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// A primary with an arbiter goes on taking writes when the other member with data is away, but confirms none: that is
// named in the log, by check and by /readyz, costs no try, and ends by itself.
func TestReplicaSetWithoutAMajority(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Members: 3, Arbiter: true})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	p := s.project("Test")
	d := s.start(serve...)
	page := s.page(d)
	s.synced(s.publish(p, studio.Publish{Size: 100}))
	rep := s.publish(p, studio.Publish{Size: 100, Version: 2, Hold: true})

	primary := must(set.Primary(s.ctx))(t)
	var away *mongod.Member
	for _, m := range set.Members()[:2] {
		if m != primary {
			away = m
		}
	}
	check(t, away.Kill())
	s.eventually("/readyz names it", func() bool {
		status, body := page.get("/readyz")
		return status == http.StatusServiceUnavailable &&
			strings.Contains(body, "has lost its majority: 1 of 2 members with data")
	})
	line := s.log(d, process.Message("nothing is synced until MongoDB confirms writes again"))
	if text := line.Text("error"); !strings.Contains(text, "has lost its majority") ||
		!strings.Contains(text, away.Host()) {
		t.Errorf("the log says %s", text)
	}
	if status, stdout, _ := s.exits("check"); status != 1 || !strings.Contains(stdout, "fail  replica set: ") ||
		!strings.Contains(stdout, away.Host()) {
		t.Errorf("check: status %d\n%s", status, stdout)
	}

	check(t, away.Restart(s.ctx))
	check(t, rep.Finish())
	s.synced(rep)
	s.log(d, process.Message("the replica set has a majority again"))
	s.eventually("it is ready", page.is("/readyz", http.StatusOK, `{"ready":true}`))
	if n, err := p.Collection().CountDocuments(s.ctx,
		bson.D{{Key: "files.sites.tries", Value: bson.D{{Key: "$exists", Value: true}}}}); n != 0 || err != nil {
		t.Errorf("tries in %d documents, %v", n, err)
	}
}
