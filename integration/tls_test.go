package integration_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// awkward is a password with all that has a meaning in a connection string.
const awkward = "S3cr3t@of:M/o?n%g&o=#[+] ü"

// syncs starts sitesync, publishes, stops it when all is on Drive, and returns its warnings.
func (s *testStudio) syncs(seed uint64) []process.Line {
	s.t.Helper()
	d := s.start(streamOnly...)
	s.synced(s.publish(s.project("Test"), studio.Publish{Size: 100, Version: int(seed), Seed: seed}))
	check(s.t, d.Stop())
	return warnings(d)
}

// allOK checks that check finds no problem.
func (s *testStudio) allOK() {
	s.t.Helper()
	check(s.t, s.presets.Write(s.dir))
	status, stdout, stderr := s.exits("check")
	if status != 0 || strings.Contains(stdout, "warn ") || strings.Contains(stdout, "fail ") || stderr != "" {
		s.t.Errorf("check ends with status %d:\n%s%s", status, stdout, stderr)
	}
}

// TLS, and who sitesync is, are a matter of the connection string alone.
func TestTLS(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Auth: true, TLS: true})
	roles := []mongod.Role{{Role: "readWrite", DB: "avalon"}, {Role: "readWrite", DB: "avalon-state"}}
	uri := must(set.CreateUser(t.Context(), "s@nc", awkward, roles...))(t)
	s := newTestStudioOn(t, uri, set.Client().Database("avalon"))
	other := filepath.Join(t.TempDir(), "other.pem")
	check(t, mongod.OtherCA(other))
	plain, query, _ := strings.Cut(uri, "?")
	options := must(url.ParseQuery(query))(t)
	with := func(change func(o url.Values)) string {
		o := must(url.ParseQuery(query))(t)
		change(o)
		return plain + "?" + o.Encode()
	}
	if options.Get("tls") != "true" || options.Get("tlsCAFile") != set.CAFile() {
		t.Fatalf("the options are %v", options)
	}

	t.Run("password", func(t *testing.T) {
		if warnings := s.syncs(1); len(warnings) > 0 {
			t.Errorf("sitesync warns: %v", warnings)
		}
		s.allOK()
	})
	t.Run("certificate", func(t *testing.T) {
		s.mongo = must(set.CreateCertificateUser(t.Context(), "sync", roles...))(t)
		if warnings := s.syncs(2); len(warnings) > 0 {
			t.Errorf("sitesync warns: %v", warnings)
		}
		s.allOK()
	})
	t.Run("insecure", func(t *testing.T) {
		s.mongo = with(func(o url.Values) { o.Del("tlsCAFile"); o.Set("tlsInsecure", "true") })
		if warnings := s.syncs(3); len(warnings) != 1 ||
			!strings.Contains(warnings[0].Message, "tlsInsecure=true, so anyone") {
			t.Errorf("sitesync warns: %v", warnings)
		}
		if status, stdout, _ := s.exits("check"); status != 0 ||
			!strings.Contains(stdout, "warn  SITESYNC_MONGO has tlsInsecure=true") {
			t.Errorf("check ends with status %d:\n%s", status, stdout)
		}
	})

	for name, test := range map[string]struct {
		uri, want string
	}{
		"another CA":  {with(func(o url.Values) { o.Set("tlsCAFile", other) }), "tlsCAFile=/PATH/ca.pem"},
		"no CA":       {with(func(o url.Values) { o.Del("tlsCAFile") }), "tlsCAFile=/PATH/ca.pem"},
		"without TLS": {with(func(o url.Values) { o.Del("tlsCAFile"); o.Del("tls") }), "add tls=true"},
	} {
		t.Run(name, func(t *testing.T) {
			s.mongo = test.uri + "&serverSelectionTimeoutMS=1000"
			d := s.launch("--log-level", "debug")
			line := s.log(d, process.Message("cannot connect to a server of MongoDB"))
			s.log(d, process.Message("cannot acquire the lease"))
			if line.Level != "warn" || line.Text("server") != set.Members()[0].Host() ||
				!strings.Contains(line.Text("error"), test.want) {
				t.Errorf("the log says %v", line.Fields)
			}
			status, stdout, stderr := s.exits("check")
			s.checkForSecrets("check", stdout+stderr)
			if status != 1 || !strings.Contains(stdout, "fail  mongo mongodb://s%40nc:***@") ||
				!strings.Contains(stdout, test.want) {
				t.Errorf("check ends with status %d:\n%s", status, stdout)
			}
			check(t, d.Stop())
			if strings.Contains(stdout+stderr+d.Raw(), "S3cr3t") {
				t.Error("a part of the password is logged")
			}
			if lines := d.Lines(process.Message("cannot connect to a server of MongoDB")); len(lines) != 1 {
				t.Errorf("it is logged %d times", len(lines))
			}
		})
	}
	s.mongo = uri

	t.Run("not escaped", func(t *testing.T) {
		s.mongo = "mongodb://s@nc:" + awkward + "@" + set.Members()[0].Host() + "/?" + query
		defer func() { s.mongo = uri }()
		for _, command := range []string{"check", "run"} {
			status, stdout, stderr := s.exits(command)
			if status != 1 || !strings.Contains(stdout+stderr, "with %XX for special characters") ||
				strings.Contains(stdout+stderr, "S3cr3t") {
				t.Errorf("%s ends with status %d:\n%s%s", command, status, stdout, stderr)
			}
		}
	})
}

// A server that does not talk TLS at all.
func TestTLSToAServerWithout(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.publish(s.project("Test"), studio.Publish{Size: 100})
	before := s.mongo
	s.mongo += "&tls=true&serverSelectionTimeoutMS=1000"
	check(t, s.presets.Write(s.dir))
	if status, stdout, _ := s.exits("check"); status != 1 ||
		!strings.Contains(stdout, "take tls=true and tlsCAFile out") {
		t.Errorf("check ends with status %d:\n%s", status, stdout)
	}
	s.mongo = before
	s.allOK()
}
