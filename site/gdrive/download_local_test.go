package gdrive

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"sitesync/integration/drive"
	"sitesync/site"
	"sitesync/site/local"
)

// newStorage is a storage with one root, in which there is something, as in one that is mounted.
func newStorage(t *testing.T) (to *local.Site, root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "mounted"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	to = local.New(local.Options{Roots: []string{root}})
	t.Cleanup(func() { to.Close() })
	return to, root
}

// fetch downloads a file as the engine does.
func fetch(ctx context.Context, d *Site, to *local.Site, root string, l site.Location, size int64) error {
	f, err := d.Open(ctx, l, site.OpenOptions{Size: size, WillRead: true})
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = to.Put(ctx, site.Incoming{Root: root, Path: filepath.Join(root, l.Rel), Content: f, Size: f.Size(),
		ModTime: f.ModTime(), MD5: f.MD5()})
	if readErr := f.ReadError(ctx, err); readErr != nil {
		return readErr
	}
	if changed := f.Changed(ctx); changed != nil {
		return changed
	}
	return err
}

// A download onto a storage has the content of Drive, whatever breaks on the way, and what breaks is not read twice.
func TestDownloadToStorage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size  int
		fault drive.Fault
		class verdict
	}{
		"small":           {1000, drive.Fault{}, fine},
		"empty":           {0, drive.Fault{}, fine},
		"large":           {20 << 20, drive.Fault{}, fine},
		"small, breaks":   {1000, drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 10, Count: 1}, fine},
		"large, breaks":   {20 << 20, drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 1 << 20, Count: 6}, fine},
		"large, ignored":  {40 << 20, drive.Fault{Effect: drive.EffectIgnoreRange}, fine},
		"small, refused":  {1000, status(403, "downloadQuotaExceeded", "", nil).Fault, fileError},
		"large, refused":  {20 << 20, status(403, "cannotDownloadAbusiveFile", "", nil).Fault, fileError},
		"large, too fast": {20 << 20, drive.Fault{Effect: drive.EffectStatus, Status: 429, Count: 3}, fine},
		"large, disabled": {20 << 20, status(403, "accessNotConfigured", "", nil).Fault, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			content := large(test.size)
			id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
			to, root := newStorage(t)
			if test.fault.Effect != "" {
				test.fault.Kind = "files.download"
				s.AddFault(test.fault)
			}
			err := fetch(t.Context(), d, to, root, at("/a", id), int64(test.size))
			if got := verdictOf(err); got != test.class {
				t.Fatalf("came to %s, want %s: %v", got, test.class, err)
			}
			s.ClearFaults()
			if err != nil {
				if err := fetch(t.Context(), d, to, root, at("/a", id), int64(test.size)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(filepath.Join(root, "a"))
			if err != nil || string(got) != content {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			var sent int64
			for _, e := range s.Log() {
				if e.Kind == "files.download" {
					sent += e.Sent
				}
			}
			if test.fault.Effect == drive.EffectTruncate && sent > int64(len(content))+1<<20 {
				t.Errorf("%d bytes were sent of %d", sent, len(content))
			}
		})
	}
}

// What is replaced on Drive while it comes in several parts is not taken.
func TestReplacedOnItsWayToStorage(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	old, other := large(20<<20), large(20<<20 + 1)[1:]
	id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(old))
	to, root := newStorage(t)
	slow := s.AddFault(drive.Fault{Kind: "files.download", Skip: 1, Effect: drive.EffectHang})
	done := make(chan error)
	go func() { done <- fetch(t.Context(), d, to, root, at("/a", id), int64(len(old))) }()
	eventually(t, "the second part is asked for", func() bool { return slow.Hits() > 0 })
	s.Write(id, []byte(other))
	slow.Remove()
	wantClass(t, <-done, site.NotReady, "replaced")
	if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
		t.Error("there is a file")
	}
	if err := fetch(t.Context(), d, to, root, at("/a", id), int64(len(old))); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "a")); err != nil || string(got) != other {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
