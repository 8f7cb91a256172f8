package local

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/site"
)

// What a call that was given up writes in the end reaches nobody.
func TestGivenUpReadKeepsItsBuffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, os.WriteFile(path, []byte("12345"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		file, err := os.Open(path)
		must(t, err)
		c := newFileCalls()
		gate := make(chan struct{})
		c.before = func(string, string) { <-gate }
		g := &File{ctx: t.Context(), calls: c, location: location{root: "/", rel: "a"}, key: "a", file: file}
		p := []byte(".....")
		if _, err := g.ReadAt(p, 0); site.ClassOf(err) != site.Unavailable {
			t.Errorf("read with %v", err)
		}
		close(gate)
		synctest.Wait()
		if string(p) != "....." {
			t.Errorf("it was written over: %q", p)
		}
		if n, err := g.ReadAt(p, 0); n != 5 || err != nil || string(p) != "12345" {
			t.Errorf("then %d, %v, %q", n, err, p)
		}
		if n, err := g.ReadAt(p, 3); n != 2 || !errors.Is(err, io.EOF) {
			t.Errorf("at the end %d, %v", n, err)
		}
		g.Close()
	})
}

// Of many files whose paths can be read in several ways, one is waited for while their storage hangs, and that is no
// reason to hold one of them by itself.
func TestResolveManyOnAStorageThatHangs(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "b.ma"), []byte("12345"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := New(Options{Before: func(string, string) { <-gate }})
		start := time.Now()
		for _, rel := range []string{`\a.ma`, `\b.ma`, `\c.ma`} {
			if _, err := s.Resolve(t.Context(),
				site.Location{Root: root, Rel: rel}); site.ClassOf(err) != site.Unavailable {
				t.Errorf("%s: %v", rel, err)
			}
		}
		if waited := time.Since(start); waited != hungCall || s.Stalled() != 1 {
			t.Errorf("waited for %s, %d calls hang", waited, s.Stalled())
		}
		_, err := s.Open(t.Context(), site.Location{Root: root, Rel: `\b.ma`}, site.OpenOptions{Size: 5})
		if scope, _ := site.ScopeOf(err); site.ClassOf(err) != site.Unavailable || scope == site.OneFile {
			t.Errorf("opened with %v of scope %v", err, scope)
		}
		close(gate)
		synctest.Wait()
	})
}

// A storage that hangs while a newer file is looked for is out of order.
func TestNewerAnnouncedOnAStorageThatHangs(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), []byte("12345"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		gate, calls := make(chan struct{}), 0
		s := New(Options{Before: func(string, string) {
			if calls++; calls > 1 { // the first opens it
				<-gate
			}
		}})
		f, err := s.Open(t.Context(), site.Location{Root: root, Rel: "/a.ma"}, site.OpenOptions{Size: 5})
		must(t, err)
		_, err = f.(site.Announcer).NewerAnnounced(t.Context())
		if scope, _ := site.ScopeOf(err); site.ClassOf(err) != site.Unavailable || scope == site.OneFile {
			t.Errorf("%v of scope %v", err, scope)
		}
		close(gate)
		synctest.Wait()
		f.Close()
	})
}
