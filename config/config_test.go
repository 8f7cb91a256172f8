package config

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// studio is a set of presets and an environment that are right; tests change
// one thing. In expected sentences DIR stands for the folder.
type studio struct {
	t   *testing.T
	dir string
	env map[string]string
}

const goodConfig = `{
  "local_id": "art-17",
  "retry_cnt": 3,
  "loop_delay": 60,
  "active_site": "studio",
  "remote_site": "gdrive"
}`

const goodGdrive = `{
  "gdrive": {"credentials_url": "account.json", "root": "/My Drive/studio"}
}`

var privateKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

func account() string {
	data, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "sync@studio.example",
		"private_key": privateKey(), "token_uri": "https://oauth2.example/token",
	})
	return string(data)
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	s := &studio{t: t, dir: t.TempDir(), env: map[string]string{"AVALON_MONGO": "mongodb://db.studio.example:27017"}}
	s.env["SITESYNC_PRESETS"] = s.dir
	s.write(configFile, goodConfig)
	s.write(gdriveFile, goodGdrive)
	s.write("account.json", account())
	return s
}

func (s *studio) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// load returns the error's lines and the warnings with DIR for the folder.
func (s *studio) load(flags Flags) (c *Config, warnings, errs []string) {
	s.t.Helper()
	c, warned, err := Load(flags, func(name string) (string, bool) {
		v, ok := s.env[name]
		return v, ok
	})
	if (c == nil) != (err != nil) {
		s.t.Errorf("config %v and error %v", c, err)
	}
	for _, w := range warned {
		warnings = append(warnings, strings.ReplaceAll(w, s.dir, "DIR"))
	}
	if err != nil {
		errs = strings.Split(strings.ReplaceAll(err.Error(), s.dir, "DIR"), "\n")
	}
	return c, warnings, errs
}

func (s *studio) mustLoad(flags Flags) *Config {
	s.t.Helper()
	c, warnings, errs := s.load(flags)
	if errs != nil || warnings != nil {
		s.t.Fatalf("errors %q, warnings %q", errs, warnings)
	}
	return c
}

func TestLoadDefaults(t *testing.T) {
	s := newStudio(t)
	s.write(configFile, `{"remote_site": "gdrive"}`)
	want := &Config{
		Presets: s.dir, RetryCount: 3, LoopDelay: time.Minute, ActiveSite: "studio", RemoteSite: "gdrive",
		Direction: Both,
		LocalRoot: Roots{},
		Sites: map[string]Site{"gdrive": {
			Name: "gdrive", Provider: GoogleDrive, Credentials: filepath.Join(s.dir, "account.json"),
			Root: Roots{"": "/My Drive/studio"},
		}},
		Mongo:     Mongo{URI: "mongodb://db.studio.example:27017", Database: "avalon", State: "sitesync"},
		Transfers: 8, Listen: "127.0.0.1:9105", LogFormat: "auto", LogLevel: "info",
		SourceGracePeriod: time.Minute, RetryDelay: 10 * time.Second, MaxRetryDelay: time.Hour,
		Index: true, Stream: true, Poll: true, ShutdownTimeout: 10 * time.Second,
	}
	got := s.mustLoad(Flags{})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	site, ok := got.Remote()
	if !ok || site.Name != "gdrive" {
		t.Errorf("Remote() = %v, %v", site, ok)
	}
}

// An empty variable, as compose files hand it down, says nothing.
func TestEmptyVariable(t *testing.T) {
	s := newStudio(t)
	want := s.mustLoad(Flags{})
	for _, name := range []string{
		"MONGO", "DB", "STATE_DB", "RETRY_CNT", "LOOP_DELAY", "ACTIVE_SITE", "LOCAL_ROOT", "TRANSFERS", "LISTEN",
		"LOG_FORMAT",
		"LOG_LEVEL", "SETTLE", "RETRY_DELAY", "MAX_RETRY_DELAY", "NO_INDEX", "NO_STREAM", "NO_POLL", "SHUTDOWN_TIMEOUT",
	} {
		s.env["SITESYNC_"+name] = ""
	}
	if diff := cmp.Diff(want, s.mustLoad(Flags{})); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestPresetsFolder(t *testing.T) {
	t.Run("PYPE_CONFIG", func(t *testing.T) {
		s := newStudio(t)
		delete(s.env, "SITESYNC_PRESETS")
		s.env["PYPE_CONFIG"] = s.dir
		s.write("presets/config.json", `{"local_id": "x"}`)
		if c := s.mustLoad(Flags{}); c.LocalID != "x" || c.Presets != filepath.Join(s.dir, "presets") {
			t.Errorf("read %q", c.Settings())
		}
	})
	t.Run("sync_server", func(t *testing.T) {
		s := newStudio(t)
		s.write("sync_server/config.json", `{"remote_site": "g"}`)
		s.write("sync_server/gdrive.json", `{"g": {"credentials_url": "../account.json", "root": "/Films/"}}`)
		c := s.mustLoad(Flags{})
		site, _ := c.Remote()
		want := Site{
			Name:        "g",
			Provider:    GoogleDrive,
			Credentials: filepath.Join(s.dir, "account.json"),
			Root:        Roots{"": "/Films"},
		}
		if diff := cmp.Diff(want, site); diff != "" || c.Presets != filepath.Join(s.dir, "sync_server") {
			t.Errorf("%s: site (-want +got):\n%s", c.Presets, diff)
		}
	})
	t.Run("relative", func(t *testing.T) {
		s := newStudio(t)
		t.Chdir(filepath.Dir(s.dir))
		if c := s.mustLoad(Flags{Presets: new(filepath.Base(s.dir))}); !filepath.IsAbs(c.Presets) {
			t.Errorf("presets are %s", c.Presets)
		}
	})
}

// Numbers are strings in some studios' presets.
func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		retry, delay string
		wantRetry    int
		wantDelay    time.Duration
	}{
		{`3`, `60`, 3, time.Minute},
		{`"3"`, `"60"`, 3, time.Minute},
		{`3.0`, `0.5`, 3, 500 * time.Millisecond},
		{`" 7 "`, `"1.5"`, 7, 1500 * time.Millisecond},
		{`1e1`, `6e1`, 10, time.Minute},
		{`null`, `"2m"`, 3, 2 * time.Minute},
	} {
		s := newStudio(t)
		s.write(configFile, fmt.Sprintf(`{"retry_cnt": %s, "loop_delay": %s}`, test.retry, test.delay))
		c := s.mustLoad(Flags{})
		if c.RetryCount != test.wantRetry || c.LoopDelay != test.wantDelay || c.SourceGracePeriod != test.wantDelay {
			t.Errorf("%s and %s are %d and %s", test.retry, test.delay, c.RetryCount, c.LoopDelay)
		}
	}
}

func TestByteOrderMark(t *testing.T) {
	s := newStudio(t)
	s.write(configFile, "\ufeff"+goodConfig)
	s.write(gdriveFile, "\ufeff"+goodGdrive)
	s.write("account.json", "\ufeff"+account())
	c, warnings, errs := s.load(Flags{})
	if len(errs) > 0 || c.LocalID != "art-17" {
		t.Errorf("read %+v, errors %q", c, errs)
	}
	var want []string
	for _, name := range []string{configFile, gdriveFile} {
		want = append(
			want,
			name+": begins with a byte order mark, which Pype does not read; save it as UTF-8 without one",
		)
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// "local" is the machine's own site, as in OpenPype, if that has a name.
func TestLocalSite(t *testing.T) {
	for id, want := range map[string]string{"art-17": "art-17", "": "local"} {
		s := newStudio(t)
		s.write(configFile, `{"active_site": "local", "remote_site": "gdrive", "local_id": "`+id+`"}`)
		c, warnings, errs := s.load(Flags{})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if c.ActiveSite != want {
			t.Errorf("with the id %q the active site is %q", id, c.ActiveSite)
		}
		// Two machines of one name would each say that they have what only the other has.
		warned := len(warnings) == 1 && strings.Contains(warnings[0], "give each a local_id of its own")
		if warned != (id == "") || !warned && len(warnings) > 0 {
			t.Errorf("with the id %q it warns of %q", id, warnings)
		}
	}
}

// The sites of always_accessible_on are a name or a list, "local" is the machine's own one, and each counts once.
func TestAlwaysAccessibleOn(t *testing.T) {
	for text, want := range map[string][]string{
		`null`: nil, `""`: nil, `" "`: nil, `[]`: nil,
		`"studio"`:                       {"studio"},
		`"local"`:                        {"art-17"},
		`["studio"]`:                     {"studio"},
		`["local", "art-17", "nowhere"]`: {"art-17", "nowhere"},
		`["studio", "gdrive", "studio"]`: {"studio", "gdrive"},
	} {
		s := newStudio(t)
		s.write(configFile, `{"remote_site": "gdrive", "local_id": "art-17", "always_accessible_on": `+text+`}`)
		if got := s.mustLoad(Flags{}).AlwaysAccessibleOn; !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	s := newStudio(t)
	s.write(configFile, `{"remote_site": "gdrive", "always_accessible_on": ["studio ", "studio"]}`)
	c, warnings, _ := s.load(Flags{})
	want := []string{`config.json: always_accessible_on is "studio "; the blanks around "studio" are ignored, ` +
		`as Pype does`}
	if !slices.Equal(c.AlwaysAccessibleOn, []string{"studio"}) || !slices.Equal(warnings, want) {
		t.Errorf("read %q, warnings %q", c.AlwaysAccessibleOn, warnings)
	}
}

func TestNestedRoots(t *testing.T) {
	s := newStudio(t)
	s.write(
		configFile,
		`{"remote_site": "gdrive", "local_root": {"disk1": {"work": "/mnt/a", "pub": {"x": "/mnt/b"}}, "home": `+
			`"/mnt/c"}}`,
	)
	s.write(gdriveFile, `{"gdrive": {"credentials_url": "account.json", "root": {"disk1": {"work": "/My Drive/a"}}}}`)
	c := s.mustLoad(Flags{})
	want := Roots{"disk1][work": "/mnt/a", "disk1][pub][x": "/mnt/b", "home": "/mnt/c"}
	if !maps.Equal(c.LocalRoot, want) {
		t.Errorf("local_root is %s", c.LocalRoot)
	}
	if path := c.Sites["gdrive"].Root[RootName("disk1", "work")]; path != "/My Drive/a" {
		t.Errorf("the site's root is %s", c.Sites["gdrive"].Root)
	}
	// As it is printed, it can be given to the flag.
	again := s.mustLoad(Flags{LocalRoot: strings.Split(want.String(), ";")})
	if !maps.Equal(again.LocalRoot, want) {
		t.Errorf("%s became %s", want, again.LocalRoot)
	}
}

// Without a remote site nothing is synced, and gdrive.json isn't needed.
func TestIdle(t *testing.T) {
	for _, remote := range []string{`""`, `null`} {
		s := newStudio(t)
		s.write(configFile, `{"remote_site": `+remote+`}`)
		if err := os.Remove(filepath.Join(s.dir, gdriveFile)); err != nil {
			t.Fatal(err)
		}
		if site, ok := s.mustLoad(Flags{}).Remote(); ok {
			t.Errorf("remote site is %v", site)
		}
	}
}

// One remote site is used of several; what others lack does no harm.
func TestSeveralSites(t *testing.T) {
	s := newStudio(t)
	s.write(gdriveFile, `{
	  "later": {},
	  "gdrive": {"credentials_url": "account.json", "root": {"work": "/My Drive/w", "publish": "/Films/p/"},
	             "subject": "a@b.example", "endpoint": "http://127.0.0.1:9/"},
	  "other": {"credentials_url": "/nowhere/key.json", "root": ""}
	}`)
	want := map[string]Site{
		"later": {Name: "later", Provider: GoogleDrive, Root: Roots{}},
		"gdrive": {
			Name: "gdrive", Provider: GoogleDrive, Credentials: filepath.Join(s.dir, "account.json"),
			Root:    Roots{"work": "/My Drive/w", "publish": "/Films/p"},
			Subject: "a@b.example", Endpoint: "http://127.0.0.1:9",
		},
		"other": {Name: "other", Provider: GoogleDrive, Credentials: filepath.FromSlash("/nowhere/key.json"),
			Root: Roots{}},
	}
	if diff := cmp.Diff(want, s.mustLoad(Flags{}).Sites); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}

// All printed forms are free of secrets.
func TestPrintedForms(t *testing.T) {
	s := newStudio(t)
	s.env["AVALON_MONGO"] = "mongodb://pype:S3cr3t@db.studio.example/?replicaSet=rs0"
	c := s.mustLoad(Flags{})
	if c.Mongo.URI.Reveal() != s.env["AVALON_MONGO"] {
		t.Errorf("the driver gets %s", c.Mongo.URI.Reveal())
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	fields := zapcore.NewMapObjectEncoder()
	zap.Object("config", c).AddTo(fields)
	settings := fmt.Sprint(c.Settings())
	printed := []string{string(asJSON), fmt.Sprint(fields.Fields), settings}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed = append(
			printed,
			fmt.Sprintf(verb, *c),
			fmt.Sprintf(verb, c),
			fmt.Sprintf(verb, c.Mongo),
			fmt.Sprintf(verb, c.Mongo.URI),
		)
	}
	for _, text := range printed {
		if strings.Contains(text, "S3cr3t") || strings.Contains(text, fmt.Sprintf("%x", "S3cr3t")) {
			t.Errorf("shows the password: %s", text)
		}
	}
	const want = `[retry_cnt 3] [loop_delay 1m] [active_site studio] [remote_site gdrive] ` +
		`[direction both] [local_root ] ` +
		`[local_root_links ] [always_accessible_on ] ` +
		`[mongo mongodb://pype:***@db.studio.example/?replicaSet=rs0]`
	if !strings.Contains(settings, want) {
		t.Errorf("%s\nlacks %s", settings, want)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(goodConfig), []byte(goodGdrive))
	f.Add(
		[]byte("\ufeff{\"remote_site\": \"\", \"local_root\": {\"a\": \"/b\"}}"),
		[]byte(`{"x": null, "y": {"root": {"": 1}}}`),
	)
	f.Add(
		[]byte(`{"retry_cnt": "3", "loop_delay": 1e400, "retry_cnt": []}`),
		[]byte(`{"gdrive": {"root": {"a": "/../b"}, "root": 3}}`),
	)
	f.Add(
		[]byte(`[`),
		[]byte(`{"gdrive": {"credentials_url": "file://%zz", "subject": "a@", "endpoint": "http://[::1"}}`),
	)
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "account.json"), []byte(account()), 0o600); err != nil {
		f.Fatal(err)
	}
	env := map[string]string{"SITESYNC_PRESETS": dir, "AVALON_MONGO": "mongodb://db"}
	f.Fuzz(func(t *testing.T, config, gdrive []byte) {
		for name, data := range map[string][]byte{configFile: config, gdriveFile: gdrive} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, warnings, err := Load(Flags{}, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		for _, w := range warnings {
			if !namesFile(w) {
				t.Errorf("warning names no file: %s", w)
			}
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !namesFile(line) {
					t.Errorf("error names no file: %s", line)
				}
			}
			return
		}
		site, ok := c.Remote()
		switch {
		case ok != (c.RemoteSite != ""), ok && (len(site.Root) == 0 || !filepath.IsAbs(site.Credentials)),
			c.RetryCount < 1, c.LoopDelay <= 0, !validSiteName(c.ActiveSite), c.ActiveSite == c.RemoteSite:
			t.Errorf("not valid: %+v", c)
		}
		for _, roots := range []Roots{site.Root, c.LocalRoot} {
			for _, path := range roots.All() {
				if !strings.HasPrefix(filepath.ToSlash(path), "/") && runtime.GOOS != "windows" {
					t.Errorf("root %q is not absolute", path)
				}
			}
		}
	})
}

func namesFile(line string) bool {
	return strings.HasPrefix(line, configFile+": ") || strings.HasPrefix(line, gdriveFile+": ")
}

// Nothing is written to where the documents say, so files come down only to a local root.
func TestDirections(t *testing.T) {
	root := t.TempDir()
	for _, test := range []struct {
		direction, remote, root string
		want                    []Direction
	}{
		{"", "gdrive", root, []Direction{Up, Down}},
		{"both", "gdrive", root, []Direction{Up, Down}},
		{"Up", "gdrive", root, []Direction{Up}},
		{"down", "gdrive", root, []Direction{Down}},
		{"both", "gdrive", "", []Direction{Up}},
		{"up", "gdrive", "", []Direction{Up}},
		{"both", "", root, nil},
		{"down", "", "", nil},
	} {
		s := newStudio(t)
		s.write(configFile, fmt.Sprintf(`{"remote_site": %q, "local_root": %q}`, test.remote, test.root))
		if test.root == "" {
			s.write(configFile, fmt.Sprintf(`{"remote_site": %q}`, test.remote))
		}
		flags := Flags{}
		if test.direction != "" {
			flags.Direction = &test.direction
		}
		if got := s.mustLoad(flags).Directions(); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v", test, got)
		}
	}
	s := newStudio(t)
	s.write(configFile, `{"remote_site": "gdrive"}`)
	down, odd := "down", "sideways"
	if _, _, errs := s.load(Flags{Direction: &down}); len(errs) != 1 || !strings.Contains(errs[0], "local_root") {
		t.Errorf("down without a local root: %q", errs)
	}
	if _, _, errs := s.load(Flags{Direction: &odd}); len(errs) != 1 || !strings.Contains(errs[0], "up, down or both") {
		t.Errorf("no direction: %q", errs)
	}
}
