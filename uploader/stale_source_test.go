package uploader

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sitesync/avalon"
)

func TestOlder(t *testing.T) {
	published := time.Date(2026, 6, 18, 8, 29, 23, 240_000_000, time.UTC)
	for _, test := range []struct {
		name     string
		modified time.Time
		want     bool
	}{
		{"the same", published, false},
		{"rounded up in the hash", published.Add(-5 * time.Millisecond), false},
		{"whole seconds", published.Truncate(time.Second), false},
		{"two seconds", published.Truncate(2 * time.Second), false},
		{"newer, as it was copied over", published.Add(time.Second), false},
		{"older by some milliseconds", published.Add(-20 * time.Millisecond), true},
		{"older", published.Add(-time.Hour), true},
		{"older, whole seconds", published.Truncate(time.Second).Add(-2 * time.Second), true},
	} {
		if got := older(test.modified, &avalon.File{Modified: published}); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
	if older(published, &avalon.File{}) {
		t.Error("a file is older than nobody knows what")
	}
}

// publishedNow sets when the file at the path was modified, by the bubble's clock, and that another one was published
// now.
func (w *world) publishedNow(modified time.Time) (path string) {
	path = filepath.Join(w.roots[""], "a.ma")
	must(w.t, os.Chtimes(path, modified, modified))
	w.store.set(func(m *memory) { m.rep.Files[0].Modified = time.Now() })
	return path
}

// uploads is how many there were so far.
func (s *scripted) uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.puts)
}

// What is there before a file is copied over is not what was published, also if it is of the same size.
func TestOldSourceIsNotUploaded(t *testing.T) {
	inBubble(t, func(w *world) {
		path := w.publishedNow(time.Now().Add(-time.Hour))
		w.run(10 * time.Second)
		if w.site.uploads() != 0 {
			t.Error("what was there before is uploaded")
		}
		must(t, os.Chtimes(path, time.Now(), time.Now()))
		w.run(2 * time.Second)
		w.wantSynced()
		if w.site.uploads() != 1 || w.totals().Failed != 0 || w.logged("uploaded as it is") != 0 {
			t.Errorf("%d uploads, %+v, logged %v", w.site.uploads(), w.totals(), w.logs.All())
		}
	})
}

// A storage that doesn't keep times only costs the time to settle.
func TestOldSourceIsUploadedInTheEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		w.publishedNow(time.Now().Add(-time.Hour))
		w.run(staleGracePeriod - time.Millisecond)
		if w.site.uploads() != 0 {
			t.Error("it is not waited for")
		}
		w.run(2 * time.Second)
		w.wantSynced()
		if w.site.uploads() != 1 || w.totals().Failed != 0 || w.logged("uploaded as it is") != 1 {
			t.Errorf("%d uploads, %+v, logged %v", w.site.uploads(), w.totals(), w.logs.All())
		}
	})
}

// A new file that is there under its temporary name is waited for as long as a missing one.
func TestOldSourceBesideATemporaryFile(t *testing.T) {
	inBubble(t, func(w *world) {
		path := w.publishedNow(time.Now().Add(-time.Hour))
		must(w.t, os.WriteFile(path+".tmp", nil, 0o644))
		w.run(w.up.SourceGracePeriod - time.Second)
		if w.site.uploads() != 0 {
			t.Error("it is not waited for")
		}
		w.run(3 * time.Second)
		w.wantSynced()
	})
}
