package uploader

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/site"
)

func writeBelow(t *testing.T, root, rel string) {
	t.Helper()
	at := filepath.Join(root, filepath.FromSlash(rel))
	must(t, os.MkdirAll(filepath.Dir(at), 0o700))
	must(t, os.WriteFile(at, []byte("12345"), 0o600))
}

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

func (w *world) recordOf(i int) avalon.SiteRecord {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	rec, _ := w.store.rep.Files[i].RecordFor("gdrive")
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
				if len(held) != 1 || held[0].Target != (Target{ProjectFolder, show}) ||
					!strings.Contains(held[0].Why, "is not mounted") {
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
				if w.logged("uploads are held") != 1 || w.logged("uploads go on") != 1 ||
					w.logged("upload failed") != 0 {
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
		if rec := w.recordOf(0); rec.Tries != 3 || !strings.Contains(rec.Error, "is not there") ||
			len(w.up.Held()) > 0 {
			t.Errorf("the record is %+v, held is %v", rec, w.up.Held())
		}
	})
}

// reader is a site that reads what it is given. Something may happen before.
type reader struct {
	*scripted
	before func()
}

func (r *reader) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
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
			inBubbleWithLinks(t, []string{"/proc"}, func(w *world) {
				show := w.projects()
				path := filepath.Join(show, "publish", "a.ma")
				must(t, os.Remove(path))
				must(t, os.Symlink("/proc/self/mem", path))
				w.store.rep.Files = w.store.rep.Files[:1]
				w.store.rep.Files[0].Size = 0
				first := true
				w.up.Target = &reader{w.site, func() {
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

// A project folder may be a link to another mount if the settings allow its target. If not, nothing is uploaded and no
// try is spent, and the log names the setting.
func TestProjectFolderIsALink(t *testing.T) {
	for name, test := range map[string]struct {
		allow  func(target string) []string
		synced bool
	}{
		"not allowed":    {func(string) []string { return nil }, false},
		"another folder": {func(target string) []string { return []string{target + "-other", t.TempDir()} }, false},
		"its target":     {func(target string) []string { return []string{target} }, true},
		"a folder above": {func(target string) []string { return []string{"/nowhere/at/all", filepath.Dir(target)} },
			true},
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			writeBelow(t, target, "secret/a.ma")
			inBubbleWithLinks(t, test.allow(target), func(w *world) {
				show := w.projects()
				must(t, os.Rename(filepath.Join(show, "publish"), filepath.Join(target, "publish")))
				must(t, os.Remove(show))
				must(t, os.Symlink(target, show))
				w.run(time.Minute)
				rec, held := w.recordOf(0), w.up.Held()
				if rec.Created != test.synced || rec.Tries > 0 || !w.recordOf(1).Created {
					t.Errorf("the record is %+v", rec)
				}
				if !test.synced && (len(held) != 1 || held[0].Kind != Settings ||
					!strings.Contains(held[0].Why, show+" is a symbolic link out of the root, to "+target+
						"; add its target, or a folder above that, to local_root_links of config.json")) {
					t.Errorf("held is %v", held)
				}
				rep := &w.store.rep // check tells it too
				n := Inspector{Source: w.up.Source, RemoteRoot: w.up.RemoteRoot}
				_, err := n.CheckSource(w.t.Context(), &rep.Files[0], rep.Roots)
				if (err == nil) != test.synced || err != nil && !strings.Contains(err.Error(), "local_root_links") {
					t.Errorf("the source: %v", err)
				}
			})
		})
	}
}
