package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

type versionCmd struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`
}

func (versionCmd) Help() string {
	return `Examples:
  sitesync version
  sitesync version -o json

With the commit that it was built from, if it was built in a clone, and "changed" if files differed from it.`
}

// build is what sitesync was built from, as Go's linker has noted it.
type build struct {
	Version  string     `json:"version"`            // of the module; "(devel)" if there was no tag
	Revision string     `json:"revision,omitempty"` // commit
	Time     *time.Time `json:"time,omitempty"`     // of the commit
	Changed  bool       `json:"changed"`            // files differed from the commit
	Go       string     `json:"go"`
	Platform string     `json:"platform"`
}

// thisBuild reads what this program was built from.
func thisBuild() build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(cmp.Or(info, &debug.BuildInfo{}))
}

func buildOf(info *debug.BuildInfo) build {
	b := build{Version: cmp.Or(info.Main.Version, "(devel)"), Go: cmp.Or(info.GoVersion, runtime.Version()),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				b.Time = &t
			}
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}

// release is the version and the commit.
func (b build) release() string {
	text := b.Version
	if b.Revision != "" {
		text += fmt.Sprintf(", commit %.12s", b.Revision)
		if b.Time != nil {
			text += " of " + b.Time.UTC().Format(time.DateOnly)
		}
		if b.Changed {
			text += " (changed)"
		}
	}
	return text
}

// String is the build for people.
func (b build) String() string { return "sitesync " + b.release() + ", " + b.Go + ", " + b.Platform }

func (c versionCmd) Run() error {
	if c.Output == "json" {
		return json.NewEncoder(os.Stdout).Encode(thisBuild())
	}
	_, err := fmt.Println(thisBuild())
	return err
}
