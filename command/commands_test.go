package command

import (
	goflag "flag" // as other files may call something of the grammar so
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateDocs = goflag.Bool("docs", false, "write docs/commands.md anew")

const commandsPage = "../docs/commands.md"

const commandsHead = `# Commands

<!-- Written by "go test ./command -run TestCommandsPage -docs": change the texts beside the command, not this page. -->

What "sitesync COMMAND --help" says. The flags that all commands have are in [configuration.md](configuration.md): each
command needs to know the presets and the database.
`

// TestCommandsPage fails if docs/commands.md is not what the commands say of themselves.
func TestCommandsPage(t *testing.T) {
	var c cli
	k, err := newParser(&c)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(commandsHead)
	for _, command := range k.Model.Leaves(true) {
		fmt.Fprintf(&page, "\n## sitesync %s\n\n%s\n", command.Path(), command.Help)
		var rows [][2]string
		for _, p := range command.Positional {
			rows = append(rows, [2]string{p.Summary(), p.Help})
		}
		for _, f := range command.Flags {
			rows = append(rows, [2]string{strings.TrimSpace(f.String()), f.Help})
		}
		if len(rows) > 0 {
			page.WriteString("\n| Argument | Meaning |\n|---|---|\n")
		}
		for _, r := range rows {
			fmt.Fprintf(&page, "| `%s` | %s |\n", strings.ReplaceAll(r[0], "|", `\|`),
				strings.ReplaceAll(r[1], "|", `\|`))
		}
		// The detail is an example, indented by two, and paragraphs.
		fenced := false
		for line := range strings.Lines("\n" + command.Detail + "\n") {
			indented := strings.HasPrefix(line, "  ")
			if indented != fenced {
				if indented {
					page.WriteString("\n```sh\n")
				} else {
					page.WriteString("```\n")
				}
				fenced = indented
			}
			page.WriteString(strings.TrimPrefix(line, "  "))
		}
	}

	got := page.String()
	if *updateDocs {
		if err := os.WriteFile(commandsPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-there +wanted; go test ./command -run TestCommandsPage -docs writes it anew):\n%s", commandsPage,
			diff)
	}
}
