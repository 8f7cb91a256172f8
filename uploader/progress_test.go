package uploader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/site"
)

// large makes the file of the world one of 100 MiB whose upload takes so many seconds.
func (w *world) large(seconds int) {
	const size = 100 << 20
	must(w.t, os.Truncate(filepath.Join(w.roots[""], "a.ma"), size))
	w.store.set(func(m *memory) { m.rep.Files[0].Size = size })
	w.up.Target = &tellingSite{w.site, seconds}
	w.up.RecordProgress = true
}

// tellingSite tells of progress each second.
type tellingSite struct {
	site.Backend
	seconds int
}

func (s *tellingSite) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range 2 * s.seconds {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return site.Object{}, ctx.Err()
		}
		if u.OnProgress != nil && i%2 == 0 { // at half past
			u.OnProgress(u.Size * int64(i/2+1) / int64(s.seconds))
		}
	}
	return s.Backend.Put(ctx, u)
}

// notes are what was noted, by the seconds since the start.
func (w *world) notes() map[int]float64 {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	out := map[int]float64{}
	for _, n := range w.store.notes {
		out[int(n.at.Sub(w.start)/time.Second)] = n.done
	}
	return out
}

func TestProgressIsNoted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.large(18)
		w.run(time.Minute)
		w.wantSynced()
		// The outcome takes it away.
		if diff := cmp.Diff(map[int]float64{5: 0.277, 10: 0.555, 15: 0.833}, w.notes()); diff != "" {
			t.Errorf("noted (-want +got):\n%s", diff)
		}
	})
}

// Without an outcome it is taken away, and the next attempt notes it again.
func TestProgressOfAnUploadThatBreaks(t *testing.T) {
	inBubble(t, func(w *world) {
		w.site.put = []error{site.Classed(site.Transient, errors.New("busy"))}
		w.large(6)
		w.run(7 * time.Second)
		if diff := cmp.Diff(map[int]float64{5: 0.833, 6: dropped}, w.notes()); diff != "" {
			t.Errorf("noted (-want +got):\n%s", diff)
		}
		w.run(time.Minute)
		w.wantSynced()
		if n := len(w.notes()); n != 3 {
			t.Errorf("noted %v", w.notes())
		}
	})
}

func TestProgressOfAnUploadThatIsStopped(t *testing.T) {
	inBubble(t, func(w *world) {
		w.large(100)
		w.run(6 * time.Second)
		w.stop()
		if diff := cmp.Diff(map[int]float64{5: 0.05, 10: 0.1, 13: dropped}, w.notes()); diff != "" {
			t.Errorf("noted (-want +got):\n%s", diff)
		}
	})
}

// A database that hangs takes no note, and the upload goes on all the same.
func TestProgressHoldsUpNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.large(12)
		w.up.Recorder = deaf{w.store}
		w.run(13 * time.Second)
		w.wantSynced()
	})
}

// deaf takes no notes.
type deaf struct{ *memory }

func (deaf) SetProgress(ctx context.Context, _ avalon.Key, _ avalon.File, _ float64) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestProgressOfFewFiles(t *testing.T) {
	inBubble(t, func(w *world) {
		w.large(30)
		w.up.RecordProgress = false
		w.run(time.Minute)
		w.wantSynced()
		if n := len(w.notes()); n != 0 {
			t.Errorf("noted %v, which nobody has asked for", w.notes())
		}
	})
	inBubble(t, func(w *world) {
		w.up.Target = &tellingSite{w.site, 30}
		w.up.RecordProgress = true
		w.run(time.Minute)
		w.wantSynced()
		if n := len(w.notes()); n != 0 {
			t.Errorf("noted %v of a small file", w.notes())
		}
	})
}
