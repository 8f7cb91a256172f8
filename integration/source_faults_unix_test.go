//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// sourceFault is something wrong with the file of a publish.
type sourceFault struct {
	pub   studio.Publish
	spoil func(t *testing.T, f studio.File) // before the insert; the good files are still *.tmp
	// what error says once the tries are spent; "" if nothing is wrong after all
	want    string
	unspoil func(t *testing.T, f studio.File) // before the *.tmp get their names; nil: nothing to do
	path    bool                              // the path in the document must be fixed
}

func sourceFaults() map[string]sourceFault {
	remove := func(t *testing.T, f studio.File) { check(t, os.Remove(f.Local)) }
	recorded := func(path string) func(bson.D) bson.D {
		return func(doc bson.D) bson.D {
			files := doc[fieldOf(doc, "files")].Value.(bson.A)
			files[0] = with(files[0].(bson.D), "path", path)
			return doc
		}
	}
	long := strings.Repeat("n", 252) + ".ma" // 255 bytes, the longest name that a file can have
	return map[string]sourceFault{
		"missing": {want: "is not there"},
		"of another size": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.WriteFile(f.Local, make([]byte, 50), 0o644))
		}, want: "has 50 bytes, 100 were published", unspoil: remove},
		"empty, but not published so": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.WriteFile(f.Local, nil, 0o644))
		}, want: "has 0 bytes, 100 were published", unspoil: remove},
		"a folder": {spoil: func(t *testing.T, f studio.File) { check(t, os.Mkdir(f.Local, 0o755)) },
			want: "not a regular file but a folder", unspoil: remove},
		// More of them than there are transfers.
		"FIFOs": {pub: studio.Publish{Frames: 12},
			spoil: func(t *testing.T, f studio.File) { check(t, syscall.Mkfifo(f.Local, 0o644)) },
			want:  "not a regular file but a FIFO", unspoil: remove},
		"a symlink to a FIFO": {spoil: func(t *testing.T, f studio.File) {
			check(t, syscall.Mkfifo(f.Local+".fifo", 0o644))
			check(t, os.Symlink(filepath.Base(f.Local)+".fifo", f.Local))
		}, want: "not a regular file but a FIFO", unspoil: remove},
		"a socket": {spoil: func(t *testing.T, f studio.File) {
			// By a short name: that of a socket has 108 bytes at most.
			dir, err := os.MkdirTemp("", "s")
			check(t, err)
			t.Cleanup(func() { os.RemoveAll(dir) })
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
			check(t, err)
			l.SetUnlinkOnClose(false)
			check(t, os.Rename(filepath.Join(dir, "s"), f.Local))
			check(t, l.Close())
		}, want: "not a regular file but a socket", unspoil: remove},
		"a symlink out of the root": {spoil: func(t *testing.T, f studio.File) {
			out := filepath.Join(t.TempDir(), "secret")
			check(t, os.WriteFile(out, make([]byte, 100), 0o644))
			check(t, os.Symlink(out, f.Local))
		}, want: "leads out of the root", unspoil: remove},
		"a relative symlink out of the root": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.Symlink(strings.Repeat("../", 40)+"etc/passwd", f.Local))
		}, want: "leads out of the root", unspoil: remove},
		"a dangling symlink": {spoil: func(t *testing.T, f studio.File) { check(t, os.Symlink("nothing", f.Local)) },
			want: "is not there", unspoil: remove},
		"a symlink to itself": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.Symlink(filepath.Base(f.Local), f.Local))
		}, want: "too many", unspoil: remove},
		"a file in place of its folder": {pub: studio.Publish{Subset: "modelAway"},
			spoil: func(t *testing.T, f studio.File) {
				check(t, os.Rename(filepath.Dir(f.Local), filepath.Dir(f.Local)+"-away"))
				check(t, os.WriteFile(filepath.Dir(f.Local), nil, 0o644))
			}, want: "not a directory", unspoil: func(t *testing.T, f studio.File) {
				check(t, os.Remove(filepath.Dir(f.Local)))
				check(t, os.Rename(filepath.Dir(f.Local)+"-away", filepath.Dir(f.Local)))
			}},
		"a path that leaves the root": {pub: studio.Publish{Change: recorded("{root}/Test/../../etc/passwd")},
			want: `leaves its root by ".."`, path: true},
		"a path with a NUL": {pub: studio.Publish{Change: recorded("{root}/Test/a\x00b")}, want: "NUL",
			path: true},
		"a path of another root": {pub: studio.Publish{Change: recorded("/etc/passwd")},
			want: "does not begin with {root}", path: true},
		"a path that is only the root": {pub: studio.Publish{Change: recorded("{root}/")}, want: "is the root itself",
			path: true},
		"a name of 256 bytes": {pub: studio.Publish{Change: recorded("{root}/Test/n" + long)},
			want: "file name too long", path: true},
		"a path that is no text, almost": {pub: studio.Publish{Change: recorded("{root}/Test/a\xff.ma")},
			want: "is not UTF-8", path: true},

		"a symlink inside of the root": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.Symlink(filepath.Base(f.Local)+".real", f.Local))
			check(t, os.WriteFile(f.Local+".real", make([]byte, 100), 0o644))
		}},
		"an absolute symlink inside of the root": {spoil: func(t *testing.T, f studio.File) {
			check(t, os.WriteFile(f.Local+".real", make([]byte, 100), 0o644))
			check(t, os.Symlink(f.Local+".real", f.Local))
		}},
		"a name of 255 bytes": {pub: studio.Publish{File: long, NoTmp: true}},
		"a name of 255 bytes that are fewer characters": {pub: studio.Publish{File: strings.Repeat("ß", 126) + ".ma",
			NoTmp: true}},
		"an empty file":   {pub: studio.Publish{NoTmp: true}},
		"of no size told": {pub: studio.Publish{NoSize: true, NoTmp: true}},
		"of a hash not told": {pub: studio.Publish{NoHash: true, Int32Size: true,
			NoTmp: true}},
	}
}

func fieldOf(doc bson.D, key string) int {
	for i := range doc {
		if doc[i].Key == key {
			return i
		}
	}
	panic("no field " + key)
}

// Each fault costs just the files that have it their tries, delays nothing else, and is over once it is repaired
// and tries are deleted.
func TestSourceFaults(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	d := s.start(append(streamOnly, "--settle", "100ms", "--retry-delay", "20ms")...)

	faults, reps := sourceFaults(), map[string]*studio.Representation{}
	for name, fault := range faults {
		pub := fault.pub
		pub.Version, pub.Hold = len(reps)+1, true
		if name != "an empty file" {
			pub.Size = 100
		}
		if spoil := fault.spoil; spoil != nil {
			// Before the insert, so that sitesync sees nothing else.
			pub.Change = func(doc bson.D) bson.D {
				for _, v := range doc[fieldOf(doc, "files")].Value.(bson.A) {
					path := v.(bson.D)[fieldOf(v.(bson.D), "path")].Value.(string)
					spoil(t, studio.File{Local: filepath.Join(s.root, strings.TrimPrefix(path, "{root}"))})
				}
				return doc
			}
		}
		reps[name] = s.publish(p, pub)
	}
	s.synced(s.publish(p, studio.Publish{Size: 100, Version: 1000})) // whatever goes on with the others

	for name, fault := range faults {
		rep := reps[name]
		if fault.want == "" {
			s.synced(rep)
			continue
		}
		for i, f := range rep.Files {
			s.eventually(name+": three tries are spent", func() bool {
				tries, ok := s.record(rep, i).Lookup("tries").Int32OK()
				return ok && tries == 3
			})
			rec := s.record(rep, i)
			if text, _ := rec.Lookup("error").StringValueOK(); !strings.Contains(text, fault.want) {
				t.Errorf("%s: error is %q, want %q", name, text, fault.want)
			}
			if _, ok := rec.Lookup("last_failed_dt").TimeOK(); !ok || rec.Lookup("created_dt").Type != 0 ||
				rec.Lookup("id").Type != 0 {
				t.Errorf("%s: the record is %v", name, rec)
			}
			if fault.path {
				continue
			}
			if n := len(s.drive.Find(s.show, "projects/"+f.Rel)); n != 0 {
				t.Errorf("%s: it was uploaded", name)
			}
		}
		if n := len(d.Lines(func(l process.Line) bool {
			return strings.Contains(l.Message, "failed for good") && l.Text("representation") == rep.ID.Hex() &&
				l.Text("project") == "Test"
		})); n != len(rep.Files) {
			t.Errorf("%s: %d of %d files are reported as failed for good", name, n, len(rep.Files))
		}
	}

	for name, fault := range faults {
		if fault.want == "" {
			continue
		}
		rep := reps[name]
		if fault.unspoil != nil {
			for _, f := range rep.Files {
				fault.unspoil(t, f)
			}
		}
		check(t, rep.Finish())
		if fault.path {
			must(p.Collection().UpdateByID(s.ctx, rep.ID,
				bson.D{{Key: "$set", Value: bson.D{{Key: "files.0.path", Value: rep.Files[0].Path}}}}))(t)
		}
		check(t, rep.Retry(s.ctx, "gdrive"))
		s.synced(rep)
		for i := range rep.Files {
			for _, field := range []string{"tries", "error", "last_failed_dt"} {
				if v := s.record(rep, i).Lookup(field); v.Type != 0 {
					t.Errorf("%s: %s is still there: %v", name, field, v)
				}
			}
		}
	}
	s.checkNoDuplicates()
	if held := d.Lines(process.Message("uploads are held")); len(held) > 0 {
		t.Errorf("the site was held: %v", held)
	}
}

// A source that comes, or comes to its size, while it is waited for costs no try.
func TestSourceThatComesLate(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	d := s.start(append(streamOnly, "--settle", "10m", "--log-level", "debug")...)
	nothing := func(studio.File) error { return nil }
	faults := []struct{ spoil, next func(f studio.File) error }{
		{nothing, nothing}, // missing
		{ // written bit by bit
			func(f studio.File) error { return os.WriteFile(f.Local, make([]byte, 30), 0o644) },
			func(f studio.File) error { return os.Remove(f.Local) },
		},
		{ // longer than published, as an older version was
			func(f studio.File) error { return os.WriteFile(f.Local, make([]byte, 300), 0o644) },
			func(f studio.File) error { return os.Remove(f.Local) },
		},
		{ // a link that nothing is behind yet
			func(f studio.File) error { return os.Symlink(filepath.Base(f.Local)+".real", f.Local) },
			func(f studio.File) error { return os.Remove(f.Local) },
		},
	}
	var reps []*studio.Representation
	for i, fault := range faults {
		rep := s.publish(p, studio.Publish{Size: 100, Version: i + 1, Hold: true})
		reps = append(reps, rep)
		check(t, fault.spoil(rep.Files[0]))
	}
	for i, rep := range reps {
		// Whatever stands there was looked at, and more than once.
		s.eventually(fmt.Sprintf("representation %d is waited for", i), func() bool {
			return len(d.Lines(func(l process.Line) bool {
				return l.Message == "source is waited for" && l.Text("representation") == rep.ID.Hex()
			})) > 2
		})
	}
	for i, rep := range reps {
		check(t, faults[i].next(rep.Files[0]))
		check(t, rep.Finish())
		s.synced(rep)
	}
	s.checkNoTries(d)
}

// What ends on Drive is what is there in the end, once, whatever happens to a source while it is read.
func TestSourceChangesWhileItIsUploaded(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	p := s.project("Test")
	const size = 24 << 20 // more than what the connection takes in at once
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 8 << 20 })
	d := s.start(append(streamOnly, "--settle", "10m")...)

	other := bytes.Repeat([]byte("other content "), size/14+1)[:size]
	faults := map[string]struct {
		pub    studio.Publish
		meddle func(t *testing.T, f studio.File)
	}{
		"replaced": {meddle: func(t *testing.T, f studio.File) {
			check(t, os.WriteFile(f.Local+".new", other, 0o644))
			check(t, os.Rename(f.Local+".new", f.Local))
		}},
		"copied over": {meddle: func(t *testing.T, f studio.File) { check(t, os.WriteFile(f.Local, other, 0o644)) }},
		"truncated": {pub: studio.Publish{NoSize: true}, meddle: func(t *testing.T, f studio.File) {
			check(t, os.Truncate(f.Local, 1000))
		}},
		"grown": {pub: studio.Publish{NoSize: true}, meddle: func(t *testing.T, f studio.File) {
			out, err := os.OpenFile(f.Local, os.O_WRONLY|os.O_APPEND, 0)
			check(t, err)
			_, err = out.WriteString("and more")
			check(t, err)
			check(t, out.Close())
		}},
	}
	reps := map[string]*studio.Representation{}
	for name, fault := range faults {
		pub := fault.pub
		pub.Size, pub.Version, pub.NoTmp = size, len(reps)+1, true
		reps[name] = s.publish(p, pub)
	}
	s.eventually("all are uploaded", func() bool { return s.drive.Calls()["upload.put"] == len(faults) })
	for name, fault := range faults {
		fault.meddle(t, reps[name].Files[0])
	}
	if synced := d.Lines(process.Message("synced")); len(synced) > 0 {
		t.Fatalf("it was too late to meddle with %v", synced)
	}
	s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
	for _, rep := range reps {
		s.synced(rep)
	}
	s.checkNoTries(d)
	s.checkNoDuplicates()
}

// Beyond what 32 bits count. On disk it is a hole, at the studio and on the emulated Drive.
func TestHugeFile(t *testing.T) {
	t.Parallel()
	const (
		size = 4<<30 + 1                          // more than 32 bits
		sum  = "81b55d91cc991abfc68837a28fdd2a05" // of md5sum, which takes as long as the upload
	)
	s := newTestStudio(t)
	s.start(streamOnly...)
	rep := s.publish(s.project("Test"), studio.Publish{Size: size, Sparse: true, NoTmp: true})
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Minute)
	defer cancel()
	must(s.studio.WaitSynced(ctx, rep))(t)
	found := s.drive.Find(s.show, "projects/"+rep.Files[0].Rel)
	if len(found) != 1 || found[0].Size != size || found[0].MD5 != sum {
		t.Errorf("on Drive is %+v, want %d bytes with the MD5 %s", found, size, sum)
	}
	if n := s.drive.Calls()["upload.put"]; n != 1 {
		t.Errorf("%d requests sent the content", n)
	}
}
