package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sitesync/site/sitetest"
)

func TestConformance(t *testing.T) {
	sitetest.Run(t, func(t *testing.T) sitetest.Backend {
		root := newStorage(t, "")
		s := New(Options{Roots: []string{root}})
		t.Cleanup(func() { must(t, s.Close()) })
		return sitetest.Backend{
			Site: s,
			Root: root,
			Read: func(t *testing.T, path string) []string {
				content, err := os.ReadFile(path)
				if errors.Is(err, os.ErrNotExist) {
					return nil
				}
				must(t, err)
				return []string{string(content)}
			},
			Forbid: func(t *testing.T) { remount(t, root, unix.MS_RDONLY) },
			Allow:  func(t *testing.T) { remount(t, root, 0) },
		}
	})
}

func TestSourceConformance(t *testing.T) {
	sitetest.RunSource(t, func(t *testing.T) sitetest.Source {
		root := usedRoot(t)
		return sitetest.Source{
			Site: New(Options{}),
			Root: root,
			Write: func(t *testing.T, rel, content string) string {
				must(t, os.MkdirAll(filepath.Dir(root+rel), 0o700))
				must(t, os.WriteFile(root+rel, []byte(content), 0o600))
				return filepath.Base(rel)
			},
			Remove: func(t *testing.T, rel string) { must(t, os.Remove(root+rel)) },
		}
	})
}
