package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileInfo is what goreleaser sets on a file in an archive.
type fileInfo struct {
	Owner string `json:"owner"`
	Group string `json:"group"`
	Mode  int    `json:"mode"`
	MTime string `json:"mtime"`
}

// goreleaserConfig is the part of goreleaser's schema that .goreleaser.yaml uses.
type goreleaserConfig struct {
	Version     int    `json:"version"`
	ProjectName string `json:"project_name"`
	Before      struct {
		Hooks []string `json:"hooks"`
	} `json:"before"`
	Builds []struct {
		Binary       string   `json:"binary"`
		Env          []string `json:"env"`
		Flags        []string `json:"flags"`
		LDFlags      []string `json:"ldflags"`
		GOOS         []string `json:"goos"`
		GOARCH       []string `json:"goarch"`
		ModTimestamp string   `json:"mod_timestamp"`
	} `json:"builds"`
	Archives []struct {
		NameTemplate    string   `json:"name_template"`
		Formats         []string `json:"formats"`
		FormatOverrides []struct {
			GOOS    string   `json:"goos"`
			Formats []string `json:"formats"`
		} `json:"format_overrides"`
		WrapInDirectory bool     `json:"wrap_in_directory"`
		BuildsInfo      fileInfo `json:"builds_info"`
		Files           []struct {
			Src  string   `json:"src"`
			Info fileInfo `json:"info"`
		} `json:"files"`
	} `json:"archives"`
	Checksum struct {
		NameTemplate string `json:"name_template"`
		Algorithm    string `json:"algorithm"`
	} `json:"checksum"`
	Changelog struct {
		Disable bool `json:"disable"`
	} `json:"changelog"`
	Release struct {
		Disable bool `json:"disable"`
	} `json:"release"`
}

// licenseFolder is where the hook collects the licenses of the modules.
const licenseFolder = "third_party_licenses"

// A release is built with the flags of the image, for the image's platforms among others, and has the same bytes each
// time.
func TestReleaseBuild(t *testing.T) {
	var c goreleaserConfig
	decode(t, "../.goreleaser.yaml", &c)
	if c.Version != 2 || len(c.Builds) != 1 || len(c.Archives) != 1 {
		t.Fatalf("schema version %d with %d builds and %d archives", c.Version, len(c.Builds), len(c.Archives))
	}
	b := c.Builds[0]
	build := fmt.Sprintf("%s GOOS=$TARGETOS GOARCH=$TARGETARCH go build %s -ldflags %q -o /%s .",
		strings.Join(b.Env, " "), strings.Join(b.Flags, " "), strings.Join(b.LDFlags, " "), b.Binary)
	if !strings.Contains(read(t, "../Dockerfile"), build) {
		t.Errorf("the Dockerfile does not have %s", build)
	}
	if want := []string{"linux", "darwin", "windows"}; !slices.Equal(b.GOOS, want) {
		t.Errorf("built for %q, not %q", b.GOOS, want)
	}
	platforms := "--platform linux/" + strings.Join(b.GOARCH, ",linux/") + " "
	if !strings.Contains(read(t, "../CONTRIBUTING.md"), platforms) {
		t.Errorf("the image in CONTRIBUTING.md is not built with %s", platforms)
	}
	if b.ModTimestamp != "{{ .CommitTimestamp }}" || c.Archives[0].BuildsInfo.MTime != "{{ .CommitDate }}" {
		t.Errorf("the program has the times %q and %q", b.ModTimestamp, c.Archives[0].BuildsInfo.MTime)
	}
	if c.Archives[0].BuildsInfo.Mode != 0o755 {
		t.Errorf("the program has mode %o", c.Archives[0].BuildsInfo.Mode)
	}
	// git must not see what is built, or the build is one of changed files.
	ignored := read(t, "../.gitignore")
	for _, folder := range []string{"dist", licenseFolder} {
		if !strings.Contains(ignored, "\n/"+folder+"/\n") {
			t.Errorf(".gitignore lacks /%s/", folder)
		}
	}
}

// Every file that an archive names exists and is dated by the commit, what belongs into one is there, and no secret is.
func TestReleaseFiles(t *testing.T) {
	var c goreleaserConfig
	decode(t, "../.goreleaser.yaml", &c)
	packed := map[string]bool{}
	for _, f := range c.Archives[0].Files {
		if f.Info.MTime != "{{ .CommitDate }}" || f.Info.Mode != 0o644 {
			t.Errorf("%s has the time %q and mode %o", f.Src, f.Info.MTime, f.Info.Mode)
		}
		if f.Src == licenseFolder+"/**/*" {
			packed[licenseFolder] = true
			continue
		}
		found, err := filepath.Glob(filepath.Join("..", f.Src))
		if err != nil || len(found) == 0 {
			t.Errorf("%s matches nothing: %v", f.Src, err)
		}
		for _, name := range found {
			packed[strings.TrimPrefix(filepath.ToSlash(name), "../")] = true
		}
		for _, secret := range []string{"deploy/compose/.env", "deploy/compose/secrets/gdrive.json"} {
			if ok, _ := path.Match(f.Src, secret); ok || strings.Contains(f.Src, "**") {
				t.Errorf("%s may pack %s", f.Src, secret)
			}
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "docs/quickstart.md", "docs/page.png", licenseFolder,
		"deploy/compose/compose.yaml", "deploy/systemd/sitesync.service", "deploy/artist/sitesync.plist",
		"deploy/grafana/sitesync.json"} {
		if !packed[name] {
			t.Errorf("no archive has %s", name)
		}
	}
	for _, hook := range c.Before.Hooks {
		info, err := os.Stat(filepath.Join("..", hook))
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("the hook %s cannot be run: %v", hook, err)
		}
	}
}

// The licenses are those of the program for Linux, so no other system may need a module that Linux does not.
func TestReleaseLicenses(t *testing.T) {
	modules := func(system string) []string {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "sitesync")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS="+system)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	linux := modules("linux")
	if !slices.Contains(linux, "go.mongodb.org/mongo-driver/v2") {
		t.Fatalf("the program has only the modules %q", slices.Compact(linux))
	}
	for _, system := range []string{"darwin", "windows"} {
		for _, m := range modules(system) {
			if !slices.Contains(linux, m) {
				t.Errorf("the program for %s has %s, whose license is missing", system, m)
			}
		}
	}
}
