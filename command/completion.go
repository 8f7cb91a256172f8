package command

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sitesync/config"
)

// The scripts ask sitesync complete for what a word can become, so they never are older than the program.
var (
	//go:embed completion/sitesync.bash
	bashCompletion string
	//go:embed completion/sitesync.zsh
	zshCompletion string
	//go:embed completion/sitesync.fish
	fishCompletion string
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the summary of the command.
func (completionCmd) Help() string {
	return `Examples:
  source <(sitesync completion bash)                                  in ~/.bashrc
  source <(sitesync completion zsh)                                   in ~/.zshrc, after compinit
  sitesync completion fish > ~/.config/fish/completions/sitesync.fish

Commands, flags and their values are completed, and the names of projects where the settings tell which database to ask:
by the environment, or by flags that are typed already.`
}

// Run is sitesync completion.
func (c completionCmd) Run() error {
	_, err := fmt.Print(map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell])
	return err
}

// completeCmd is what the scripts ask. It tells what the last of the words can become, a line each, with a tab and an
// explanation, where there is one. The line ":files" says that it is a path.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words of the command line after the name of the program."`
}

// Run is sitesync complete.
func (c completeCmd) Run(k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, w := range complete(k, words, projectNames) {
		line := w.text
		if w.help != "" {
			line += "\t" + w.help
		}
		fmt.Println(line)
	}
	return nil
}

// word is what a word can become.
type word struct{ text, help string }

// files says that it is a path.
var files = []word{{text: ":files"}}

// complete tells what the last of the words can become. projects tells the names of the projects, as the words before it
// say where to ask.
func complete(k *kong.Kong, words []string, projects func(words []string) []string) []word {
	current := ""
	if len(words) > 0 {
		current, words = words[len(words)-1], words[:len(words)-1]
	}
	at := k.Model.Node
	args := 0             // of the command, so far
	var valued *kong.Flag // whose value comes next
	plain := false        // after --
	for _, w := range words {
		name, _, hasValue := strings.Cut(w, "=")
		switch {
		case valued != nil && w == "=": // bash makes it a word of its own
		case valued != nil:
			valued = nil
		case plain || !strings.HasPrefix(w, "-") || w == "-":
			if child := command(at, w); child != nil && args == 0 && !plain {
				at = child
			} else {
				args++
			}
		case w == "--":
			plain = true
		default:
			if f := flag(at, name); f != nil && !f.IsBool() && !hasValue && (strings.HasPrefix(w, "--") || len(w) == 2) {
				valued = f
			}
		}
	}
	switch name, begun, hasValue := strings.Cut(current, "="); {
	case valued != nil:
		return beginning(values(valued.Value), strings.TrimPrefix(current, "="), "")
	case !plain && hasValue && strings.HasPrefix(name, "--"):
		if f := flag(at, name); f != nil {
			return beginning(values(f.Value), begun, name+"=")
		}
		return nil
	case !plain && strings.HasPrefix(current, "-"):
		var all []word
		for _, group := range at.AllFlags(true) {
			for _, f := range group {
				all = append(all, word{"--" + f.Name, firstSentence(f.Help)})
			}
		}
		return beginning(all, current, "")
	case len(at.Children) > 0:
		var all []word
		for _, child := range at.Children {
			if !child.Hidden {
				all = append(all, word{child.Name, firstSentence(child.Help)})
			}
		}
		return beginning(all, current, "")
	case args < len(at.Positional):
		arg := at.Positional[args]
		if arg.Name == "project" {
			var all []word
			for _, name := range projects(words) {
				all = append(all, word{text: name})
			}
			return beginning(all, current, "")
		}
		return beginning(values(arg), current, "")
	}
	return nil
}

func command(at *kong.Node, name string) *kong.Node {
	for _, child := range at.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// flag finds a flag that the command knows: --NAME or -N.
func flag(at *kong.Node, typed string) *kong.Flag {
	for _, group := range at.AllFlags(false) {
		for _, f := range group {
			if typed == "--"+f.Name || f.Short != 0 && typed == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

// values are those that a flag or an argument can have.
func values(v *kong.Value) []word {
	var all []word
	for _, choice := range v.EnumSlice() {
		all = append(all, word{text: choice})
	}
	switch v.Name {
	case "log-format":
		return []word{{text: "auto"}, {text: "console"}, {text: "json"}}
	case "log-level":
		return []word{{text: "debug"}, {text: "info"}, {text: "warn"}, {text: "error"}}
	case "presets", "local-root", "id|path":
		return files
	}
	return all
}

// beginning are those that begin with what is typed already.
func beginning(all []word, typed, before string) []word {
	var fit []word
	for _, w := range all {
		if w == files[0] || strings.HasPrefix(w.text, typed) {
			if w != files[0] {
				w.text = before + w.text
			}
			fit = append(fit, w)
		}
	}
	return fit
}

// sentenceEnd is where a sentence ends, or a half of one.
var sentenceEnd = regexp.MustCompile(`\.? \(\$|\.$|\. [A-Z]|; `)

// firstSentence is short enough to stand beside a word.
func firstSentence(help string) string {
	if end := sentenceEnd.FindStringIndex(help); end != nil {
		return help[:end[0]]
	}
	return help
}

// patience of somebody who has pressed the tab key.
const completionTimeout = 2 * time.Second

// projectNames asks the database; it has no answer if it can't.
func projectNames(words []string) []string {
	var c cli
	k, err := kong.New(&c, kong.Name("sitesync"), kong.Exit(func(int) {}))
	if err != nil {
		return nil
	}
	_, _ = k.Parse(words) // the command is not complete; flags are read all the same
	cfg, _, err := config.Load(c.Flags, os.LookupEnv)
	if err != nil {
		return nil
	}
	e, err := newEnv(cfg)
	if err != nil {
		return nil
	}
	defer e.close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	listed, err := e.store.Projects(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, p := range listed {
		names = append(names, p.Name)
	}
	return names
}
