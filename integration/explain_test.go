package integration_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sitesync/integration/studio"
)

// explained is what scripts read of sitesync explain -o json.
type explained struct {
	Representation string
	Files, Told    int
	Others         []string
	Steps          []explainedStep
	Groups         []struct {
		Files   int
		Verdict string
		Example struct {
			Path, Source, Remote, State, Verdict string
			Steps                                []explainedStep
		}
		Last, Do string
	}
	Verdict, Do string
}

type explainedStep struct{ Rule, Verdict, Detail, Mend string }

// explain asks why, and wants that exit status.
func (s *site) explain(want int, args ...string) explained {
	s.t.Helper()
	code, stdout, stderr := s.exits(append([]string{"explain", "-o", "json"}, args...)...)
	if code != want || stderr != "" {
		s.t.Fatalf("status %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	var out explained
	if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&out); err != nil {
		s.t.Fatalf("%v in\n%s", err, stdout)
	}
	return out
}

func TestExplainSequence(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rep := s.publish(s.project("Test"), studio.Publish{Size: 1000, Frames: 1000})
	d := s.start()
	s.wait(rep)
	got := s.explain(0, "Test", rep.ID.Hex())
	if len(got.Groups) != 1 || got.Groups[0].Files != 1000 || got.Verdict != "ok" {
		t.Errorf("%+v", got)
	}
	check(t, d.Stop())
	for _, args := range [][]string{{"Test", rep.ID.Hex()}, {"Test", rep.Files[3].Path}} {
		_, stdout, _ := s.exits(append([]string{"explain"}, args...)...)
		t.Log(stdout)
	}
}
