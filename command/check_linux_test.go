package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sitesync/config"
)

// Downloads need roots that can be written to; for uploads it is enough that they can be read.
func TestCheckLocalRoots(t *testing.T) {
	roots := config.Roots{"away": filepath.Join(t.TempDir(), "away"), "fine": t.TempDir(), "read": t.TempDir()}
	for _, name := range []string{"fine", "read"} {
		if err := os.Mkdir(filepath.Join(roots[name], "Test"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(roots["read"], roots["read"], "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(roots["read"], 0); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", roots["read"], "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	line := func(verdict, name, rest string) string {
		return verdict + ` local_root "` + name + `" ` + roots[name] + rest
	}
	for name, test := range map[string]struct {
		direction config.Direction
		roots     config.Roots
		want      []string // how the lines begin
	}{
		"both": {config.Both, roots, []string{line("fail ", "away", ": the storage is not mounted"),
			line("ok   ", "fine", " can be written to, "),
			line("fail ", "read", " can be read, but not written to, so nothing is downloaded to it: ")}},
		"up": {config.Up, roots, []string{line("fail ", "away", ": the storage is not mounted"),
			line("ok   ", "fine", " can be read\n"), line("ok   ", "read", " can be read\n")}},
		"no root":           {config.Both, nil, []string{"ok    downloads are off: there is no local_root"}},
		"no root, and only": {config.Up, nil, nil}, // nobody wonders
	} {
		cfg := &config.Config{ActiveSite: "studio", RemoteSite: "gdrive", Direction: test.direction,
			LocalRoot: test.roots, Sites: map[string]config.Site{"gdrive": {}}}
		var out bytes.Buffer
		r := &checkPrinter{out: &out}
		checkLocalRoots(t.Context(), r, cfg)
		lines := strings.SplitAfter(out.String(), "\n")
		if len(lines) != len(test.want)+1 || r.failed != strings.Contains(out.String(), "fail ") {
			t.Errorf("%s: failed is %t, and it says\n%s", name, r.failed, out.String())
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s: want %q in\n%s", name, want, out.String())
			}
		}
	}
}
