package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// compose is as much of a Compose file as ours has; anything else in it is an error.
type compose struct {
	Name     string             `json:"name"`
	Services map[string]service `json:"services"`
	Volumes  map[string]any     `json:"volumes"`
	Secrets  map[string]struct {
		File string `json:"file"`
	} `json:"secrets"`
}

type service struct {
	Image           string                       `json:"image"`
	Build           string                       `json:"build"`
	Restart         string                       `json:"restart"`
	Entrypoint      []string                     `json:"entrypoint"`
	Command         []string                     `json:"command"`
	DependsOn       map[string]map[string]string `json:"depends_on"`
	StopGracePeriod string                       `json:"stop_grace_period"`
	User            string                       `json:"user"`
	ReadOnly        bool                         `json:"read_only"`
	CapDrop         []string                     `json:"cap_drop"`
	SecurityOpt     []string                     `json:"security_opt"`
	MemLimit        string                       `json:"mem_limit"`
	Environment     map[string]string            `json:"environment"`
	Secrets         []string                     `json:"secrets"`
	Networks        map[string]any               `json:"networks"`
	Ports           []string                     `json:"ports"`
	Volumes         []any                        `json:"volumes"`
	Healthcheck     struct {
		Test        []string `json:"test"`
		Interval    string   `json:"interval"`
		Timeout     string   `json:"timeout"`
		StartPeriod string   `json:"start_period"`
	} `json:"healthcheck"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	decode(t, "compose/compose.yaml", &c)
	return c
}

func TestCompose(t *testing.T) {
	c := readCompose(t)
	s := c.Services["sitesync"]
	used := map[string]bool{}
	for name, service := range c.Services {
		for other := range service.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		for _, secret := range service.Secrets {
			used[secret] = true
		}
		words := strings.Join(append(service.Command, values(service.Environment)...), " ")
		for _, f := range regexp.MustCompile(`/run/secrets/(\w+)`).FindAllStringSubmatch(words, -1) {
			if !slices.Contains(service.Secrets, f[1]) {
				t.Errorf("%s reads the secret %s, which it is not given", name, f[1])
			}
		}
	}
	sameKeys(t, "secrets that are given and that there are", used, c.Secrets)
	page := read(t, "README.md")
	for name, secret := range c.Secrets {
		if !strings.Contains(page, secret.File) {
			t.Errorf("README.md does not say how to make %s, the secret %s", secret.File, name)
		}
		if !strings.HasPrefix(secret.File, "secrets/") {
			t.Errorf("the secret %s is in %s, which git does not ignore", name, secret.File)
		}
	}
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
		!slices.Contains(s.SecurityOpt, "no-new-privileges:true") ||
		strings.HasSuffix(s.User, "-0:0}") {
		t.Error("sitesync has rights that it does not need")
	}
	if !slices.Equal(s.Healthcheck.Test, []string{"CMD", "/sitesync", "health"}) {
		t.Errorf("the health check is %q", s.Healthcheck.Test)
	}

	stop, err := time.ParseDuration(s.StopGracePeriod)
	if err != nil {
		t.Fatal(err)
	}
	if s.MemLimit != "256m" {
		t.Fatalf("the memory limit is %s", s.MemLimit)
	}
	run := process{args: s.Command, env: s.Environment, mounts: []string{"/run/secrets"}, stop: stop, memory: 256 << 20}
	for _, v := range s.Volumes {
		switch v := v.(type) {
		case string:
			parts := strings.Split(v, ":")
			if len(parts) != 3 || parts[2] != "ro" {
				t.Errorf("%s can be written to", v)
			}
			run.mounts = append(run.mounts, parts[1])
		case map[string]any:
			if v["read_only"] != true {
				t.Errorf("%v can be written to", v)
			}
			run.mounts = append(run.mounts, v["target"].(string))
		}
	}
	cfg := run.check(t, map[string]string{
		"/presets/config.json": read(
			t,
			"compose/presets/config.json",
		), "/presets/gdrive.json": read(t, "compose/presets/gdrive.json"),
		"/run/secrets/mongo_uri": mongoURI, "/run/secrets/gdrive_key": account(t)})
	run.localRoot(t, cfg)
	if cfg.Listen != "0.0.0.0:9105" || !slices.Equal(s.Ports, []string{"127.0.0.1:9105:9105"}) {
		t.Errorf("it listens at %s, and is published as %s", cfg.Listen, s.Ports)
	}
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// The user that is made for sitesync has the role of docs/security.md, which a test of its own looks after.
func TestRoleOfCompose(t *testing.T) {
	role := func(text, before string) string {
		_, text, ok := strings.Cut(text, before)
		if !ok {
			t.Fatalf("no %q", before)
		}
		text, _, _ = strings.Cut(text, `"roles": []`)
		return strings.Join(strings.Fields(text), " ")
	}
	got, want := role(
		read(t, "compose/mongo-init.js"),
		"admin.runCommand(",
	), role(
		read(t, "../docs/security.md"),
		"db.adminCommand(",
	)
	if got != want {
		t.Errorf("the role is\n%s\nand in docs/security.md\n%s", got, want)
	}
}
