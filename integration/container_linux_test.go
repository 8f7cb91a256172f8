package integration_test

import (
	"context"
	"debug/elf"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/yaml"

	"sitesync/integration/studio"
)

// imageUser is the user of the image.
const imageUser = 65532

// container is sitesync as it is run from deploy/compose: what the Dockerfile builds, in a folder with nothing else in
// it but what is mounted there, as a user who can write nothing. Without the rights to change root and user (which
// root has), it sees the rest of the machine too, and is us.
type container struct {
	t    *testing.T
	jail string
	env  map[string]string
}

func newContainer(t *testing.T) *container {
	t.Helper()
	c := &container{t: t, jail: t.TempDir()}
	check(t, os.Chmod(c.jail, 0o755))
	build := regexp.MustCompile(`(?m)^    (CGO_ENABLED=0 .* go build .*) -o /sitesync \.$`).
		FindSubmatch(must(os.ReadFile("../Dockerfile"))(t))
	if build == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	cmd := exec.Command("sh", "-c", string(build[1])+` -o "$JAIL/sitesync" sitesync`)
	cmd.Env = append(os.Environ(), "JAIL="+c.jail)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	check(t, yaml.Unmarshal(must(os.ReadFile("../deploy/compose/compose.yaml"))(t), &compose))
	c.env = compose.Services["sitesync"].Environment
	return c
}

func (c *container) isRoot() bool { return os.Geteuid() == 0 }

// inside is a path of the container as the process there knows it.
func (c *container) inside(path string) string {
	if c.isRoot() {
		return path
	}
	return filepath.Join(c.jail, path)
}

// mount puts a file into the container. A secret can only be read by the user of the image.
func (c *container) mount(path string, content []byte, secret bool) {
	c.t.Helper()
	file := filepath.Join(c.jail, path)
	check(c.t, os.MkdirAll(filepath.Dir(file), 0o755))
	mode := os.FileMode(0o444)
	if secret {
		mode = 0o400
	}
	check(c.t, os.WriteFile(file, content, mode))
	if secret && c.isRoot() {
		check(c.t, os.Chown(file, imageUser, imageUser))
	}
}

func (c *container) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.jail, "sitesync"), args...)
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		cmd.Env = append(cmd.Env, name+"="+c.env[name])
	}
	cmd.Dir = c.jail
	if c.isRoot() {
		cmd.Path, cmd.Dir = "/sitesync", "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.jail,
			Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
	}
	return cmd
}

func TestContainer(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	c := newContainer(t)
	program := must(elf.Open(filepath.Join(c.jail, "sitesync")))(t)
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 ||
		program.Section(".interp") != nil {
		t.Errorf("it is linked with %q, %v; there is nothing in the image", libraries, err)
	}

	// The presets of deploy/compose, with the site of this test.
	var config map[string]any
	var sites map[string]map[string]any
	check(t, json.Unmarshal(must(os.ReadFile("../deploy/compose/presets/config.json"))(t), &config))
	check(t, json.Unmarshal(must(os.ReadFile("../deploy/compose/presets/gdrive.json"))(t), &sites))
	config["local_root"] = c.inside(config["local_root"].(string))
	gdrive := sites[config["remote_site"].(string)]
	gdrive["credentials_url"] = c.inside(gdrive["credentials_url"].(string))
	gdrive["root"], gdrive["endpoint"] = "/SHOW/projects", s.drive.URL
	c.mount("/presets/config.json", must(json.Marshal(config))(t), false)
	c.mount("/presets/gdrive.json", must(json.Marshal(sites))(t), false)
	c.mount("/run/secrets/mongo_uri", []byte(s.mongo+"\n"), true)
	c.mount("/run/secrets/gdrive_key", s.account.Credentials(), true)
	for _, name := range []string{"SITESYNC_PRESETS", "SITESYNC_MONGO_FILE"} {
		c.env[name] = c.inside(c.env[name])
	}
	c.env["SITESYNC_DB"], c.env["SITESYNC_STATE_DB"], c.env["SITESYNC_LISTEN"] = s.db.Name(), s.state(), "127.0.0.1:0"
	storage := filepath.Join(c.jail, "mnt/studio")
	check(t, os.MkdirAll(storage, 0o755))
	s.studio = studio.New(s.db, studio.Options{Root: storage})

	project := s.project("Test")
	before := s.publish(project, studio.Publish{Size: 100})

	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	out, err := c.command(ctx, "check").CombinedOutput()
	if err != nil || strings.Contains(string(out), "others can read (mode") {
		t.Errorf("check: %v\n%s", err, out)
	}
	cmd := c.command(s.ctx, "run")
	file := must(os.Create(filepath.Join(t.TempDir(), "log")))(t)
	defer file.Close()
	log := func() string { return string(must(os.ReadFile(file.Name()))(t)) }
	cmd.Stderr = file
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, if all went well
	var address string
	s.eventually("it serves", func() bool {
		found := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(log())
		if found != nil {
			address = found[1]
		}
		return found != nil
	})
	s.synced(before)
	s.synced(s.publish(project, studio.Publish{Size: 6 << 20, Version: 2}))
	c.env["SITESYNC_LISTEN"] = address
	if out, err := c.command(ctx, "health").CombinedOutput(); err != nil || string(out) != `{"status":"ok"}`+"\n" {
		t.Errorf("health: %v\n%s", err, out)
	}
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log())
	}
	s.checkForSecrets("the log", log())
}
