// Package deploy_test checks what is handed out for running sitesync: that it is well formed, and that it fits the
// program.
package deploy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	k8sjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"sitesync/config"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

func write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// decode reads YAML. A field that into does not have, also in other letters, is an error, as is one that is there
// twice.
func decode(t *testing.T, name string, into any) {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(read(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	unknown, err := k8sjson.UnmarshalStrict(data, into)
	if err := errors.Join(append(unknown, err)...); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// variables are the environment variables that sitesync knows.
func variables(t *testing.T) []string {
	t.Helper()
	var cli struct {
		config.Flags `embed:""`
	}
	parser, err := kong.New(&cli, kong.Vars(config.FlagHelp))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range parser.Model.Flags {
		for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(f.Help, -1) {
			names = append(names, v[1])
		}
	}
	if len(names) < 20 {
		t.Fatalf("the help texts name only %q", names)
	}
	return names
}

// usualMemory is what sitesync needs, in bytes.
const usualMemory = 64 << 20

// process is how sitesync is started by a manifest or a unit.
type process struct {
	args []string
	env  map[string]string
	// mounts are the folders and files of others that it sees, all of them read-only.
	mounts []string
	stop   time.Duration // between SIGTERM and SIGKILL
	memory int64         // bytes that it is killed for
}

// check looks at all that depends on the program: it loads the settings as sitesync would, with the files put where
// the process would find them.
func (p process) check(t *testing.T, files map[string]string) *config.Config {
	t.Helper()
	known := variables(t)
	for name := range p.env {
		if !slices.Contains(known, name) {
			t.Errorf("sitesync does not know the variable %s", name)
		}
	}

	root := t.TempDir()
	at := func(text string) string { // with all paths of the process below root
		for _, m := range p.mounts {
			text = regexp.MustCompile(`(^|")`+regexp.QuoteMeta(m)).
				ReplaceAllString(text, "${1}"+filepath.ToSlash(root)+m)
		}
		return text
	}
	for path, content := range files {
		if !slices.ContainsFunc(p.mounts, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }) {
			t.Errorf("%s is below none of the mounts %q", path, p.mounts)
		}
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, at(content), 0o600)
	}
	var flags struct {
		config.Flags `embed:""`
		Run          struct{} `cmd:""`
	}
	parser, err := kong.New(&flags, kong.Vars(config.FlagHelp))
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, arg := range p.args {
		args = append(args, at(arg))
	}
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("it is started as sitesync %q: %v", p.args, err)
	}
	cfg, warnings, err := config.Load(flags.Flags, func(name string) (string, bool) {
		v, ok := p.env[name]
		return at(v), ok
	})
	if err != nil {
		t.Fatalf("sitesync refuses the settings: %v", err)
	}
	for _, w := range warnings {
		if !strings.Contains(w, "other machines can read") {
			t.Errorf("sitesync warns: %s", w)
		}
	}
	if _, ok := cfg.Remote(); !ok {
		t.Error("nothing is synced with these settings")
	}
	if p.stop <= cfg.ShutdownTimeout {
		t.Errorf("it is killed %s after SIGTERM, but may take %s", p.stop, cfg.ShutdownTimeout)
	}
	if p.memory < 2*usualMemory {
		t.Errorf("it is killed for %d bytes, which is too little above the usual %d", p.memory, usualMemory)
	}
	return cfg
}

// localRoot checks that the storage is where the presets say, and that nothing is to be written to it: it is one of the
// mounts.
func (p process) localRoot(t *testing.T, cfg *config.Config) {
	t.Helper()
	root, ok := cfg.LocalRoot[""]
	if !ok ||
		!slices.ContainsFunc(p.mounts, func(m string) bool { return strings.HasSuffix(filepath.ToSlash(root), m) }) {
		t.Errorf("local_root is %q, the mounts are %q", root, p.mounts)
	}
	if want := []config.Direction{config.Up}; !slices.Equal(cfg.Directions(), want) {
		t.Errorf("it syncs %q, but can only read the storage", cfg.Directions())
	}
}

// account is a key file as Google hands it out.
func account(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "sync@studio.example",
		"private_key": string(
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		), "token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const mongoURI = "mongodb://sitesync:p%40ss@mongo:27017/?replicaSet=rs0\n"

// sameKeys reports keys that only one of two maps has.
func sameKeys[A, B any](t *testing.T, what string, a map[string]A, b map[string]B) {
	t.Helper()
	got, want := slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q and %q", what, got, want)
	}
}
