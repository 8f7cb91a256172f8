package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A file that has its name is not touched any more, though its folder could not be synced.
func TestFolderIsNotSynced(t *testing.T) {
	root := usedRoot(t)
	s := newTarget(t, Options{})
	in, r := large(root, largeContent(40<<20))
	s.syncFolder = func(*os.Root) error {
		if exists(in.Path) {
			return storageFails
		}
		return nil
	}
	if _, err := s.Put(t.Context(), in); !errors.Is(err, storageFails) {
		t.Fatal(err)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": r.content})
}

// What the disk has refused to take is not continued: it may be in the memory of the system only.
func TestFileIsNotSynced(t *testing.T) {
	root := usedRoot(t)
	s := newTarget(t, Options{})
	content := largeContent(70 << 20)
	for n := range int32(2) { // in the middle, and at the end
		var syncs atomic.Int32
		s.syncFile = func(*os.File) error {
			if syncs.Add(1) == n+1 {
				return storageFails
			}
			return nil
		}
		in, _ := large(root, content)
		if _, err := s.Put(t.Context(), in); !errors.Is(err, storageFails) {
			t.Fatal(err)
		}
		wantOnly(t, root, nil)
	}
}

// Ended at any call before it reads on, a Put keeps what is there to be continued.
func TestPutEndsBeforeItContinues(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(80 << 20)
	in, _ := large(root, content)
	at := filepath.Join(root, "show", partialName("a.exr", in))
	must(t, os.Mkdir(filepath.Dir(at), 0o755))
	must(t, os.WriteFile(at, []byte(content[:70<<20]), 0o600))
	for step := int64(1); step <= 8; step++ {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		in, r := large(root, content)
		r.onRead = func(int64) error { return context.Canceled }
		_, err := newTarget(t, Options{Before: func(_, path string) {
			if path == in.Path && n.Add(1) == step {
				cancel()
			}
		}}).Put(ctx, in)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("step %d: %v", step, err)
		}
		info, err := os.Stat(at)
		if err != nil || complete(in.Size, info.Size()) == 0 {
			t.Fatalf("step %d: nothing is left (%v)", step, err)
		}
		cancel()
	}
}

// However long ago a Put should have ended, its partial file is closed, and with that its lock ends.
func TestPutEndsLate(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(1 << 20)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in, r := large(root, content)
		r.onRead = func(int64) error {
			cancel()
			time.Sleep(3 * slowCall)
			return ctx.Err()
		}
		s := New(Options{})
		if _, err := s.Put(ctx, in); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, name := range partialsIn(t, filepath.Join(root, "show")) {
			f, err := os.OpenFile(filepath.Join(root, "show", name), os.O_RDWR, 0)
			must(t, err)
			if held, err := lock(f); held || err != nil {
				t.Errorf("%s is locked, %v", name, err)
			}
			must(t, f.Close())
		}
		must(t, s.Close())
	})
}

// Where there are no locks, what another process is writing is left to it.
func TestOthersPartialFileWithoutLocks(t *testing.T) {
	root := usedRoot(t)
	s := newTarget(t, Options{})
	s.lock = func(*os.File) (bool, error) { return false, errors.ErrUnsupported }
	other, _ := large(root, largeContent(20<<20-1))
	in, r := large(root, largeContent(20<<20))
	name := "show/" + randomName(partialName("a.exr", other))
	writeBelow(t, root, name)
	old := "show/" + randomName(partialName("a.exr", other))
	writeBelow(t, root, old)
	past := time.Now().Add(-abandonedAfter - time.Minute)
	must(t, os.Chtimes(filepath.Join(root, old), past, past))
	_, err := s.Put(t.Context(), in)
	must(t, err)
	if there, err := os.ReadFile(filepath.Join(root, name)); err != nil {
		t.Errorf("%q, %v", there, err)
	}
	if exists(filepath.Join(root, old)) {
		t.Error("what is abandoned is left")
	}
	if got, err := os.ReadFile(in.Path); err != nil || string(got) != r.content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What has another name too, by a hard link, is not written to.
func TestPartialFileWithAnotherName(t *testing.T) {
	root := usedRoot(t)
	content := largeContent(20 << 20)
	for _, size := range []int{7, 20 << 20} {
		in, _ := large(root, content[:size])
		writeBelow(t, root, "show/victim")
		victim := filepath.Join(root, "show", "victim")
		before, err := os.ReadFile(victim)
		must(t, err)
		must(t, os.Link(victim, filepath.Join(root, "show", partialName("a.exr", in))))
		_, err = newTarget(t, Options{}).Put(t.Context(), in)
		must(t, err)
		wantOnly(t, root, map[string]string{"show/a.exr": content[:size], "show/victim": string(before)})
		must(t, os.Remove(in.Path))
	}
}

// However many names a folder has, no call of the file system reads all of them.
func TestSweepOfALargeFolder(t *testing.T) {
	root := usedRoot(t)
	in, _ := large(root, largeContent(20<<20))
	old := "show/" + partialName("b.exr", in)
	writeBelow(t, root, old)
	past := time.Now().Add(-abandonedAfter - time.Minute)
	must(t, os.Chtimes(filepath.Join(root, old), past, past))
	const parts = 3
	for i := range parts * namesAtOnce {
		must(t, os.WriteFile(filepath.Join(root, "show", fmt.Sprint(i)), nil, 0o600))
	}
	var calls atomic.Int64
	s := newTarget(t, Options{Before: func(string, string) { calls.Add(1) }})
	s.sweep(t.Context(), folderKey{root, "show"})
	if exists(filepath.Join(root, old)) {
		t.Error("it is left")
	}
	if n := calls.Load(); n < parts {
		t.Errorf("it took %d calls", n)
	}
}

// Ended at any time, the reading of a folder is not disturbed by its end.
func TestSweepEnds(t *testing.T) {
	root := usedRoot(t)
	for i := range 3 * namesAtOnce {
		must(t, os.WriteFile(filepath.Join(root, "other", fmt.Sprint(i)), nil, 0o600))
	}
	for n := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		s := newTarget(t, Options{})
		go func() {
			defer close(ended)
			for range n * 10 {
				runtime.Gosched()
			}
			cancel()
		}()
		s.sweep(ctx, folderKey{root, "other"})
		<-ended
	}
}
