package deploy_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sitesync/config"
)

// artistPage explains the files of the folder artist, and has the presets that go with them.
const artistPage = "../docs/artists-at-home.md"

// artistPreset is the preset that the page shows after its name.
func artistPreset(t *testing.T, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(read(t, artistPage), "`"+name+"`:\n\n```json\n")
	preset, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatalf("%s does not show %s", artistPage, name)
	}
	return preset
}

// checkArtist is process.check with the presets of the page, and all files in one folder.
func checkArtist(t *testing.T, p process, folder string) {
	t.Helper()
	p.mounts = []string{folder}
	cfg := p.check(t, map[string]string{
		folder + "/config.json":     artistPreset(t, "config.json"),
		folder + "/gdrive.json":     artistPreset(t, "gdrive.json"),
		folder + "/gdrive-key.json": account(t), folder + "/mongo-uri": mongoURI})
	if want := []config.Direction{config.Up, config.Down}; !slices.Equal(cfg.Directions(), want) {
		t.Errorf("it syncs %q, not %q", cfg.Directions(), want)
	}
	if cfg.LocalID == "" || cfg.ActiveSite != cfg.LocalID {
		t.Errorf("active_site is %q and local_id %q", cfg.ActiveSite, cfg.LocalID)
	}
	if cfg.Listen != "127.0.0.1:9105" {
		t.Errorf("it listens at %s", cfg.Listen)
	}
}

// installed checks that the page installs a file at all.
func installed(t *testing.T, name string) {
	t.Helper()
	if !strings.Contains(read(t, artistPage), "deploy/"+name) {
		t.Errorf("%s does not say what to do with deploy/%s", artistPage, name)
	}
}

func TestUserUnit(t *testing.T) {
	const name = "artist/sitesync.service"
	installed(t, name)
	u := unit(t, name)
	if want := []string{"default.target"}; !slices.Equal(u["Install"]["WantedBy"], want) {
		t.Errorf("it is wanted by %q: the systemd of a user has only %q", u["Install"]["WantedBy"], want)
	}
	service := u["Service"]
	for _, key := range []string{"User", "DynamicUser", "LoadCredential", "CapabilityBoundingSet"} {
		if service[key] != nil {
			t.Errorf("the systemd of a user can't set %s", key)
		}
	}
	seconds, err := strconv.Atoi(service["TimeoutStopSec"][0])
	if err != nil {
		t.Fatal(err)
	}
	memory, err := strconv.Atoi(strings.TrimSuffix(service["MemoryMax"][0], "M"))
	if err != nil {
		t.Fatal(err)
	}
	command := strings.Fields(service["ExecStart"][0])
	p := process{args: command[1:], env: map[string]string{}, stop: time.Duration(seconds) * time.Second,
		memory: int64(memory) << 20}
	for _, e := range service["Environment"] {
		k, v, _ := strings.Cut(e, "=")
		p.env[k] = strings.ReplaceAll(v, "%E", "/home/anna/.config")
	}
	checkArtist(t, p, "/home/anna/.config/sitesync")
	verifyUnit(t, name, command[0], "--user")
}

// verifyUnit has systemd say itself what it does not understand, where there is systemd.
func verifyUnit(t *testing.T, name, program string, args ...string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	binary, copied := filepath.Join(t.TempDir(), "sitesync"), filepath.Join(t.TempDir(), filepath.Base(name))
	write(t, binary, "#!/bin/sh\n", 0o755)
	write(t, copied, strings.ReplaceAll(read(t, name), program, binary), 0o644)
	cmd := exec.Command(analyze, append(args, "verify", copied)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir()) // the systemd of a user wants one
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Base(name)+":") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// property reads the value of a property list that begins next: a string, a bool, an int, a list, or a dict by key.
func property(t *testing.T, d *xml.Decoder) any {
	t.Helper()
	start, more := nextElement(t, d)
	if !more {
		return nil
	}
	text := func() (s string) {
		if err := d.DecodeElement(&s, &start); err != nil {
			t.Fatal(err)
		}
		return s
	}
	switch start.Name.Local {
	case "key", "string":
		return text()
	case "integer":
		n, err := strconv.Atoi(text())
		if err != nil {
			t.Fatal(err)
		}
		return n
	case "true", "false":
		if err := d.Skip(); err != nil {
			t.Fatal(err)
		}
		return start.Name.Local == "true"
	case "array":
		var all []any
		for v := property(t, d); v != nil; v = property(t, d) {
			all = append(all, v)
		}
		return all
	case "dict":
		all := map[string]any{}
		for k := property(t, d); k != nil; k = property(t, d) {
			if _, twice := all[k.(string)]; twice {
				t.Fatalf("%s is there twice", k)
			}
			all[k.(string)] = property(t, d)
		}
		return all
	}
	t.Fatalf("a property list has no <%s>", start.Name.Local)
	return nil
}

// nextElement is the next element that begins, unless one ends before.
func nextElement(t *testing.T, d *xml.Decoder) (xml.StartElement, bool) {
	t.Helper()
	for {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			return token, true
		case xml.EndElement:
			return xml.StartElement{}, false
		}
	}
}

// The keys and the types of their values are those of launchd.plist(5).
func TestLaunchAgent(t *testing.T) {
	const name = "artist/sitesync.plist"
	installed(t, name)
	d := xml.NewDecoder(strings.NewReader(read(t, name)))
	if start, ok := nextElement(t, d); !ok || start.Name.Local != "plist" {
		t.Fatal("it is no property list")
	}
	agent, ok := property(t, d).(map[string]any)
	if !ok {
		t.Fatal("it is no dict")
	}
	types := map[string]string{}
	for key, value := range agent {
		types[key] = fmt.Sprintf("%T", value)
	}
	if want := map[string]string{"Label": "string", "ProgramArguments": "[]interface {}", "RunAtLoad": "bool",
		"EnvironmentVariables": "map[string]interface {}", "KeepAlive": "bool", "ExitTimeOut": "int", "Nice": "int",
		"StandardErrorPath": "string"}; !maps.Equal(types, want) {
		t.Fatalf("its keys are %v, not %v", types, want)
	}
	p := process{env: map[string]string{}, stop: time.Duration(agent["ExitTimeOut"].(int)) * time.Second,
		memory: 256 << 20} // launchd sets no limit
	for _, arg := range agent["ProgramArguments"].([]any)[1:] {
		p.args = append(p.args, arg.(string))
	}
	for k, v := range agent["EnvironmentVariables"].(map[string]any) {
		p.env[k] = v.(string)
	}
	if agent["Label"] != strings.TrimSuffix(filepath.Base(name), ".plist") {
		t.Errorf("launchctl knows it as %s", agent["Label"])
	}
	checkArtist(t, p, "/Users/NAME/.config/sitesync")
}

// task is as much of the schema of the task scheduler as ours uses.
type task struct {
	XMLName     xml.Name  `xml:"http://schemas.microsoft.com/windows/2004/02/mit/task Task"`
	Version     string    `xml:"version,attr"`
	Description string    `xml:"RegistrationInfo>Description"`
	Boot        []trigger `xml:"Triggers>BootTrigger"`
	Registered  []trigger `xml:"Triggers>RegistrationTrigger"`
	Principal   struct {
		ID        string `xml:"id,attr"`
		UserID    string `xml:"UserId"`
		LogonType string `xml:"LogonType"`
		RunLevel  string `xml:"RunLevel"`
	} `xml:"Principals>Principal"`
	Settings struct {
		MultipleInstancesPolicy    string
		DisallowStartIfOnBatteries bool
		StopIfGoingOnBatteries     bool
		RunOnlyIfNetworkAvailable  bool
		ExecutionTimeLimit         string
		Enabled                    bool
	} `xml:"Settings"`
	Actions struct {
		Context string `xml:"Context,attr"`
		Exec    struct{ Command, Arguments string }
	} `xml:"Actions"`
}

type trigger struct {
	Interval string `xml:"Repetition>Interval"`
}

// taskElements are the elements that task reads, all of which are in Microsoft's schema.
var taskElements = []string{"Task", "RegistrationInfo", "Description", "Triggers", "BootTrigger", "RegistrationTrigger",
	"Repetition", "Interval", "Principals", "Principal", "UserId", "LogonType", "RunLevel", "Settings",
	"MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries", "RunOnlyIfNetworkAvailable",
	"ExecutionTimeLimit", "Enabled", "Actions", "Exec", "Command", "Arguments"}

func TestScheduledTask(t *testing.T) {
	const name = "artist/sitesync-task.xml"
	installed(t, name)
	text := read(t, name)
	// PowerShell passes it on as UTF-16, which a declaration of another encoding would contradict.
	if strings.HasPrefix(text, "<?xml") {
		t.Error("it declares its encoding")
	}
	d := xml.NewDecoder(strings.NewReader(text))
	for token, err := d.Token(); !errors.Is(err, io.EOF); token, err = d.Token() {
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && !slices.Contains(taskElements, start.Name.Local) {
			t.Errorf("<%s> is not checked here", start.Name.Local)
		}
	}
	var parsed task
	if err := xml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	if want := []trigger{{"PT5M"}}; !slices.Equal(parsed.Boot, want) || !slices.Equal(parsed.Registered, want) {
		t.Errorf("it is started %v and %v", parsed.Boot, parsed.Registered)
	}
	if p := parsed.Principal; p.ID != parsed.Actions.Context || p.LogonType != "S4U" || p.RunLevel != "LeastPrivilege" {
		t.Errorf("it runs as %+v", p)
	}
	// What Windows does without these: it ends the task on battery, after three days, or runs a second one.
	s := parsed.Settings
	if s.MultipleInstancesPolicy != "IgnoreNew" || s.DisallowStartIfOnBatteries || s.StopIfGoingOnBatteries ||
		s.ExecutionTimeLimit != "PT0S" || !s.Enabled {
		t.Errorf("its settings are %+v", s)
	}
	// A slash instead of a drive, for the sake of the system that this test runs on.
	portable := func(path string) string { return strings.ReplaceAll(strings.TrimPrefix(path, "C:"), `\`, "/") }
	const folder = "/Users/NAME/sitesync"
	if portable(parsed.Actions.Exec.Command) != folder+"/sitesync.exe" {
		t.Errorf("it runs %s", parsed.Actions.Exec.Command)
	}
	p := process{stop: time.Minute, memory: 256 << 20} // Windows ends it at once, and sets no limit
	for _, arg := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(parsed.Actions.Exec.Arguments, -1) {
		p.args = append(p.args, portable(arg[1]+arg[2]))
	}
	checkArtist(t, p, folder)
}
