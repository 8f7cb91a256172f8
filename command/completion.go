package command

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sitesync/config"
)

// completionScripts run sitesync complete on each press of the tab key, so that they never are older than the program.
//
//go:embed completion
var completionScripts embed.FS

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Examples:
  source <(sitesync completion bash)                                  in ~/.bashrc
  source <(sitesync completion zsh)                                   in ~/.zshrc, after compinit
  sitesync completion fish > ~/.config/fish/completions/sitesync.fish

Commands, flags and their values are completed, and the names of projects where the settings name the database: by the
environment, or by flags before the cursor.`
}

func (c completionCmd) Run() error {
	script, err := completionScripts.ReadFile("completion/sitesync." + c.Shell)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(script)
	return err
}

// completeCmd is what the scripts run. It prints the completions of the last word, one a line: with a tab and a
// description for commands and flags, or only ":files" where a path is expected.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words of the command line after the program."`
}

func (c completeCmd) Run(k *kong.Kong, flags *config.Flags) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	current := ""
	if last := len(words) - 1; last >= 0 {
		current, words = strings.TrimPrefix(words[last], "="), words[:last]
	}
	// Bash makes the = of --flag=VALUE a word of its own.
	words = slices.DeleteFunc(words, func(w string) bool { return w == "=" })
	for _, line := range complete(k, flags, words, current) {
		fmt.Println(line)
	}
	return nil
}

// complete returns the lines for what current can become after the words before it.
func complete(k *kong.Kong, flags *config.Flags, before []string, current string) (lines []string) {
	trace, err := kong.Trace(k, before) // ends at an error, such as the missing value of the last flag
	if err != nil {
		return nil
	}
	node := cmp.Or(trace.Selected(), k.Model.Node)
	add := func(text, help string) {
		if strings.HasPrefix(text, current) {
			lines = append(lines, strings.TrimSuffix(text+"\t"+helpEnd.Split(help, 2)[0], "\t"))
		}
	}
	addAll := func(prefix string, values []string) {
		for _, v := range values {
			if v == filesFollow { // the shell looks for them
				lines = append(lines, v)
			} else if v != "" {
				add(prefix+v, "")
			}
		}
	}
	flagNamed := map[string]*kong.Flag{}
	if !slices.Contains(before, "--") {
		for _, f := range slices.Concat(node.AllFlags(true)...) {
			flagNamed["--"+f.Name], flagNamed["-"+string(f.Short)] = f, f
		}
	}
	name, _, hasValue := strings.Cut(current, "=")
	var previous *kong.Flag
	if len(before) > 0 {
		previous = flagNamed[before[len(before)-1]]
	}
	switch f := flagNamed[name]; {
	case previous != nil && !previous.IsBool():
		addAll("", values(previous.Value))
	case f != nil && hasValue:
		addAll(name+"=", values(f.Value))
	case strings.HasPrefix(current, "-"):
		for _, name := range slices.Sorted(maps.Keys(flagNamed)) {
			if strings.HasPrefix(name, "--") {
				add(name, flagNamed[name].Help)
			}
		}
	case len(node.Children) > 0:
		for _, child := range node.Children {
			if !child.Hidden {
				add(child.Name, child.Help)
			}
		}
	default:
		given := 0
		for _, p := range trace.Path {
			if p.Positional != nil {
				given++
			}
		}
		if last := len(node.Positional) - 1; given > last && last >= 0 && node.Positional[last].IsCumulative() {
			given = last
		}
		if given >= len(node.Positional) {
			break
		}
		if arg := node.Positional[given]; arg.Name == "project" {
			addAll("", projectNames(trace, flags))
		} else {
			addAll("", values(arg))
		}
	}
	return lines
}

// filesFollow is the line that stands for the names of files.
const filesFollow = ":files"

// values are those that a flag or an argument can have.
func values(v *kong.Value) []string {
	switch v.Name {
	case "direction":
		return []string{string(config.Up), string(config.Down), string(config.Both)}
	case "log-format":
		return []string{"auto", "console", "json"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "version": // of subsets
		return []string{"latest", "all", "hero"}
	case "presets", "local-root", "local-root-links", "mongo-file", "web-token-file", "id|path":
		return []string{filesFollow}
	}
	return v.EnumSlice()
}

// helpEnd is where the first sentence of a help text ends; it is short enough for a description.
var helpEnd = regexp.MustCompile(`\.? \(\$|\.$|\. [A-Z]|; `)

// projectNames are the projects of the database that the environment and the typed flags name; none if it does not
// answer.
func projectNames(typed *kong.Context, flags *config.Flags) []string {
	if _, err := typed.Apply(); err != nil { // sets flags
		return nil
	}
	e, err := openEnv(flags)
	if err != nil {
		return nil
	}
	defer e.close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // a person waits
	defer cancel()
	names, _ := e.store.ProjectNames(ctx)
	return names
}
