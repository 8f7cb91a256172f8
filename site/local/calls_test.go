package local

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

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
