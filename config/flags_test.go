package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func parseFlags(t *testing.T, args ...string) (Flags, error) {
	t.Helper()
	var cli struct {
		Flags `embed:""`
	}
	parser, err := kong.New(&cli, kong.Name("sitesync"), kong.Vars(FlagHelp))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return cli.Flags, err
}

// Every flag has a help text that names its variable, a group and, when it
// takes a value, a placeholder for it.
func TestFlagsHelp(t *testing.T) {
	var cli struct {
		Flags `embed:""`
	}
	parser, err := kong.New(&cli, kong.Name("sitesync"), kong.Vars(FlagHelp))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range parser.Model.Flags {
		if f.Name == "help" {
			continue
		}
		if f.Help == "" || f.Group == nil {
			t.Errorf("--%s has no help text or no group", f.Name)
			continue
		}
		if !f.IsBool() && f.PlaceHolder == "" {
			t.Errorf("--%s has no placeholder", f.Name)
		}
		if !strings.Contains(f.Help, "$"+variable(f.Name)) {
			t.Errorf("the help of --%s does not name %s", f.Name, variable(f.Name))
		}
		if len(f.Tag.Envs) > 0 {
			t.Errorf("--%s has an env tag; only Load reads the environment", f.Name)
		}
		fmt.Fprintf(&got, "%s: --%s %s\n    %s\n", f.Group.Title, f.Name, f.PlaceHolder, f.Help)
	}
	const golden = "testdata/flags.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), got.String()); diff != "" {
		t.Errorf("help texts (-want +got; go test -update rewrites them):\n%s", diff)
	}
}

func TestFlagsParse(t *testing.T) {
	t.Setenv("SITESYNC_TRANSFERS", "3") // kong must not see it
	got, err := parseFlags(t, "--remote-site=", "--no-poll", "--no-index=false", "--db", "x",
		"--local-root", "a=/mnt/a,b", "--local-root", "c=/mnt/c")
	if err != nil {
		t.Fatal(err)
	}
	want := Flags{
		RemoteSite: new(""), NoPoll: new(true), NoIndex: new(false), DB: new("x"),
		LocalRoot: []string{"a=/mnt/a,b", "c=/mnt/c"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}
