package integration_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sys/unix"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// mount mounts what is at a path, or a file system of memory, on a folder, until the test ends.
func mount(t *testing.T, source, on, kind string, flags uintptr, options string) {
	t.Helper()
	check(t, unix.Mount(source, on, kind, flags, options))
	t.Cleanup(func() { check(t, unix.Unmount(on, unix.MNT_DETACH)) })
}

// bind mounts a folder on a folder.
func bind(t *testing.T, source, on string) {
	t.Helper()
	mount(t, source, on, "", unix.MS_BIND, "")
}

// setWritable lets what is mounted on a folder be written to, or not.
func setWritable(t *testing.T, on string, may bool) {
	t.Helper()
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
	if !may {
		flags |= unix.MS_RDONLY
	}
	check(t, unix.Mount("", on, "", flags, ""))
}

// checkDownloadsHeld checks that downloads are held, that this is reported everywhere, and that it costs no try.
func (s *testStudio) checkDownloadsHeld(d *process.Process, kind, subject, why string, reps ...*studio.Representation) {
	s.t.Helper()
	line := s.log(d, func(l process.Line) bool {
		return down("downloads are held")(l) && strings.Contains(l.Text("held"), subject)
	})
	if !strings.Contains(line.Text("error"), why) {
		s.t.Errorf("the log says %v, nothing about %q", line.Fields, why)
	}
	page := s.page(d)
	page.shows(map[string]float64{`sitesync_holds_active{direction="down",kind="` + kind + `"}`: 1,
		`sitesync_holds_active{kind="` + kind + `"}`: 0})
	s.eventually("/readyz reports it", func() bool { // once both directions are there
		status, body := page.get("/readyz")
		return status == 200 && strings.Contains(body, subject)
	})
	s.eventually("status reports it", func() bool {
		held := s.status(0).Download.Sitesync.Held
		return len(held) == 1 && strings.Contains(held[0], subject) && strings.Contains(held[0], why)
	})
	for _, rep := range reps {
		s.checkUntouched(rep)
	}
}

// checkUntouched checks that a file is neither there nor recorded, and that it has cost no try.
func (s *testStudio) checkUntouched(rep *studio.Representation) {
	s.t.Helper()
	for i, record := range must(rep.Records(s.ctx, s.site()))(s.t) {
		if elements := must(record.Elements())(s.t); len(elements) != 1 {
			s.t.Errorf("the record is %v", record)
		}
		if _, err := os.Lstat(s.local(rep.Files[i])); !errors.Is(err, fs.ErrNotExist) {
			s.t.Errorf("%s: %v", s.local(rep.Files[i]), err)
		}
	}
}

// A storage that is full holds downloads, while what is on it is uploaded. They leave it the room that is left, and go
// on as far as there is room again.
func TestDownloadToAFullStorage(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	mount(t, "tmpfs", s.root, "tmpfs", 0, "size=24m")
	s.writable()
	p := s.project("Test")
	up := s.publish(p, studio.Publish{Size: 1 << 20, NoRemote: true})
	large := s.remotely(p, studio.Publish{Version: 2, Size: 12 << 20, Name: "vdb"})
	small := s.remotely(p, studio.Publish{Version: 3, Size: 1 << 20, Frames: 2, Name: "exr"})
	fill := func(name string) string {
		t.Helper()
		name = filepath.Join(s.root, name)
		f := must(os.Create(name))(t)
		defer f.Close()
		if _, err := io.CopyN(f, zeros{}, 8<<20); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		return name
	}
	fillers := []string{fill("a"), fill("b"), fill("c")} // the last one as far as there is room

	d := s.start(append(serve, "--retry-delay", "10ms")...)
	check(t, large.AddSite(s.ctx, "studio"))
	s.checkDownloadsHeld(d, "local_root", s.root, "the storage is full", large)
	check(t, small.AddSite(s.ctx, "studio"))
	check(t, up.AddSite(s.ctx, "gdrive"))
	s.synced(up)
	s.checkUntouched(large)
	s.checkUntouched(small)
	s.checkNothingHidden()

	check(t, os.Remove(fillers[0]))
	s.arrives(small)
	s.checkDownloadsHeld(d, "large_files", " and more for "+s.root, "there is room for", large)
	s.checkNothingHidden()
	up = s.publish(p, studio.Publish{Version: 4, Size: 1 << 20})
	s.synced(up)

	for _, name := range fillers[1:] {
		check(t, os.Remove(name))
	}
	s.arrives(large)
	s.checkNothingHidden()
	s.checkNoDownloadFailed(d)
	if held := d.Lines(process.Message("uploads are held")); len(held) > 0 {
		t.Errorf("uploads were held: %v", held)
	}
}

// zeros is read without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A storage that can't be written to, or is not mounted, holds its downloads until that is over, whatever it is.
func TestDownloadToAStorageOutOfOrder(t *testing.T) {
	for name, test := range map[string]struct {
		begin, end func(t *testing.T, s *testStudio)
		why        string
		uploads    bool // go on
	}{
		"mounted read-only": {func(t *testing.T, s *testStudio) {
			bind(t, s.root, s.root)
			setWritable(t, s.root, false)
		}, func(t *testing.T, s *testStudio) { setWritable(t, s.root, true) }, "mounted read-only", true},
		"not mounted": {func(t *testing.T, s *testStudio) {
			check(t, os.Rename(s.root, s.root+"-away"))
			check(t, os.Mkdir(s.root, 0o755))
		}, func(t *testing.T, s *testStudio) { bind(t, s.root+"-away", s.root) }, "not mounted", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.writable()
			p := s.project("Test")
			up := s.publish(p, studio.Publish{Size: 1000, NoRemote: true})
			reps := []*studio.Representation{s.remotely(p, studio.Publish{Version: 2, Frames: 3, Name: "exr"}),
				s.remotely(p, studio.Publish{Version: 3})}
			test.begin(t, s)
			d := s.start(append(serve, "--retry-delay", "10ms")...)
			for _, rep := range reps {
				check(t, rep.AddSite(s.ctx, "studio"))
			}
			s.checkDownloadsHeld(d, "local_root", s.root, test.why, reps...)
			check(t, up.AddSite(s.ctx, "gdrive"))
			if test.uploads {
				s.synced(up)
			}
			if n := len(must(filepath.Glob(s.root + "/*"))(t)); n > 0 == !test.uploads {
				t.Errorf("%d are in the root", n)
			}
			test.end(t, s)
			for _, rep := range reps {
				s.arrives(rep)
			}
			s.synced(up)
			s.checkNothingHidden()
			s.checkNoDownloadFailed(d)
			if n := len(d.Lines(process.Message("downloads are held"))); n != 1 {
				t.Errorf("it is logged %d times", n)
			}
		})
	}
}

// A project folder that is a link to where the settings allow none holds that project's downloads, and no others.
func TestDownloadThroughALink(t *testing.T) {
	for name, there := range map[string]bool{"an empty folder": false, "the folder of the file": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.writable()
			p, q := s.project("Test"), s.project("Other")
			linked, other := s.remotely(p, studio.Publish{Frames: 3, Name: "exr"}), s.remotely(q, studio.Publish{})
			outside, show := t.TempDir(), filepath.Join(s.root, "Test")
			check(t, os.RemoveAll(show))
			check(t, os.Symlink(outside, show))
			if there {
				check(t, os.MkdirAll(filepath.Dir(s.local(linked.Files[0])), 0o755))
			}
			d := s.start(append(serve, "--retry-delay", "10ms")...)
			check(t, linked.AddSite(s.ctx, "studio"))
			s.checkDownloadsHeld(d, "settings", "files that the settings do not fit",
				show+" is a symbolic link out of the root, to "+outside, linked)
			check(t, other.AddSite(s.ctx, "studio"))
			s.arrives(other)
			s.checkUntouched(linked)
			if held := s.status(0).Download.Sitesync.Held; len(held) != 1 {
				t.Errorf("held are %q", held)
			}
			s.checkNoDownloadFailed(d)
		})
	}
}

// A folder that can't be written to holds what goes there, while other folders go on.
func TestDownloadToAClosedFolder(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p, q := s.project("Test"), s.project("Other")
	folder := filepath.Join(s.root, "Test")
	bind(t, folder, folder)
	setWritable(t, folder, false)
	reps := []*studio.Representation{s.remotely(p, studio.Publish{Frames: 3, Name: "exr"}),
		s.remotely(p, studio.Publish{Version: 2})}
	open := s.remotely(q, studio.Publish{Frames: 3, Name: "exr"})
	d := s.start(append(serve, "--retry-delay", "10ms")...)
	for _, rep := range reps {
		check(t, rep.AddSite(s.ctx, "studio"))
	}
	s.checkDownloadsHeld(d, "new_files", "new files and folders in "+folder, "mounted read-only", reps...)
	check(t, open.AddSite(s.ctx, "studio"))
	s.arrives(open)
	for _, rep := range reps {
		s.checkUntouched(rep)
	}
	setWritable(t, folder, true)
	for _, rep := range reps {
		s.arrives(rep)
	}
	s.checkNothingHidden()
	s.checkNoDownloadFailed(d)
}

// Killed while Drive has a request, or in the middle of its answer, sitesync leaves nothing that looks like the file,
// and downloads it when it is started again.
func TestKilledInADownload(t *testing.T) {
	for name, fault := range map[string]drive.Fault{
		"before the metadata": {Kind: "files.get", Name: "*.ma"},
		"before the content":  {Kind: "files.download"},
		"at the first byte":   {Kind: "files.download", When: drive.InAnswer},
		"in the content":      {Kind: "files.download", When: drive.InAnswer, AfterBytes: 300_000},
		"at the last byte":    {Kind: "files.download", When: drive.InAnswer, AfterBytes: 599_999},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.writable()
			rep := s.remotely(s.project("Test"), studio.Publish{Size: 600_000})
			fault.Effect = drive.EffectHang
			hang := s.drive.AddFault(fault)
			d := s.start()
			check(t, rep.AddSite(s.ctx, "studio"))
			s.eventually("it is at that point", func() bool { return hang.Hits() > 0 })
			d.Kill()
			s.checkUntouched(rep)
			hang.Remove()
			d = s.start()
			s.arrives(rep)
			s.checkNothingHidden()
			if warned := warnings(d); len(warned) > 0 {
				t.Errorf("warnings: %v", warned)
			}
		})
	}
}

// Killed after the file has its name and before it is recorded, sitesync records it when it is started again, and does
// not write it once more.
func TestKilledBeforeADownloadIsRecorded(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{TestCommands: true})
	s := newTestStudioOn(t, set.URI(), set.Client().Database("avalon"))
	s.writable()
	rep := s.remotely(s.project("Test"), studio.Publish{Size: 600_000, Frames: 3, Name: "exr"})
	d := s.start()
	off := must(must(set.Primary(s.ctx))(t).FailPoint(s.ctx, "failCommand", mongod.AlwaysOn, bson.D{
		{Key: "failCommands", Value: bson.A{"update"}}, {Key: "appName", Value: "sitesync"},
		{Key: "namespace", Value: "avalon.Test"}, {Key: "errorCode", Value: 50}}))(t)
	check(t, rep.AddSite(s.ctx, "studio"))
	var before []os.FileInfo
	s.eventually("all files are there", func() bool {
		before = nil
		for _, f := range rep.Files {
			info, err := os.Stat(s.local(f))
			if err != nil {
				return false
			}
			before = append(before, info)
		}
		return true
	})
	d.Kill()
	for _, record := range must(rep.Records(s.ctx, "studio"))(t) {
		if record.Lookup("created_dt").Type != 0 {
			t.Fatalf("it is recorded: %v", record)
		}
	}
	check(t, off(context.Background()))
	d = s.start()
	s.arrives(rep)
	for i, f := range rep.Files {
		if !os.SameFile(before[i], must(os.Stat(s.local(f)))(t)) {
			t.Errorf("%s was written again", f.Rel)
		}
	}
	s.checkNothingHidden()
	if replaced := d.Lines(process.Message("replaced")); len(replaced) > 0 {
		t.Errorf("%v", replaced)
	}
}

// Killed again and again in a sequence, sitesync brings each frame, as a whole, and leaves no partial file.
func TestKilledInASequenceOfDownloads(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	s.drive.UpdateSettings(func(set *drive.Settings) { set.Latency = 20 * time.Millisecond })
	rep := s.remotely(s.project("Test"), studio.Publish{Size: 20_000, Name: "exr", Frames: 200})
	d := s.start()
	check(t, rep.AddSite(s.ctx, "studio"))
	frames := filepath.Join(filepath.Dir(s.local(rep.Files[0])), "*.exr")
	for kills := range 4 {
		s.eventually("some frames are there", func() bool {
			return len(must(filepath.Glob(frames))(t)) > 40*(kills+1)
		})
		d.Kill()
		for _, name := range must(filepath.Glob(frames))(t) {
			if info := must(os.Stat(name))(t); info.Size() != 20_000 {
				t.Errorf("%s has %d bytes", name, info.Size())
			}
		}
		d = s.start()
	}
	s.arrives(rep)
	s.checkNothingHidden()
	s.checkNoDownloadFailed(d)
}

// Killed or stopped in a large file, again and again, sitesync goes on where it was, in requests for parts of it.
// Nobody sees the file before it is complete.
func TestKilledInALargeDownload(t *testing.T) {
	t.Parallel()
	const (
		size    = 160 << 20
		segment = 4 << 20 // that is asked for at once
		window  = 8 * segment
	)
	s := newTestStudio(t)
	s.writable()
	s.drive.UpdateSettings(func(set *drive.Settings) { set.DownloadBandwidth = 60 << 20 })
	rep := s.remotely(s.project("Test"), studio.Publish{Size: size, Name: "vdb"})
	local, id := s.local(rep.Files[0]), s.id(rep, 0)
	// partial is how much there is of it.
	partial := func() (length int64) {
		if info, err := os.Stat(local); err == nil && info.Size() != size {
			t.Errorf("the file has %d bytes", info.Size())
		}
		for _, name := range must(filepath.Glob(filepath.Join(filepath.Dir(local), ".sitesync-*.part")))(t) {
			if info, err := os.Stat(name); err == nil {
				length = max(length, info.Size())
			}
		}
		return length
	}
	// sent is what Drive has sent since the last call.
	sent := func() (bytes int64) {
		s.eventually("all requests have ended", func() bool {
			return len(s.downloadsOf(id)) == s.drive.Calls()["files.download"]
		})
		for _, e := range s.downloadsOf(id) {
			if bytes += e.Sent; e.Sent > segment {
				t.Errorf("a request has brought %d bytes", e.Sent)
			}
		}
		s.drive.ResetCalls()
		return bytes
	}
	start := func() *process.Process { return s.start("--shutdown-timeout", "100ms") }
	d := start()
	check(t, rep.AddSite(s.ctx, "studio"))
	var had, total int64
	for i, part := range []int64{size / 3, size / 2, size * 5 / 6} {
		s.eventually("much of it is there", func() bool { return partial() > part })
		if i == 1 {
			s.stops(d)
		} else {
			d.Kill()
		}
		s.checkUntouched(rep)
		total += sent()
		if had = partial(); had == 0 {
			t.Fatal("nothing is left of it")
		}
		d = start()
	}
	s.arrives(rep)
	last := sent()
	if last > size-had+window {
		t.Errorf("%d of %d bytes were there, and %d were downloaded", had, size, last)
	}
	if total += last; total > size+3*2*window {
		t.Errorf("%d bytes were downloaded", total)
	}
	s.checkNothingHidden()
	if n := len(d.Lines(down("synced"))); n != 1 {
		t.Errorf("it is synced %d times", n)
	}
	s.checkNoDownloadFailed(d)
}
