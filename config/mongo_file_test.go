package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// A connection string may stand in a file. What was given for sitesync alone goes before what all of Pype has.
func TestConnectionInAFile(t *testing.T) {
	s := newStudio(t)
	file := func(host string) string {
		s.write(host, "mongodb://u:S3cr3t@"+host+"/?replicaSet=rs0\n")
		return filepath.Join(s.dir, host)
	}
	uri := func(host string) string { return "mongodb://" + host }
	flagURI, flagFile := uri("flag"), file("flag-file")
	for _, given := range []struct { // each place goes before those that were given before it
		host  string
		flags Flags
		env   [2]string
	}{
		{host: "db.studio.example"},
		{host: "env-file", env: [2]string{"SITESYNC_MONGO_FILE", file("env-file")}},
		{host: "env", env: [2]string{"SITESYNC_MONGO", uri("env")}},
		{host: "flag-file", flags: Flags{MongoFile: &flagFile}},
		{host: "flag", flags: Flags{MongoFile: &flagFile, Mongo: &flagURI}},
	} {
		if given.env[0] != "" {
			s.env[given.env[0]] = given.env[1]
		}
		c, warnings, errs := s.load(given.flags)
		if len(warnings)+len(errs) > 0 {
			t.Fatalf("%s: warnings %q, errors %q", given.host, warnings, errs)
		}
		if got := c.Mongo.URI.Reveal(); !strings.Contains(got, given.host) || strings.Contains(got, "\n") {
			t.Errorf("the connection string is %q, want that of %s", got, given.host)
		}
	}
}

// Problems of the file are reported without anything that may be a password.
func TestConnectionInAWrongFile(t *testing.T) {
	s := newStudio(t)
	s.write("empty", " \n")
	s.write("broken", "mongodb://u:S3cr3t%@h")
	for name, want := range map[string]string{
		"missing": "SITESYNC_MONGO_FILE names the file DIR/missing, which cannot be read: no such file",
		"empty": "SITESYNC_MONGO_FILE names the file DIR/empty, which is empty but must hold the connection string " +
			"of MongoDB",
		"broken": "SITESYNC_MONGO_FILE: DIR/broken is \"mongodb://u:***@h\" but must be a MongoDB connection string",
	} {
		s.env["SITESYNC_MONGO_FILE"] = s.dir + "/" + name
		_, _, errs := s.load(Flags{})
		if len(errs) != 1 || !strings.HasPrefix(errs[0], want) || strings.Contains(errs[0], "S3cr3t") {
			t.Errorf("%s: %q, want %q", name, errs, want)
		}
	}
}
