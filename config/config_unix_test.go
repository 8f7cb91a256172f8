//go:build unix

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What may stand in several places counts by flag, environment, file, default,
// in this order.
func TestPrecedence(t *testing.T) {
	tests := []struct {
		name                 string
		flag                 func(f *Flags, v string)
		key, env             string
		file, inEnv, byFlag  string // file is JSON
		def                  string
		fromFile, fromEnv    string
		fromFlag             string
		get                  func(c *Config) string
		otherEnv, otherInEnv string // an older variable that counts less
	}{
		{
			name: "retry_cnt", flag: func(f *Flags, v string) { f.RetryCnt = &v }, key: "retry_cnt",
			env:  "SITESYNC_RETRY_CNT",
			file: "4", inEnv: "5", byFlag: "6", def: "3", fromFile: "4", fromEnv: "5", fromFlag: "6",
			get: func(c *Config) string { return fmt.Sprint(c.RetryCount) },
		},
		{
			name: "loop_delay", flag: func(f *Flags, v string) { f.LoopDelay = &v }, key: "loop_delay",
			env:  "SITESYNC_LOOP_DELAY",
			file: `"30.5"`, inEnv: "90s", byFlag: "5", def: "1m0s", fromFile: "30.5s", fromEnv: "1m30s", fromFlag: "5s",
			get: func(c *Config) string { return c.LoopDelay.String() },
		},
		{
			name: "active_site", flag: func(f *Flags, v string) { f.ActiveSite = &v }, key: "active_site",
			env:  "SITESYNC_ACTIVE_SITE",
			file: `"paris"`, inEnv: "rome", byFlag: "oslo", def: "studio", fromFile: "paris", fromEnv: "rome",
			fromFlag: "oslo",
			get:      func(c *Config) string { return c.ActiveSite },
		},
		{
			name: "remote_site", flag: func(f *Flags, v string) { f.RemoteSite = &v }, key: "remote_site",
			env:  "SITESYNC_REMOTE_SITE",
			file: `"gdrive"`, inEnv: "second", byFlag: "", def: "", fromFile: "gdrive", fromEnv: "second", fromFlag: "",
			get: func(c *Config) string { return c.RemoteSite },
		},
		{
			name: "local_id", flag: func(f *Flags, v string) { f.LocalID = &v }, key: "local_id",
			env:  "SITESYNC_LOCAL_ID",
			file: `"a"`, inEnv: "b", byFlag: "", def: "", fromFile: "a", fromEnv: "b", fromFlag: "",
			get: func(c *Config) string { return c.LocalID },
		},
		{
			name: "local_root", flag: func(f *Flags, v string) { f.LocalRoot = []string{v} }, key: "local_root",
			env:  "SITESYNC_LOCAL_ROOT",
			file: `"/a/"`, inEnv: "w=/b;p=/c", byFlag: "w=/d", def: "", fromFile: "/a", fromEnv: "p=/c;w=/b",
			fromFlag: "w=/d",
			get:      func(c *Config) string { return c.LocalRoot.String() },
		},
		{
			name: "local_root_links", flag: func(f *Flags, v string) { f.LocalRootLinks = []string{v} },
			key:  "local_root_links",
			env:  "SITESYNC_LOCAL_ROOT_LINKS",
			file: `["/a/", "/b"]`, inEnv: "/b;/c/", byFlag: "/d", def: "", fromFile: "/a;/b", fromEnv: "/b;/c",
			fromFlag: "/d",
			get:      func(c *Config) string { return strings.Join(c.LocalRootLinks, ";") },
		},
		{
			name: "always_accessible_on", key: "always_accessible_on", env: "SITESYNC_ALWAYS_ACCESSIBLE_ON",
			flag: func(f *Flags, v string) { f.AlwaysAccessibleOn = []string{v} },
			file: `["a", "b"]`, inEnv: "b;c;b", byFlag: "", def: "", fromFile: "a;b", fromEnv: "b;c", fromFlag: "",
			get: func(c *Config) string { return strings.Join(c.AlwaysAccessibleOn, ";") },
		},
		{
			name: "mongo", flag: func(f *Flags, v string) { f.Mongo = &v }, env: "SITESYNC_MONGO",
			inEnv: "mongodb://b", byFlag: "mongodb://c", def: "mongodb://db.studio.example:27017",
			fromEnv: "mongodb://b", fromFlag: "mongodb://c",
			get:      func(c *Config) string { return c.Mongo.URI.Reveal() },
			otherEnv: "AVALON_MONGO", otherInEnv: "mongodb://a",
		},
		{
			name: "db", flag: func(f *Flags, v string) { f.DB = &v }, env: "SITESYNC_DB",
			inEnv: "b", byFlag: "c", def: "avalon", fromEnv: "b", fromFlag: "c",
			get:      func(c *Config) string { return c.Mongo.Database },
			otherEnv: "AVALON_DB", otherInEnv: "a",
		},
		{
			name: "transfers", flag: func(f *Flags, v string) { f.Transfers = &v }, env: "SITESYNC_TRANSFERS",
			inEnv: "5", byFlag: "6", def: "8", fromEnv: "5", fromFlag: "6",
			get: func(c *Config) string { return fmt.Sprint(c.Transfers) },
		},
		{
			name: "settle", flag: func(f *Flags, v string) { f.SourceGracePeriod = &v }, env: "SITESYNC_SETTLE",
			inEnv: "0", byFlag: "1m", def: "1m0s", fromEnv: "0s", fromFlag: "1m0s",
			get: func(c *Config) string { return c.SourceGracePeriod.String() },
		},
		{
			name: "no-index", flag: func(f *Flags, v string) { f.NoIndex = new(v == "true") }, env: "SITESYNC_NO_INDEX",
			inEnv: "1", byFlag: "false", def: "true", fromEnv: "false", fromFlag: "true",
			get: func(c *Config) string { return fmt.Sprint(c.Index) },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStudio(t)
			s.write(gdriveFile, strings.ReplaceAll(`{"gdrive": X, "second": X}`, "X",
				`{"credentials_url": "account.json", "root": "/My Drive"}`))
			s.write(configFile, `{}`)
			var flags Flags
			check := func(place, want string) {
				t.Helper()
				if got := test.get(s.mustLoad(flags)); got != want {
					t.Errorf("%s: %q, want %q", place, got, want)
				}
			}
			check("default", test.def)
			if test.key != "" {
				s.write(configFile, fmt.Sprintf(`{%q: %s}`, test.key, test.file))
				check("file", test.fromFile)
			}
			if test.otherEnv != "" {
				s.env[test.otherEnv] = test.otherInEnv
				check("older variable", test.otherInEnv)
			}
			s.env[test.env] = test.inEnv
			check("environment", test.fromEnv)
			test.flag(&flags, test.byFlag)
			check("flag", test.fromFlag)
		})
	}
}

func TestCredentialsPlaces(t *testing.T) {
	s := newStudio(t)
	s.write("a b/key.json", account())
	if err := os.Symlink("a b/key.json", filepath.Join(s.dir, "link.json")); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"a b/key.json":                            "a b/key.json",
		"./a b/../link.json":                      "link.json",
		s.dir + "/a b/key.json":                   "a b/key.json",
		"file://" + s.dir + "/a%20b/key.json":     "a b/key.json",
		"FILE://localhost" + s.dir + "/link.json": "link.json",
	} {
		s.write(gdriveFile, fmt.Sprintf(`{"gdrive": {"credentials_url": %q, "root": "/My Drive"}}`, url))
		site, _ := s.mustLoad(Flags{}).Remote()
		if site.Credentials != filepath.Join(s.dir, want) {
			t.Errorf("%s is %s", url, site.Credentials)
		}
	}
}
