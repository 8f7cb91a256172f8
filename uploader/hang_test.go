package uploader

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/watcher"
)

// How long calls may take, and a file rests one of whose calls hangs, as in site/local.
const (
	hungCall = 15 * time.Second
	restHung = 10 * time.Second
)

// hanging has calls hang for what begins with a path, until it is closed.
func (w *world) hanging(path string) (answer func()) {
	gate := make(chan struct{})
	w.beforeCalls(func(root, p string) {
		if strings.HasPrefix(root+"|"+p, path) {
			<-gate
		}
	})
	return sync.OnceFunc(func() { close(gate) })
}

// A storage that neither answers nor fails is held by itself, takes no try, and keeps nothing else.
func TestStorageHangs(t *testing.T) {
	inBubble(t, func(w *world) {
		w.twoRoots()
		w.store.set(func(m *memory) {
			a, b := m.rep.Files[0], m.rep.Files[1]
			m.rep.Files = nil
			for i := range 40 { // of the one that hangs, more than there are transfers
				a.ID = avalon.ParseID(strings.Repeat("a", i+1))
				m.rep.Files = append(m.rep.Files, a)
			}
			m.rep.Files = append(m.rep.Files, b)
		})
		answer := w.hanging(w.roots[""] + "|")
		defer answer()
		w.run(3 * time.Second)
		if !w.created(40) {
			t.Error("the other root waits")
		}
		w.run(hungCall)
		held := w.up.Held()
		if len(held) != 1 || held[0].Target != (Target{LocalRoot, w.roots[""]}) || !held[0].Hangs ||
			!strings.Contains(held[0].Why, "does not answer") ||
			w.logged("uploads are held") != 1 || w.totals().Failed != 0 {
			t.Errorf("held %v, logged %v, %+v", held, w.logs.All(), w.totals())
		}
		w.run(time.Hour)
		// What was tried at first, and the probe.
		if n := w.up.Stats().StalledCalls; n < 2 || n > int64(w.up.Transfers)+2 {
			t.Errorf("%d calls hang", n)
		}
		w.store.set(func(m *memory) { m.rep.Files[40].Sites[1] = avalon.SiteRecord{Name: "gdrive"} })
		w.up.Queue.Add(key("a"), watcher.Live)
		w.run(time.Second)
		if !w.created(40) {
			t.Error("the other root waits")
		}
		answer()
		w.run(2 * restHung) // some may be looked at before their calls have returned
		if len(w.up.Held()) != 0 || w.totals().Failed != 0 || !w.created(0) || w.up.Stats().StalledCalls != 0 {
			t.Errorf("once it answers: held %v, %+v", w.up.Held(), w.up.Stats())
		}
	})
}

// readsAll is a site that reads what it gets.
type readsAll struct{ site.Backend }

func (r readsAll) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	if _, err := io.Copy(io.Discard, io.NewSectionReader(u.Content, 0, u.Size)); err != nil {
		return site.Object{}, site.Classed(site.FileError, err)
	}
	return r.Backend.Put(ctx, u)
}

// A read that hangs in the middle of an upload is given up too.
func TestReadHangs(t *testing.T) {
	inBubble(t, func(w *world) {
		w.up.Target = readsAll{w.site}
		gate := make(chan struct{})
		var calls atomic.Int64
		w.beforeCalls(func(string, string) {
			if calls.Add(1) > 1 { // the first opens it
				<-gate
			}
		})
		w.run(time.Minute)
		if held := w.up.Held(); len(held) != 1 || held[0].Kind != LocalRoot || w.totals().Failed != 0 {
			t.Errorf("held %v, %+v", held, w.totals())
		}
		close(gate)
		w.run(time.Minute)
		w.wantSynced()
	})
}

// One file that hangs while others of its storage are read is that file's trouble.
func TestOneFileHangs(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, name := range []string{"0", "1", "2"} {
			must(t, os.WriteFile(filepath.Join(w.roots[""], name), []byte("12345"), 0o600))
		}
		w.store.set(func(m *memory) {
			f := m.rep.Files[0]
			for _, name := range []string{"0", "1", "2"} {
				f.Path = "{root}/" + name
				m.rep.Files = append(m.rep.Files, f)
			}
		})
		w.up.Transfers = 8
		w.up.scheduler.transfers, w.up.Budget.limit = 8, 8
		w.up.Target = readsAll{slowSite{w.site}}
		answer := w.hanging(w.roots[""] + "|" + w.roots[""] + "/a.ma")
		defer answer()
		w.run(hungCall + 500*time.Millisecond)
		if held := w.up.Held(); len(held) != 1 || w.store.record().Tries != 0 {
			t.Errorf("held %v, %+v", held, w.store.record()) // nothing else was read meanwhile
		}
		// The storage itself answers the probe.
		w.store.set(func(m *memory) { m.rep.Files[1].Sites[1] = avalon.SiteRecord{Name: "gdrive"} })
		w.run(2 * time.Second)
		w.up.Queue.Add(key("a"), watcher.Live)
		w.run(2 * time.Minute)
		if rec := w.store.record(); rec.Tries == 0 ||
			!strings.Contains(rec.Error, "other files of it are read or written meanwhile") {
			t.Errorf("the record is %+v", rec)
		}
		if n := w.up.Stats().StalledCalls; n != 1 || len(w.up.Held()) != 0 {
			t.Errorf("%d calls hang, held %v", n, w.up.Held())
		}
	})
}

// A storage that hangs keeps nobody from stopping.
func TestStopWhileTheStorageHangs(t *testing.T) {
	inBubble(t, func(w *world) {
		answer := w.hanging("")
		w.run(time.Second)
		before := time.Now()
		w.stop()
		if took := time.Since(before); took > w.up.DrainTimeout {
			t.Errorf("stopping took %s", took)
		}
		answer()
		synctest.Wait()
	})
}
