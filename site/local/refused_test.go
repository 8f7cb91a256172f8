package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitesync/site"
)

// Ended in the middle of it, a small file leaves nothing, and a large one what the next Put continues.
func TestPutIsEnded(t *testing.T) {
	root := usedRoot(t)
	for _, size := range []int{1 << 20, 50 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		in, r := large(root, largeContent(size))
		r.onRead = func(at int64) error {
			if at >= int64(size)*3/4 {
				cancel()
			}
			return ctx.Err()
		}
		if _, err := newTarget(t, Options{}).Put(ctx, in); !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: %v", size, err)
		}
		names := partialsIn(t, filepath.Join(root, "show"))
		if want := size / (50 << 20); len(names) != want || exists(in.Path) {
			t.Errorf("%d bytes: %q are left, want %d", size, names, want)
		}
	}
}

// A storage without locks has partial files too; none is left or continued.
func TestStorageWithoutLocks(t *testing.T) {
	root := usedRoot(t)
	s := newTarget(t, Options{})
	s.lock = func(*os.File) (bool, error) { return false, errors.ErrUnsupported }
	broken := errors.New("broken")
	for _, size := range []int{5000, 20 << 20} {
		in, r := large(root, largeContent(size))
		r.onRead = func(int64) error { return broken }
		if _, err := s.Put(t.Context(), in); !errors.Is(err, broken) {
			t.Error(err)
		}
		if names := partialsIn(t, filepath.Join(root, "show")); len(names) > 0 {
			t.Errorf("%q are left", names)
		}
		in, r = large(root, largeContent(size))
		if _, err := s.Put(t.Context(), in); err != nil {
			t.Error(err)
		}
		wantOnly(t, root, map[string]string{"show/a.exr": r.content})
	}
}

// One file whose storage fails is taken for that file's own failure once others are written meanwhile.
func TestStorageFailsForOneFile(t *testing.T) {
	root := usedRoot(t)
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		fails := func() error {
			w := &writing{Site: s, Incoming: incoming(root, "show/ill.exr", "content"),
				location: location{root: root, rel: "show/ill.exr"}}
			return w.classify(storageFails)
		}
		for range 3 {
			err := fails()
			if scope, _ := site.ScopeOf(err); site.ClassOf(err) != site.Unavailable || scope != site.OneRoot {
				t.Errorf("alone: %v", err)
			}
			time.Sleep(time.Second)
		}
		if _, err := s.Put(t.Context(), incoming(root, "show/a.exr", "content")); err != nil {
			t.Error(err)
		}
		if err := fails(); site.ClassOf(err) != site.FileError || !strings.Contains(err.Error(), "ill.exr") {
			t.Errorf("while others are written: %v", err)
		}
		must(t, s.Close())
	})
}

// What the file system answers, and whose fault it is.
func TestClassify(t *testing.T) {
	root := usedRoot(t)
	w := &writing{Site: New(Options{}), Incoming: incoming(root, "show/a.exr", "content"),
		location: location{root: root, rel: "show/a.exr"}}
	for text, test := range map[string]struct {
		err   error
		class site.Class
	}{
		"was moved or removed": {os.ErrNotExist, site.Transient},
		"may not write to the": {os.ErrPermission, site.Unavailable},
		"EOF":                  {io.EOF, site.FileError},
		"as it was":            {site.Classed(site.NotReady, errors.New("as it was")), site.NotReady},
	} {
		err := w.classify(&os.PathError{Op: "write", Path: "a", Err: test.err})
		if site.ClassOf(err) != test.class || !strings.Contains(err.Error(), text) || !errors.Is(err, test.err) {
			t.Errorf("%q: %v of class %s", text, err, site.ClassOf(err))
		}
	}
	if err := w.classify(context.Canceled); err != context.Canceled {
		t.Error(err)
	}
	if scope, folder := site.ScopeOf(w.classify(os.ErrPermission)); scope != site.Creations ||
		folder != filepath.Join(root, "show") {
		t.Errorf("scope %d, folder %s", scope, folder)
	}
}

// Of a large file any write may hang: Put ends, and so does another process that writes the file anew.
func TestWriteOfALargeFileHangs(t *testing.T) {
	content := largeContent(20 << 20)
	for _, step := range []int64{3, 4, 20, 60} {
		root := usedRoot(t)
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			var n atomic.Int64
			s := New(Options{Before: func(_, path string) {
				if strings.HasSuffix(path, "a.exr") && n.Add(1) == step {
					<-gate
				}
			}})
			in, _ := large(root, content)
			began := time.Now()
			if _, err := s.Put(t.Context(), in); !site.IsStall(err) {
				t.Errorf("step %d: %v", step, err)
			}
			if took := time.Since(began); took > syncPatience*hungCall {
				t.Errorf("step %d: it took %v", step, took)
			}
			in, _ = large(root, content)
			other := New(Options{})
			if _, err := other.Put(t.Context(), in); err != nil {
				t.Errorf("step %d, another process: %v", step, err)
			}
			close(gate)
			synctest.Wait()
			if got, err := os.ReadFile(in.Path); err != nil || string(got) != content {
				t.Errorf("step %d: %d bytes, %v", step, len(got), err)
			}
			must(t, s.Close())
			must(t, other.Close())
		})
	}
}

// A folder in which a partial file was left is swept a day later, when anything is written anywhere.
func TestSweepOfAFolderThatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var swept []folderKey
		s := sweeper{sweep: func(_ context.Context, at folderKey) { swept = append(swept, at) }}
		left, other := folderKey{"/r", "left"}, folderKey{"/r", "other"}
		s.left(left)
		for _, hours := range []time.Duration{1, 20, 5} {
			time.Sleep(hours * time.Hour)
			s.visited(other)
			s.visited(other)
			synctest.Wait()
		}
		want := []folderKey{other, other, left, other}
		if len(swept) != len(want) {
			t.Fatalf("swept were %v, want %v", swept, want)
		}
		for i, at := range want {
			if swept[i] != at {
				t.Errorf("swept were %v, want %v", swept, want)
			}
		}
		s.stop()
	})
}

// However many calls for one file take long, it is one transfer that does not count as busy.
func TestSlowCallsOfOneFile(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(20 << 20)
	synctest.Test(t, func(t *testing.T) {
		var delayed atomic.Int64
		s := New(Options{Before: func(_, path string) {
			if strings.HasSuffix(path, "a.exr") && delayed.Add(1) > 4 && delayed.Load() < 40 {
				time.Sleep(3 * slowCall)
			}
		}})
		var now, most atomic.Int64
		s.OnStall(func(_ string, n int) {
			if sum := now.Add(int64(n)); sum > most.Load() {
				most.Store(sum)
			}
		}, func(string) {})
		in, _ := large(root, content)
		_, err := s.Put(t.Context(), in)
		must(t, err)
		must(t, s.Close())
		if now.Load() != 0 || most.Load() != 1 {
			t.Errorf("%d transfers were slow at once, %d are in the end", most.Load(), now.Load())
		}
	})
}
