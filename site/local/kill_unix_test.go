//go:build unix

package local

import (
	"os"
	"path/filepath"
	"testing"
)

// Killed at whatever call of the file system, a process leaves the old file, none or the new one as a whole, and the
// next one leaves nothing else.
func TestPutIsKilledAtAnyStep(t *testing.T) {
	for name, test := range map[string]struct {
		old  string // content that is there before; empty for none
		size int
	}{"new": {"", 5000}, "replaced": {"old content", 5000}} {
		t.Run(name, func(t *testing.T) {
			want := largeContent(test.size)
			for step, killed := int64(1), true; killed; step++ {
				root := usedRoot(t)
				file := filepath.Join(root, "show", "v001", "a.exr")
				if test.old != "" {
					must(t, os.MkdirAll(filepath.Dir(file), 0o755))
					must(t, os.WriteFile(file, []byte(test.old), 0o600))
				}
				o := putOrder{Root: root, Rel: "show/v001/a.exr", Size: test.size, KillAt: step}
				killed = o.killed(t)
				got, err := os.ReadFile(file)
				if test.old == "" && os.IsNotExist(err) {
					err = nil
				}
				if err != nil || string(got) != test.old && string(got) != want || !killed && string(got) != want {
					t.Fatalf("killed at step %d: %d bytes, %v", step, len(got), err)
				}
				o.KillAt = 0
				if o.killed(t) {
					t.Fatal("killed without an order")
				}
				wantOnly(t, root, map[string]string{"show/v001/a.exr": want})
				if !killed && step < 5 {
					t.Errorf("it takes %d steps", step)
				}
			}
		})
	}
}

// Killed while it reads a large file, a process leaves what the next one continues.
func TestPutOfALargeFileIsKilled(t *testing.T) {
	const size = 90 << 20
	want := largeContent(size)
	root := usedRoot(t)
	var left int64
	for _, at := range []int64{1, 30 << 20, 50 << 20, 70 << 20, size - 1<<20} {
		if o := (putOrder{Root: root, Rel: "show/a.exr", Size: size, Ranges: true, KillRead: at}); !o.killed(t) {
			t.Fatalf("not killed at %d", at)
		}
		if exists(filepath.Join(root, "show", "a.exr")) {
			t.Fatal("a part of it is there")
		}
		names := partialsIn(t, filepath.Join(root, "show"))
		if len(names) != 1 {
			t.Fatalf("%q are left", names)
		}
		info, err := os.Stat(filepath.Join(root, "show", names[0]))
		must(t, err)
		if now := complete(size, info.Size()); now < left || at > 64<<20 && now == 0 {
			t.Errorf("killed at %d: %d bytes are complete, there were %d", at, now, left)
		} else {
			left = now
		}
	}
	in, r := large(root, want)
	if _, err := newTarget(t, Options{}).Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if read := r.read.Load(); read != size-left {
		t.Errorf("%d bytes were read, %d were complete", read, left)
	}
	wantOnly(t, root, map[string]string{"show/a.exr": want})
}
