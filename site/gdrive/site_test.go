package gdrive

import (
	"io"
	"strings"
	"testing"

	"sitesync/integration/drive"
	"sitesync/site/sitetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	sitetest.Run(t, func(t *testing.T) sitetest.Backend {
		s := newStudio(t)
		return sitetest.Backend{
			Site: s.open(t),
			Root: "/SHOW/pub",
			Read: func(t *testing.T, path string) (contents []string) {
				for _, f := range s.Find(s.show, strings.TrimPrefix(path, "/SHOW/")) {
					r, err := s.Content(f.ID)
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(r)
					if r.Close(); err != nil {
						t.Fatal(err)
					}
					contents = append(contents, string(b))
				}
				return contents
			},
			Forbid: func(*testing.T) { s.show.AddMember(s.account, drive.Reader) },
			Allow:  func(*testing.T) { s.show.AddMember(s.account, drive.ContentManager) },
		}
	})
}
