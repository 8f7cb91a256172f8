//go:build rclone

package drive_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
)

// rclone runs the real rclone on the shared drive. Its drive backend knows no
// other host than Google's, so it goes through the proxy.
func (s *studio) rclone(t *testing.T, p *drive.Proxy, dir string, args ...string) string {
	t.Helper()
	args = append(args,
		"--config", filepath.Join(dir, "none.conf"), "--ca-cert", filepath.Join(dir, "ca.pem"), "--cache-dir", filepath.Join(dir, "cache"),
		"--drive-service-account-file", filepath.Join(dir, "key.json"), "--drive-team-drive", s.show.ID, "--drive-scope", "drive",
		"--drive-chunk-size", "256k", "--drive-upload-cutoff", "1M", "--drive-pacer-min-sleep", "1ms", "--retries", "1", "--low-level-retries", "3",
		"--checksum")
	cmd := exec.Command("rclone", args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+p.URL, "NO_PROXY=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rclone %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

func TestRclone(t *testing.T) {
	s := newStudio(t)
	p := must(s.StartProxy())(t)
	dir := t.TempDir()
	write := func(path, data string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", string(p.CA))
	write("key.json", string(s.account.GoogleCredentials()))
	files := map[string]string{
		"shots/sh010/a.txt":        "one",
		"shots/sh010/it's 100%.ex": "two",
		"shots/sh020/empty":        "",
		"shots/sh020/Größe.exr":    "three",
		"big.abc":                  content(3<<20 + 17), // by a session in chunks
	}
	for name, data := range files {
		write("in/"+name, data)
	}
	s.rclone(t, p, dir, "copy", filepath.Join(dir, "in"), ":drive:show")
	for name, data := range files {
		found := s.Find(s.show, "show/"+name)
		if len(found) != 1 || found[0].MD5 != md5Of(data) {
			t.Errorf("%s: %+v", name, found)
		}
	}
	id := s.Find(s.show, "show/shots/sh010/a.txt")[0].ID

	// A second copy finds everything there; a changed file is overwritten.
	before := s.Calls()
	s.rclone(t, p, dir, "copy", filepath.Join(dir, "in"), ":drive:show")
	if got := s.Calls()["files.create.multipart"]; got != before["files.create.multipart"] {
		t.Fatalf("copied again: %v, before %v", s.Calls(), before)
	}
	files["shots/sh010/a.txt"] = "changed"
	write("in/shots/sh010/a.txt", "changed")
	s.rclone(t, p, dir, "copy", filepath.Join(dir, "in"), ":drive:show")
	if got := s.Find(s.show, "show/shots/sh010/a.txt"); len(got) != 1 || got[0].ID != id || got[0].MD5 != md5Of("changed") {
		t.Fatalf("%+v", got)
	}
	if dups := s.Duplicates(); len(dups) != 0 {
		t.Fatal(dups)
	}

	listed := strings.Fields(s.rclone(t, p, dir, "lsf", "-R", "--files-only", ":drive:show/shots/sh020"))
	if diff := cmp.Diff(2, len(listed)); diff != "" {
		t.Fatal(listed)
	}
	s.rclone(t, p, dir, "copy", ":drive:show", filepath.Join(dir, "out"))
	for name, data := range files {
		if got := must(os.ReadFile(filepath.Join(dir, "out", name)))(t); string(got) != data {
			t.Errorf("%s: read back %d bytes, not the %d written", name, len(got), len(data))
		}
	}
	s.rclone(t, p, dir, "check", "--download", filepath.Join(dir, "in"), ":drive:show")
	s.rclone(t, p, dir, "moveto", ":drive:show/big.abc", ":drive:show/shots/moved.abc")
	if got := s.Find(s.show, "show/shots/moved.abc"); len(got) != 1 {
		t.Fatal(s.Files())
	}
	s.rclone(t, p, dir, "purge", ":drive:show")
	for _, f := range s.Files() {
		if !f.Trashed {
			t.Errorf("not in the trash: %+v", f)
		}
	}
	s.rclone(t, p, dir, "about", ":drive:")
}

// rclone survives faults that it knows how to repeat.
func TestRcloneWithFaults(t *testing.T) {
	s := newStudio(t)
	p := must(s.StartProxy())(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"ca.pem": p.CA, "key.json": s.account.GoogleCredentials(), "in.bin": []byte(content(2 << 20)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.UpdateSettings(func(v *drive.Settings) { v.ListingLag = time.Hour })
	s.AddFault(drive.Fault{Kind: "files.list", Count: 1, Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"})
	chunk := s.AddFault(drive.Fault{Kind: "upload.put", Skip: 2, Count: 1, Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 1000})
	s.rclone(t, p, dir, "copyto", filepath.Join(dir, "in.bin"), ":drive:in.bin")
	if got := s.Find(s.show, "in.bin"); len(got) != 1 || got[0].MD5 != md5Of(content(2<<20)) || chunk.Hits() != 1 {
		t.Fatal(got, chunk.Hits())
	}
}
