package uploader

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// projects makes the world's file one of project show, beside a project that is well.
func (w *world) projects() (show string) {
	root := w.roots[""]
	writeBelow(w.t, root, "show/publish/a.ma")
	writeBelow(w.t, root, "other/b.ma")
	w.store.rep.Files[0].Path = "{root}/show/publish/a.ma"
	other := w.store.rep.Files[0]
	other.Path = "{root}/other/b.ma"
	w.store.rep.Files = append(w.store.rep.Files, other)
	return filepath.Join(root, "show")
}

func (w *world) recordOf(i int) avalon.Site {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	rec, _ := w.store.rep.Files[i].On("gdrive")
	return rec
}

// A project folder that is away, in whatever way, holds what is below it, for as long as it is, and nothing else.
func TestProjectFolderAway(t *testing.T) {
	for name, left := range map[string]func(show string) error{
		"missing":           func(string) error { return nil },
		"empty mount point": func(show string) error { return os.Mkdir(show, 0o700) },
		"dangling link":     func(show string) error { return os.Symlink(show+"-nowhere", show) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				show := w.projects()
				must(t, os.Rename(show, show+"-away"))
				must(t, left(show))
				w.run(10 * time.Minute)
				held := w.up.Held()
				if len(held) != 1 || held[0].Target != (Target{ProjectFolder, show}) || !strings.Contains(held[0].Why, "is not mounted") {
					t.Errorf("held is %v", held)
				}
				if rec := w.recordOf(1); !rec.Created {
					t.Errorf("the other project: %+v", rec)
				}
				if rec := w.recordOf(0); rec.Created || rec.Tries > 0 {
					t.Errorf("the record is %+v", rec)
				}
				must(t, os.RemoveAll(show))
				must(t, os.Rename(show+"-away", show))
				w.run(2 * time.Minute)
				if rec := w.recordOf(0); !rec.Created {
					t.Errorf("the record is %+v", rec)
				}
				if w.logged("uploads are held") != 1 || w.logged("uploads go on") != 1 || w.logged("upload failed") != 0 {
					t.Errorf("the log has %v", w.logs.All())
				}
			})
		})
	}
}

// A file that is missing where its project is well is the file's own trouble, also in an empty folder further down.
func TestFileMissingInAProject(t *testing.T) {
	inBubble(t, func(w *world) {
		show := w.projects()
		must(t, os.Remove(filepath.Join(show, "publish", "a.ma")))
		w.run(time.Hour)
		if rec := w.recordOf(0); rec.Tries != 3 || !strings.Contains(rec.Error, "is not there") || len(w.up.Held()) > 0 {
			t.Errorf("the record is %+v, held is %v", rec, w.up.Held())
		}
	})
}

// A project folder with other accents than in the document is not taken for missing.
func TestFileMissingInAProjectOfAnotherForm(t *testing.T) {
	root := t.TempDir()
	writeBelow(t, root, "e\u0301/a.ma")
	if _, _, err := (source{root: root, rel: "é/b.ma"}).open(5); site.ClassOf(err) != site.NotReady {
		t.Errorf("%v", err)
	}
}

// What storages answer that fail, or that have gone, is theirs only if a folder on the way fails too.
func TestWhoFails(t *testing.T) {
	root := t.TempDir()
	writeBelow(t, root, "show/a.ma")
	s := source{root: root, rel: "show/a.ma"}
	for number, class := range map[syscall.Errno]site.Class{
		syscall.EIO: site.FileError, syscall.EACCES: site.FileError, syscall.ESTALE: site.NotReady, syscall.ENOENT: site.NotReady,
	} {
		why := &os.PathError{Op: "read", Path: s.String(), Err: number}
		if err := s.missed(why); site.ClassOf(err) != class {
			t.Errorf("%v while all is well: %v", number, err)
		}
		gone := source{root: root, rel: "gone/a.ma"}
		if err := gone.missed(why); site.ClassOf(err) != site.Unavailable {
			t.Errorf("%v while the project is away: %v", number, err)
		}
	}
}

// reader is a site that reads what it is given. Something may happen before.
type reader struct {
	*scripted
	before func()
}

func (r *reader) Put(ctx context.Context, u site.Upload) (site.Object, error) {
	r.before()
	if _, err := u.Content.ReadAt(make([]byte, 10), 4096); err != nil && !strings.Contains(err.Error(), "EOF") {
		return site.Object{}, site.Classed(site.Transient, fmt.Errorf("the upload broke off: %w", err))
	}
	return r.scripted.Put(ctx, u)
}

// A read that fails in the middle of an upload asks whether the storage is there before it costs a try. The memory of a
// process has no content at its beginning: reading that is answered by EIO.
func TestReadFails(t *testing.T) {
	for name, away := range map[string]bool{"and the storage is there": false, "as the storage has gone": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				show := w.projects()
				path := filepath.Join(show, "publish", "a.ma")
				must(t, os.Remove(path))
				must(t, os.Symlink("/proc/self/mem", path))
				w.store.rep.Files = w.store.rep.Files[:1]
				w.store.rep.Files[0].Size = 0
				w.up.LocalRoot = config.OneRoot(w.roots[""]).WithLinks([]string{"/proc"})
				first := true
				w.up.Site = &reader{w.site, func() {
					if first && away {
						must(t, os.Rename(show, show+"-away"))
						must(t, os.Mkdir(show, 0o700))
					}
					first = false
				}}
				w.run(time.Second)
				rec, held := w.recordOf(0), w.up.Held()
				switch {
				case rec.Created:
					t.Errorf("the record is %+v", rec)
				case away && (rec.Tries > 0 || len(held) != 1 || held[0].Target != (Target{ProjectFolder, show})):
					t.Errorf("the record is %+v, held is %v", rec, held)
				case !away && (rec.Tries != 1 || !strings.Contains(rec.Error, "input/output error") || len(held) > 0):
					t.Errorf("the record is %+v, held is %v", rec, held)
				}
			})
		})
	}
}

// A project folder may be a link to another mount if the settings allow its target. If not, nothing is uploaded and no try
// is spent, and the log names the setting.
func TestProjectFolderIsALink(t *testing.T) {
	for name, test := range map[string]struct {
		allow  func(target string) []string
		synced bool
	}{
		"not allowed":    {func(string) []string { return nil }, false},
		"another folder": {func(target string) []string { return []string{target + "-other", t.TempDir()} }, false},
		"its target":     {func(target string) []string { return []string{target} }, true},
		"a folder above": {func(target string) []string { return []string{"/nowhere/at/all", filepath.Dir(target)} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			writeBelow(t, target, "secret/a.ma")
			inBubble(t, func(w *world) {
				show := w.projects()
				must(t, os.Rename(filepath.Join(show, "publish"), filepath.Join(target, "publish")))
				must(t, os.Remove(show))
				must(t, os.Symlink(target, show))
				w.up.LocalRoot = config.OneRoot(w.roots[""]).WithLinks(test.allow(target))
				w.run(time.Minute)
				rec, held := w.recordOf(0), w.up.Held()
				if rec.Created != test.synced || rec.Tries > 0 || !w.recordOf(1).Created {
					t.Errorf("the record is %+v", rec)
				}
				if !test.synced && (len(held) != 1 || held[0].Kind != Settings || !strings.Contains(held[0].Why, show+" is a symbolic link out of the root, to "+target+
					"; add its target, or a folder above that, to local_root_links of config.json")) {
					t.Errorf("held is %v", held)
				}
				rep := &w.store.rep // check tells it too
				_, err := NewInspector().Source(w.t.Context(), &rep.Files[0], rep.Roots, w.up.LocalRoot, w.up.RemoteRoot)
				if (err == nil) != test.synced || err != nil && !strings.Contains(err.Error(), "local_root_links") {
					t.Errorf("the source: %v", err)
				}
			})
		})
	}
}

// A link from an allowed folder leads nowhere else.
func TestLinksOfLinks(t *testing.T) {
	root, allowed, outside := t.TempDir(), t.TempDir(), t.TempDir()
	writeBelow(t, allowed, "a.ma")
	writeBelow(t, outside, "a.ma")
	must(t, os.Symlink(allowed, filepath.Join(root, "show")))
	must(t, os.Symlink(filepath.Join(outside, "a.ma"), filepath.Join(allowed, "out.ma")))
	must(t, os.Symlink("../"+filepath.Base(outside)+"/a.ma", filepath.Join(allowed, "up.ma")))
	for rel, class := range map[string]site.Class{"show/out.ma": site.FileError, "show/up.ma": site.FileError} {
		s := source{root: root, rel: rel, links: []string{allowed}}
		if _, _, err := s.open(5); err == nil || site.ClassOf(err) != class || !strings.Contains(err.Error(), "local_root_links") {
			t.Errorf("%s: %v", rel, err)
		}
	}
	f, _, err := source{root: root, rel: "show/a.ma", links: []string{allowed}}.open(5)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
