package deploy_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unit reads a unit of systemd: section, key, values in their order.
func unit(t *testing.T, name string) map[string]map[string][]string {
	t.Helper()
	u, section := map[string]map[string][]string{}, ""
	for line := range strings.Lines(read(t, name)) {
		line = strings.TrimSpace(line)
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			u[section] = map[string][]string{}
		case isSetting && u[section] != nil:
			u[section][key] = append(u[section][key], value)
		default:
			t.Errorf("%s: %q is no setting", name, line)
		}
	}
	return u
}

func TestUnit(t *testing.T) {
	const name = "systemd/sitesync.service"
	service := unit(t, name)["Service"]
	only := func(key string) string {
		t.Helper()
		if len(service[key]) != 1 {
			t.Fatalf("%s is %q", key, service[key])
		}
		return service[key][0]
	}
	seconds, err := strconv.Atoi(only("TimeoutStopSec"))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := strconv.Atoi(strings.TrimSuffix(only("MemoryMax"), "M"))
	if err != nil {
		t.Fatal(err)
	}
	command := strings.Fields(only("ExecStart"))
	credentials := "/run/credentials/" + filepath.Base(name)
	run := process{args: command[1:], env: map[string]string{}, mounts: []string{"/etc/sitesync", credentials},
		stop: time.Duration(seconds) * time.Second, memory: int64(memory) << 20}
	for _, e := range service["Environment"] {
		k, v, _ := strings.Cut(e, "=")
		run.env[k] = v
	}
	files := map[string]string{"/etc/sitesync/config.json": `{"remote_site": "gdrive"}`,
		"/etc/sitesync/gdrive.json": `{"gdrive": {"credentials_url": "` + credentials +
			`/gdrive-key.json", "root": "/STUDIO/projects"}}`}
	if !strings.Contains(read(t, name), `"credentials_url": "`+credentials+`/gdrive-key.json"`) {
		t.Error("the unit does not say what gdrive.json must name")
	}
	for _, c := range service["LoadCredential"] {
		id, source, _ := strings.Cut(c, ":")
		if source != "/etc/sitesync/"+id || !strings.Contains(read(t, "README.md"), source) {
			t.Errorf("README.md does not say how to make %s", source)
		}
		files[credentials+"/"+id] = map[string]string{"mongo-uri": mongoURI, "gdrive-key.json": account(t)}[id]
	}
	cfg := run.check(t, files)
	if cfg.Listen != "127.0.0.1:9105" {
		t.Errorf("it listens at %s", cfg.Listen)
	}
	for key, want := range map[string]string{"DynamicUser": "yes", "ProtectSystem": "strict", "NoNewPrivileges": "yes",
		"CapabilityBoundingSet": ""} {
		if got := only(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	verifyUnit(t, name, command[0])
}
