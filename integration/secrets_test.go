package integration_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// secrets must not appear anywhere.
func (s *testStudio) secrets() []string {
	all := append(s.drive.Secrets(), webToken)
	if u, err := url.Parse(s.mongo); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			_, escaped, _ := strings.Cut(u.User.String(), ":")
			all = append(all, password, escaped)
		}
	}
	return all
}

// checkForSecrets fails the test if a text has a secret in it. Each test's log is looked at when it ends, and both
// databases.
func (s *testStudio) checkForSecrets(where, text string) {
	s.t.Helper()
	if before, found := firstSecret(text, s.secrets()); found {
		s.t.Errorf("%s has a secret in it: ...%s", where, before)
	}
}

// firstSecret returns what stands before a secret in a text.
func firstSecret(text string, secrets []string) (before string, found bool) {
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			return text[max(0, at-200):at], true
		}
	}
	return "", false
}

// checkDatabasesForSecrets fails the test if a secret stands in a database, but for upload sessions where they belong.
func (s *testStudio) checkDatabasesForSecrets() {
	s.t.Helper()
	if s.t.Failed() {
		return // perhaps with a database that hangs
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), waitTimeout)
	defer cancel()
	for _, name := range []string{s.db.Name(), s.state()} {
		db := s.db.Client().Database(name) // sitesync's own user may not be allowed to look around
		for _, collection := range must(db.ListCollectionNames(ctx, bson.D{}))(s.t) {
			find := options.Find()
			if name == s.state() && collection == "sessions" {
				find.SetProjection(bson.D{{Key: "uri", Value: 0}})
			}
			cur, err := db.Collection(collection).Find(ctx, bson.D{}, find)
			check(s.t, err)
			for cur.Next(ctx) {
				s.checkForSecrets("database "+name+", collection "+collection, cur.Current.String())
			}
			check(s.t, cur.Err())
		}
	}
}

// Whatever goes wrong, no secret is logged, at any level.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true})
	uri := must(set.CreateUser(t.Context(), "sync", "S3cr3tOfMongo", mongod.Role{Role: "readWrite", DB: "avalon"},
		mongod.Role{Role: "readWrite", DB: "avalon-state"}))(t)
	s := newTestStudioOn(t, uri, set.Client().Database("avalon"))
	user := s.drive.AddUser("artist@studio.example")
	s.show.AddMember(user, drive.ContentManager)
	if n := len(s.secrets()); n < 20 {
		t.Fatalf("only %d secrets are known", n)
	}
	p := s.project("Test")
	debug := []string{"--log-level", "debug", "--retry-delay", "10ms"}
	version := 0
	publish := func(size int64) *studio.Representation {
		version++
		return s.publish(p, studio.Publish{Size: size, Version: version})
	}

	// Uploads that break in every way, and a file that fails.
	for _, account := range []*drive.Account{s.account, user} {
		s.remoteRoot("/SHOW/projects", account)
		d := s.start(debug...)
		for _, f := range []drive.Fault{
			{Kind: "files.create.resumable", Effect: drive.EffectStatus, Status: 500},
			{Kind: "upload.put", Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 1 << 20},
			{Kind: "upload.put", Effect: drive.EffectStatus, Status: 410},
			{Kind: "upload.status", Effect: drive.EffectReset},
			{Kind: "upload.put", Effect: drive.EffectInvalidJSON},
			{Kind: "upload.put", Effect: drive.EffectWrongMD5},
			{Kind: "files.create.multipart", Effect: drive.EffectReset, When: drive.After},
			{Kind: "files.create.multipart", Effect: drive.EffectStatus, Status: 400, Reason: "invalid"},
			{Kind: "*", Effect: drive.EffectStatus, Status: 401, Reason: "authError"},
			{Kind: "token", Effect: drive.EffectStatus, Status: 400, Reason: "invalid_grant"},
			{Kind: "token", Effect: drive.EffectReset, When: drive.After},
		} {
			f.Count = 1
			s.drive.RevokeTokens(account)
			s.drive.AddFault(f)
			s.synced(publish(1000))
			s.synced(publish(8 << 20))
		}
		// A kill in the middle leaves an upload session in the database.
		s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 10 << 20 })
		before := s.drive.Received()
		large := publish(20 << 20)
		s.eventually("the upload is under way", func() bool { return s.drive.Received() > before+5<<20 })
		d.Kill()
		var session struct {
			URI string `bson:"uri"`
		}
		check(t, s.stateDB().Collection("sessions").FindOne(t.Context(), bson.D{}).Decode(&session))
		if !slices.ContainsFunc(s.secrets(),
			func(secret string) bool { return strings.Contains(session.URI, secret) }) {
			t.Error("the session's secret is not known to this test")
		}
		s.checkDatabasesForSecrets()
		s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
		d = s.start(debug...)
		s.synced(large)
		check(t, d.Stop())
	}

	// Commands, and what they say of refused credentials and a wrong password.
	_, stdout, stderr := s.exits("check")
	s.checkForSecrets("check", stdout+stderr)
	s.drive.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectStatus, Status: 401, Reason: "invalid_client"})
	_, stdout, stderr = s.exits("check")
	s.checkForSecrets("check with refused credentials", stdout+stderr)
	_, stdout, stderr = s.exits("run", "--once", "--log-level", "debug")
	s.checkForSecrets("run --once with refused credentials", stdout+stderr)
	s.mongo = strings.Replace(s.mongo, "S3cr3tOfMongo", "An0therS3cr3t", 1)
	d := s.launch(debug...)
	s.log(d, process.Message("cannot acquire the lease"))
	_, stdout, stderr = s.exits("check")
	s.checkForSecrets("check with a wrong password", stdout+stderr)
	if !strings.Contains(stdout, "uthentication failed") || !strings.Contains(stdout, "authSource") {
		t.Errorf("check does not know of a wrong password:\n%s", stdout)
	}
	check(t, d.Stop())
	s.checkForSecrets("the log", d.Raw())
	s.mongo = uri
}

// A test that looks for secrets must be able to find one.
func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.start()
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 8 << 20}))
	kinds := 0
	for _, secret := range s.secrets() {
		if before, found := firstSecret("before "+secret+" after", s.secrets()); !found ||
			!strings.HasPrefix(before, "before ") {
			t.Errorf("a secret is overlooked, before it stands %q", before)
		}
		kinds++
	}
	if kinds < 20 {
		t.Errorf("only %d secrets are known", kinds)
	}
}
