//go:build unix

package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sitesync/integration/studio"
)

// A key file that others can read is reported by check and at the start, and works. The presets hold no secret: anybody
// may read them.
func TestCredentialsReadableByOthers(t *testing.T) {
	t.Parallel()
	for mode, warned := range map[os.FileMode]bool{0o640: true, 0o604: true, 0o600: false} {
		t.Run(fmt.Sprintf("%04o", mode), func(t *testing.T) {
			s := newTestStudio(t)
			check(t, s.presets.Write(s.dir)) // a file that is there keeps its mode when it is written again
			check(t, os.Chmod(filepath.Join(s.dir, "config.json"), 0o644))
			check(t, os.Chmod(filepath.Join(s.dir, "gdrive.json"), 0o644))
			key := filepath.Join(s.dir, "gdrive-credentials.json")
			check(t, os.Chmod(key, mode))
			want := fmt.Sprintf("%s, which others can read (mode %04o); run chmod 600 on it", key, mode)
			only := func(where string, warnings []string) {
				if warned && (len(warnings) != 1 || !strings.Contains(warnings[0], want)) || !warned &&
					len(warnings) > 0 {
					t.Errorf("%s warns: %q", where, warnings)
				}
			}

			rep := s.publish(s.project("Test"), studio.Publish{Size: 100})
			status, stdout, _ := s.exits("check")
			if status != 0 {
				t.Errorf("check ends with status %d:\n%s", status, stdout)
			}
			s.checkForSecrets("check", stdout)
			var found []string
			for line := range strings.Lines(stdout) {
				if !strings.HasPrefix(line, "ok ") {
					found = append(found, line)
				}
			}
			only("check", found)

			d := s.start()
			s.synced(rep)
			check(t, d.Stop())
			found = nil
			for _, l := range warnings(d) {
				found = append(found, l.Message)
			}
			only("run", found)
		})
	}
}
