package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/explain"
)

func TestExplanationText(t *testing.T) {
	r := &explain.Report{
		Files: 1000, Told: 998, Others: []string{"b", "c"}, More: true, Do: "wait\nfor it", Verdict: explain.Wrong,
		Steps: []explain.Step{{Rule: "document", Verdict: explain.OK, Detail: "it is there"}, {Rule: "held", Verdict: explain.Wrong, Detail: "a\x1b[2J", Mend: "no"}},
		Groups: []explain.Group{
			{Files: 997, Bytes: 997 << 10, Verdict: explain.Wrong, Example: explain.File{Path: "{root}/a\x1b[1m", Source: "/mnt/a", Remote: "/SHOW/a",
				Steps: []explain.Step{{Rule: "active site", Verdict: explain.Unknown, Detail: "one"}, {Rule: "wait", Verdict: explain.Waiting, Detail: "two"}}}},
			{Files: 1, Bytes: 1, Verdict: explain.OK, Example: explain.File{Path: "{root}/b", Steps: []explain.Step{{Rule: "record", Verdict: explain.OK, Detail: "three"}}}},
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

2 older representation(s) and more name this path too: b, c

Do: wait for it
`
	if diff := cmp.Diff(want, explanation(r, false)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	colored := explanation(r, true)
	for _, want := range []string{"\x1b[32mok\x1b[0m       document", "\x1b[31mwrong\x1b[0m    held", "\x1b[33mwaiting\x1b[0m  wait", "\x1b[1mDo:\x1b[0m"} {
		if !strings.Contains(colored, want) {
			t.Errorf("no %q in\n%q", want, colored)
		}
	}
}
