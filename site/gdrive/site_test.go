package gdrive

import (
	"io"
	"path"
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

func TestSourceConformance(t *testing.T) {
	t.Parallel()
	sitetest.RunSource(t, func(t *testing.T) sitetest.Source {
		s := newStudio(t)
		s.AddFolder(s.Mkdir(s.show, "pub"), "other")
		find := func(rel string) string {
			for _, f := range s.Find(s.show, "pub"+rel) {
				return f.ID
			}
			return ""
		}
		return sitetest.Source{
			Site: s.open(t),
			Root: "/SHOW/pub",
			Write: func(_ *testing.T, rel, content string) string {
				if id := find(rel); id != "" {
					s.Server.Write(id, []byte(content))
					return id
				}
				return s.AddFile(s.Mkdir(s.show, "pub"+path.Dir(rel)), path.Base(rel), []byte(content))
			},
			Remove: func(_ *testing.T, rel string) { s.Delete(find(rel)) },
		}
	})
}
