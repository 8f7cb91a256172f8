package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/explain"
)

func TestExplanationText(t *testing.T) {
	r := &explain.Report{
		Files: 1000, Matched: 998, Others: []string{"b", "c"}, More: true,
		NextStep: explain.Remedy{Text: "wait\nfor it", Command: "sitesync status"}, Severity: explain.Wrong,
		Findings: explain.Findings{{Rule: "document", Severity: explain.OK, Detail: "it is there"},
			{Rule: "held", Severity: explain.Wrong, Detail: "a\x1b[2J", Remedy: explain.Remedy{Text: "no"}}},
		Groups: []explain.Group{
			{Files: 997, Bytes: 997 << 10, Severity: explain.Wrong,
				Example: explain.File{Path: "{root}/a\x1b[1m", Source: "/mnt/a", Remote: "/SHOW/a",
					Findings: explain.Findings{{Rule: "active site", Severity: explain.Unknown, Detail: "one"},
						{Rule: "wait", Severity: explain.Waiting, Detail: "two"}}}},
			{Files: 1, Bytes: 1, Severity: explain.OK, Example: explain.File{Path: "{root}/b",
				Findings: explain.Findings{{Rule: "record", Severity: explain.OK, Detail: "three"}}}},
		},
	}
	const want = `ok       document  it is there
wrong    held      a�[2J

998 of its 1,000 files, which name the path:

997 files, 997 KiB, such as:
{root}/a�[1m
  from  /mnt/a
  to    /SHOW/a
unknown  active site  one
waiting  wait         two

{root}/b
ok       record  three

2 older representations and more name this path too: b, c

Do: wait for it: sitesync status
`
	if diff := cmp.Diff(want, explanation(r, false)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	colored := explanation(r, true)
	for _, want := range []string{"\x1b[32mok\x1b[0m       document", "\x1b[31mwrong\x1b[0m    held",
		"\x1b[33mwaiting\x1b[0m  wait", "\x1b[1mDo:\x1b[0m", "\x1b[1msitesync status\x1b[0m"} {
		if !strings.Contains(colored, want) {
			t.Errorf("no %q in\n%q", want, colored)
		}
	}
}
