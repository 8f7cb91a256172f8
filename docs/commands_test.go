package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	// used is a command line in a code block, or in a code span.
	used = regexp.MustCompile(`(?m)^ *(?:\$ )?(?:.* /)?(?:[A-Z_]+=\S+ |sudo )*sitesync ([a-z][a-z-]*)(.*)$`)

	block    = regexp.MustCompile("(?ms)^( *)```.*?^ *```$|^    .*?$")
	flagUsed = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
)

// code is what stands in code blocks and spans, a line each.
func code(page string) string {
	lines := block.FindAllString(page, -1)
	for _, s := range span.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
		lines = append(lines, s[1])
	}
	return strings.Join(lines, "\n")
}

// Commands and flags that the pages use are those that there are; the two pages that are written by tests have them
// all.
func TestCommandLines(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	commands, settings := read("commands.md"), read("configuration.md")
	checked := 0
	for _, name := range []string{"../README.md", "../CONTRIBUTING.md", "../deploy/README.md", "quickstart.md",
		"artists-at-home.md", "operations.md", "troubleshooting.md", "migration.md", "faq.md", "security.md"} {
		for _, line := range used.FindAllStringSubmatch(code(read(name)), -1) {
			checked++
			_, section, ok := strings.Cut(commands, "\n## sitesync "+line[1]+"\n")
			if !ok {
				t.Errorf("%s: there is no command sitesync %s", name, line[1])
				continue
			}
			section, _, _ = strings.Cut(section, "\n## ")
			line[2], _, _ = strings.Cut(line[2], "#")
			for _, f := range flagUsed.FindAllStringSubmatch(line[2], -1) {
				flag := regexp.MustCompile(f[1] + "[^a-z-]")
				if !flag.MatchString(section) && !flag.MatchString(settings) {
					t.Errorf("%s: sitesync %s has no flag %s", name, line[1], f[1])
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d command lines were found", checked)
	}
}
