package local

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sitesync/site"
)

func wantScope(t *testing.T, err error, want site.Scope, words string) {
	t.Helper()
	scope, _ := site.ScopeOf(err)
	if site.ClassOf(err) != site.Unavailable || scope != want || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v of class %s and scope %d, want %d and %q", err, site.ClassOf(err), scope, want, words)
	}
	if strings.Contains(err.Error(), "/proc/") || strings.Contains(err.Error(), ".part") {
		t.Errorf("error %v names files that people do not know", err)
	}
}

// A file that does not fit holds no smaller one, and leaves the room that it took.
func TestFullDisk(t *testing.T) {
	root := newStorage(t, "size=20m")
	s := newTarget(t, Options{Roots: []string{root}})
	before, known, err := s.Left(t.Context(), root)
	if err != nil || !known || before < 19<<20 || before > 20<<20 {
		t.Fatalf("%d bytes are left, %v, %v", before, known, err)
	}
	small := incoming(root, "show/small.exr", largeContent(3<<20))
	ranges, _ := large(root, largeContent(40<<20))
	unknown := incoming(root, "show/unknown.exr", largeContent(40<<20))
	unknown.MD5 = ""
	for _, in := range []site.Incoming{incoming(root, "show/a.exr", largeContent(21<<20)), ranges, unknown} {
		_, err := s.Put(t.Context(), in)
		wantScope(t, err, site.LargeOnes, "the storage is full")
		if left, _, err := s.Left(t.Context(), root); err != nil || left < before-1<<20 {
			t.Errorf("%d bytes are left, %v: there were %d", left, err, before)
		}
		wantOnly(t, root, nil)
	}
	if _, err := s.Put(t.Context(), small); err != nil {
		t.Error(err)
	}
	must(t, s.Check(t.Context()))
	must(t, os.WriteFile(filepath.Join(root, "fills"), nil, 0o600))
	fill, err := os.OpenFile(filepath.Join(root, "fills"), os.O_WRONLY, 0)
	must(t, err)
	for err == nil {
		_, err = fill.Write(make([]byte, 1<<16))
	}
	must(t, fill.Close())
	wantScope(t, s.CheckRoot(t.Context(), root), site.OneRoot, "the storage is full")
	if left, known, err := s.Left(t.Context(), root); left != 0 || !known || err != nil {
		t.Errorf("%d bytes are left, %v, %v", left, known, err)
	}
	_, err = s.Put(t.Context(), incoming(root, "show/tiny.exr", "content"))
	wantScope(t, err, site.LargeOnes, "the storage is full")
	must(t, os.Remove(filepath.Join(root, "fills")))
	must(t, s.Check(t.Context()))
	if _, err = s.Put(t.Context(), incoming(root, "show/tiny.exr", "content")); err != nil {
		t.Error(err)
	}
	if names := partialsIn(t, filepath.Join(root, "show")); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
}

// Room for a large file is asked for before it is read. What was written of it before counts.
func TestRoomForALargeFile(t *testing.T) {
	root := newStorage(t, "size=90m")
	content := largeContent(80 << 20)
	in, r := large(root, content)
	s := newTarget(t, Options{})
	_, err := s.Put(t.Context(), in)
	wantScope(t, err, site.LargeOnes, "96 MiB more is needed")
	if read := r.read.Load(); read > 0 {
		t.Errorf("%d bytes were read", read)
	}
	wantOnly(t, root, nil)
	in, _ = large(root, content)
	part := filepath.Join(root, "show", partialName("a.exr", in))
	must(t, os.WriteFile(part, []byte(content[:70<<20]), 0o600))
	if _, err := s.Put(t.Context(), in); err == nil || !strings.Contains(err.Error(), "more is needed") {
		t.Errorf("it did not ask for room for the rest: %v", err)
	}
	must(t, unix.Mount("", root, "", unix.MS_REMOUNT, "size=130m"))
	if _, err := s.Put(t.Context(), in); err != nil {
		t.Error(err)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": content})
}

// A storage may have room for bytes, but not for another name.
func TestNoRoomForNames(t *testing.T) {
	root := newStorage(t, "nr_inodes=4")
	s := newTarget(t, Options{})
	must(t, s.CheckRoot(t.Context(), root))
	var err error
	for i := 0; err == nil && i < 10; i++ {
		_, err = s.Put(t.Context(), incoming(root, fmt.Sprint("file", i), "content"))
	}
	wantScope(t, err, site.LargeOnes, "the storage is full")
	wantScope(t, s.CheckRoot(t.Context(), root), site.OneRoot, "the storage is full")
}

// A storage that does not say how large it is counts as one with room.
func TestUnknownRoom(t *testing.T) {
	if left, err := spaceIn("/proc"); left < 1<<40 || err != nil {
		t.Errorf("%d bytes, %v", left, err)
	}
}

func TestReadOnlyStorage(t *testing.T) {
	root := newStorage(t, "")
	writeBelow(t, root, "show/old.exr")
	s := newTarget(t, Options{Roots: []string{root}})
	remount(t, root, unix.MS_RDONLY)
	for _, rel := range []string{"show/old.exr", "show/new.exr", "new/new.exr"} {
		_, err := s.Put(t.Context(), incoming(root, rel, "content"))
		wantScope(t, err, site.OneRoot, "mounted read-only")
	}
	wantScope(t, s.Check(t.Context()), site.OneRoot, "mounted read-only")
	if _, err := s.Put(t.Context(), incoming(root, "show/old.exr", "12345")); err != nil {
		t.Errorf("what is there already: %v", err)
	}
	remount(t, root, 0)
	must(t, s.Check(t.Context()))
	if _, err := s.Put(t.Context(), incoming(root, "show/old.exr", "content")); err != nil {
		t.Error(err)
	}
}

// One folder may be a read-only mount of its own.
func TestReadOnlyBindMount(t *testing.T) {
	root := newStorage(t, "")
	show := filepath.Join(root, "show")
	writeBelow(t, root, "show/old.exr")
	must(t, unix.Mount(show, show, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(show, unix.MNT_DETACH)) })
	must(t, unix.Mount("", show, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	s := newTarget(t, Options{})
	_, err := s.Put(t.Context(), incoming(root, "show/new.exr", "content"))
	if site.ClassOf(err) != site.Unavailable || !strings.Contains(err.Error(), show) {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(t.Context(), incoming(root, "other/new.exr", "content")); err != nil {
		t.Errorf("beside it: %v", err)
	}
	wantOnly(t, root, map[string]string{"show/old.exr": "12345", "other/new.exr": "content"})
}

// A user who may not write to a folder may write to others.
func TestFolderWithoutPermission(t *testing.T) {
	root := newStorage(t, "mode=777")
	for folder, mode := range map[string]uint32{"closed": 0o755, "open": 0o777, "hidden": 0o700, "sticky": 0o1777} {
		must(t, os.Mkdir(filepath.Join(root, folder), 0o755))
		must(t, syscall.Chmod(filepath.Join(root, folder), mode))
	}
	must(t, os.WriteFile(filepath.Join(root, "sticky", "a.exr"), []byte("old"), 0o644))
	for rel, want := range map[string]string{
		"closed/a.exr":     fmt.Sprintf("unavailable, %d, %s/closed: sitesync may not write to", site.Creations, root),
		"closed/new/a.exr": fmt.Sprintf("unavailable, %d, %s/closed: sitesync may not write to", site.Creations, root),
		"hidden/a.exr":     fmt.Sprintf("unavailable, %d, %s/hidden: sitesync may not write to", site.Creations, root),
		"open/a.exr":       "", "new/a.exr": "",
		"sticky/a.exr": "file error, 0, : " + root + "/sticky/a.exr: the file that is there cannot be replaced",
	} {
		cmd := putOrder{Root: root, Rel: rel, Size: 500}.process(t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Path = readableCopy(t)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); (err == nil) != (want == "") || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %v, %s", rel, err, out.String())
		}
		if dir := filepath.Join(root, filepath.Dir(rel)); exists(dir) && len(partialsIn(t, dir)) > 0 {
			t.Errorf("%s: a partial file is left", rel)
		}
	}
}

// readableCopy is this program where every user may run it.
func readableCopy(t *testing.T) string {
	dir, err := os.MkdirTemp("", "sitesync-test")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	program, err := os.ReadFile(os.Args[0])
	must(t, err)
	at := filepath.Join(dir, "test")
	must(t, os.WriteFile(at, program, 0o755))
	return at
}

// New files and folders have the rights that the umask leaves.
func TestPermissions(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	root := usedRoot(t)
	_, err := newTarget(t, Options{}).Put(t.Context(), incoming(root, "show/a.exr", "content"))
	must(t, err)
	for rel, want := range map[string]fs.FileMode{"show": 0o750, "show/a.exr": 0o640} {
		info, err := os.Stat(filepath.Join(root, rel))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has %v, want %v", rel, info.Mode().Perm(), want)
		}
	}
}

func TestDeviceAtTheDestination(t *testing.T) {
	root := newStorage(t, "")
	device := filepath.Join(root, "null.exr")
	must(t, unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	_, err := newTarget(t, Options{}).Put(t.Context(), incoming(root, "null.exr", "content"))
	if site.ClassOf(err) != site.FileError || err == nil || !strings.Contains(err.Error(), "a device is there") {
		t.Errorf("%v", err)
	}
	if info, err := os.Lstat(device); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// Names that the file system refuses are found out before anything is read.
func TestNameTooLong(t *testing.T) {
	root := usedRoot(t)
	for _, rel := range []string{strings.Repeat("x", 256), strings.Repeat("x", 256) + "/a.exr"} {
		in := incoming(root, rel, "content")
		in.Content = unreadable{t}
		_, err := newTarget(t, Options{}).Put(t.Context(), in)
		if err == nil || site.ClassOf(err) != site.FileError || !strings.Contains(err.Error(), "refuses the name") {
			t.Errorf("%v", err)
		}
	}
	wantOnly(t, root, nil)
	long := strings.Repeat("x", 251) + ".exr"
	if _, err := newTarget(t, Options{}).Put(t.Context(), incoming(root, long, "content")); err != nil {
		t.Error(err)
	}
}

// Whatever is exchanged for a link to outside while files are written, nothing gets there.
func TestFolderTakenByALink(t *testing.T) {
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, folder := range []string{filepath.Join(root, "show"), filepath.Join(root, "other"), outside} {
		must(t, os.MkdirAll(folder, 0o755))
	}
	link := filepath.Join(root, "link")
	must(t, os.Symlink(outside, link))
	var done atomic.Bool
	exchanged := make(chan error, 1)
	go func() {
		for !done.Load() {
			err := unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, filepath.Join(root, "show"), unix.RENAME_EXCHANGE)
			if err != nil {
				exchanged <- err
				return
			}
		}
		exchanged <- nil
	}()
	s := newTarget(t, Options{})
	written := 0
	for i := range 300 {
		if _, err := s.Put(t.Context(), incoming(root, fmt.Sprintf("show/%d/a.exr", i), "content")); err == nil {
			written++
		}
	}
	done.Store(true)
	must(t, <-exchanged)
	wantOnly(t, outside, nil)
	if entries, err := os.ReadDir(outside); len(entries) > 0 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if written == 0 {
		t.Error("nothing was written at all")
	}
}

// The kernel's way of opening a folder below a root does what os.Root does.
func TestOpenRootBelow(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	for name, target := range map[string]string{"link": "a/b", "a/up": "../a", "out": "..", "a/out": "../../",
		"absolute": filepath.Join(root, "a"), "loop": "loop", "nowhere": "missing", "magic": "/proc/self/cwd"} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	for rel, want := range map[string]bool{".": true, "a/b": true, "link": true, "a/up/b": true, "out": false,
		"a/out": false, "absolute": false, "loop": false, "nowhere": false, "magic": false, "missing": false,
		"file":    false,
		"../root": false} {
		for way, open := range map[string]func(root, rel string) (*os.Root, error){"by the kernel": openRootBelow,
			"stepwise": openRootStepwise} {
			r, err := open(root, rel)
			if (err == nil) != want {
				t.Errorf("%s %s: %v", rel, way, err)
			}
			if err == nil {
				must(t, r.Mkdir("made-"+filepath.Base(rel), 0o700))
				must(t, r.Remove("made-"+filepath.Base(rel)))
				must(t, r.Close())
			}
		}
	}
}
