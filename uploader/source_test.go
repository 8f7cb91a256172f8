package uploader

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/watcher"
)

// published writes the source anew, modified then.
func published(t *testing.T, path, content string, modified time.Time) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
	must(t, os.Chtimes(path, modified, modified))
}

// meddling are things that others do to a source while it is read. Each leaves something to be uploaded
// under its name in the end.
var meddling = map[string]func(t *testing.T, path string){
	"replaced": func(t *testing.T, path string) {
		published(t, path+".tmp", "abcde", time.Unix(2e9, 0))
		must(t, os.Rename(path+".tmp", path))
	},
	"replaced by a link": func(t *testing.T, path string) {
		published(t, path+".2", "abcde", time.Unix(2e9, 0))
		must(t, os.Remove(path))
		must(t, os.Symlink(filepath.Base(path)+".2", path))
	},
	"written over": func(t *testing.T, path string) { published(t, path, "abcde", time.Unix(2e9, 0)) },
	"touched":      func(t *testing.T, path string) { must(t, os.Chtimes(path, time.Unix(2e9, 0), time.Unix(2e9, 0))) },
}

// What was read counts only if it is what is there when it has been read.
func TestSourceChangesWhileItIsRead(t *testing.T) {
	for name, meddle := range meddling {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				path := filepath.Join(w.roots[""], "a.ma")
				w.up.Target = &meddled{Backend: w.site, during: []func(){func() { meddle(t, path) }}}
				w.run(time.Minute)
				w.wantSynced()
				if len(w.site.puts) != 2 || w.totals() != (totals{Synced: 1}) {
					t.Errorf("uploaded %d times, totals %+v", len(w.site.puts), w.totals())
				}
			})
		})
	}
}

// meddled is a site during whose uploads, in turn, something happens.
type meddled struct {
	site.Backend
	during []func()
}

func (m *meddled) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	if len(m.during) > 0 {
		m.during[0]()
		m.during = m.during[1:]
	}
	return m.Backend.Put(ctx, u)
}

// A source that vanishes while it is read, or shrinks, is waited for, and then costs its tries.
func TestSourceVanishesWhileItIsRead(t *testing.T) {
	for want, meddle := range map[string]func(path string) error{
		"is not there":                    os.Remove,
		"has 2 bytes, 5 were published":   func(path string) error { return os.Truncate(path, 2) },
		"is not a regular file but a fol": func(path string) error { os.Remove(path); return os.Mkdir(path, 0o700) },
	} {
		inBubble(t, func(w *world) {
			w.up.Target = &meddled{Backend: w.site,
				during: []func(){func() { must(t, meddle(filepath.Join(w.roots[""], "a.ma"))) }}}
			must(t, os.WriteFile(filepath.Join(w.roots[""], "other.ma"), nil, 0o600)) // it stays mounted
			w.run(time.Hour)
			if rec := w.store.record(); rec.Created || rec.Tries != 3 || !strings.Contains(rec.Error, want) {
				t.Errorf("the record is %+v, want %q", rec, want)
			}
			if len(w.site.puts) != 1 {
				t.Errorf("uploaded %d times", len(w.site.puts))
			}
		})
	}
}

// A storage that goes away, under an upload too, costs no try however long it is away, and is found within a
// minute of its return.
func TestStorageAway(t *testing.T) {
	for name, take := range map[string]func(root, away string) error{
		"missing":           func(root, away string) error { return os.Rename(root, away) },
		"empty mount point": func(root, away string) error { _ = os.Rename(root, away); return os.Mkdir(root, 0o700) },
		"a file": func(root, away string) error {
			_ = os.Rename(root, away)
			return os.WriteFile(root, nil,
				0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				root := w.roots[""]
				away := root + "-away"
				w.up.Target = &meddled{Backend: w.site, during: []func(){func() { must(t, take(root, away)) }}}
				w.run(10 * time.Hour)
				if w.logged("uploads are held") != 1 || w.totals().Failed != 0 || len(w.up.Held()) != 1 ||
					!strings.HasPrefix(w.up.Held()[0].String(), root+": the storage is not mounted") {
					t.Errorf("held: %v; logged %v", w.up.Held(), w.logs.All())
				}
				if rec := w.store.record(); rec.Created || rec.Tries != 0 || rec.Error != "" {
					t.Errorf("the record is %+v", rec)
				}
				must(t, os.RemoveAll(root))
				must(t, os.Rename(away, root))
				w.run(maxProbeDelay)
				w.wantSynced()
				if w.logged("uploads go on") != 1 || len(w.up.Held()) != 0 {
					t.Errorf("held: %v; logged %v", w.up.Held(), w.logs.All())
				}
			})
		})
	}
}

// The source of an entry without a size is what is there.
func TestSourceOfUnknownSize(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.rep.Files[0].Size = avalon.UnknownSize })
		w.run(time.Second)
		w.wantSynced()
	})
}

// Without a root in the document it is the document's trouble, unless the settings have one.
func TestNoRootInTheDocument(t *testing.T) {
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.rep.Roots = nil })
		for range 3 {
			w.run(time.Second)
			w.up.Queue.Add(key("a"), watcher.Backlog)
		}
		if w.logged("invalid document") != 1 || len(w.up.Held()) != 0 || len(w.site.puts) != 0 ||
			w.store.record().Tries != 0 {
			t.Errorf("held %v, logged %v", w.up.Held(), w.logs.All())
		}
	})
	inBubble(t, func(w *world) {
		w.store.set(func(m *memory) { m.rep.Roots = nil })
		w.up.LocalRoot = config.Roots{"": w.roots[""]}
		w.run(time.Second)
		w.wantSynced()
	})
}
