package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/studio"
)

// finishedSnapshot is one with which all is well.
func finishedSnapshot() snapshot {
	return snapshot{settings: testSettings, phase: finished, clock: 30_120 * time.Millisecond, calls: 312,
		totals: totals{published: 3, synced: 3, repaired: 1, files: 102, compared: 102, bytes: 20 << 20,
			reactions: map[kind]studio.Reactions{
				single: {8 * time.Millisecond}, sequence: {180 * time.Millisecond}, broken: {9 * time.Millisecond},
			}},
		items:       []item{{project: "Aurora", what: "Robot modelMain v001 ma", state: synced}},
		explanation: "wrong  source  it is a folder\n\nDo: put the file there\n",
	}
}

func TestSummary(t *testing.T) {
	want := `
published  3 representations in 30.1s
synced     3 representations, 102 files, 20 MiB
compared   102 MD5s, of the storage with what Drive holds; 0 wrong
failed     1 on purpose; explained by sitesync, repaired, and synced after sitesync retry
API calls  3.06 a file (312 for 102 files)

REACTION, from the acknowledged insert until all files are readably synced:
                     publishes       p50       p99       max
  small                      1    8.0 ms    8.0 ms    8.0 ms
  100 frames                 1    180 ms    180 ms    180 ms
  after the repair           1    9.0 ms    9.0 ms    9.0 ms

EXPLAINED, by sitesync explain, when the last one had failed:
  wrong  source  it is a folder

  Do: put the file there

Everything that was published is synced, and every MD5 is right.
`
	var out strings.Builder
	if err := openTerminal(&out).summary(finishedSnapshot()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryOfTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*snapshot)
		want   string
	}{
		"not synced": {func(s *snapshot) { s.items[0].state = abandoned },
			"Aurora Robot modelMain v001 ma is not synced"},
		"synced too few": {func(s *snapshot) { s.totals.published++ }, "4 published, but 3 synced"},
		"not compared": {func(s *snapshot) { s.totals.compared-- },
			"102 files synced, but the MD5s of 101 compared"},
		"another content": {func(s *snapshot) { s.problems = []string{"a.ma: MD5 1 on the storage, 2"} },
			"a.ma: MD5 1 on the storage, 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := finishedSnapshot()
			test.change(&s)
			var out strings.Builder
			if err := openTerminal(&out).summary(s); err == nil {
				t.Error("it is taken as fine")
			}
			if !strings.Contains(out.String(), "✗ "+test.want+"\n") || strings.Contains(out.String(), "Everything") {
				t.Errorf("it does not say %q:\n%s", test.want, out.String())
			}
		})
	}
}
