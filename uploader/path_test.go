package uploader

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/site/local"
)

// source is where a file comes from and where it goes.
type source struct{ root, rel, remote string }

// locate finds out where a file is here and on the site.
func locate(f *avalon.File, documentRoots avalon.Roots, localRoot, remoteRoot config.Roots) (source, error) {
	n := Inspector{Source: local.New(local.Options{}), LocalRoot: localRoot, RemoteRoot: remoteRoot}
	from, at, i, err := n.resolve(context.Background(), f, documentRoots)
	if err != nil {
		return source{}, err
	}
	rel, err := at.Reading(from.at.Rel)
	return source{from.root, rel, i.Remote}, err
}

func TestLocate(t *testing.T) {
	one := config.Roots{"": "/SHOW/projects"}
	named := config.Roots{"work": "/SHOW/work", "render": "/SHOW/render"}
	for name, test := range map[string]struct {
		path   string
		roots  avalon.Roots
		local  config.Roots
		remote config.Roots
		want   source
	}{
		"one root": {
			path: "{root}/Test/a.ma", roots: avalon.Roots{"": "/mnt/p"}, remote: one,
			want: source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"named root": {
			path: "{root[render]}/Test/a.exr", roots: avalon.Roots{"work": "/mnt/w", "render": "/mnt/r"}, remote: named,
			want: source{root: "/mnt/r", rel: "Test/a.exr", remote: "/SHOW/render/Test/a.exr"},
		},
		"local root wins": {
			path: "{root}/Test/a.ma", roots: avalon.Roots{"": `P:\projects`}, local: config.Roots{"": "/mnt/p"},
			remote: one,
			want:   source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"Windows separators": {
			path: `{root}\Test\sub\a.ma`, roots: avalon.Roots{"": "/mnt/p"}, remote: one,
			want: source{root: "/mnt/p", rel: "Test/sub/a.ma", remote: "/SHOW/projects/Test/sub/a.ma"},
		},
		"separators in a row and dots": {
			path: "{root}//Test/./a.ma", roots: avalon.Roots{"": "/mnt/p"}, remote: one,
			want: source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"braces": {
			path: "{root}/Test/{{a}}{b}.ma", roots: avalon.Roots{"": "/mnt/p"}, remote: one,
			want: source{root: "/mnt/p", rel: "Test/{{a}}{b}.ma", remote: "/SHOW/projects/Test/{{a}}{b}.ma"},
		},
		"no root in the path": {
			path: `P:\projects\Test\a.ma`, roots: avalon.Roots{"": "p:/projects"}, local: config.Roots{"": "/mnt/p"},
			remote: one,
			want:   source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"nested roots": {
			path: "/mnt/p/publish/Test/a.ma", roots: avalon.Roots{"a": "/mnt/p", "b": "/mnt/p/publish", "c": "/mnt"},
			remote: config.Roots{"a": "/SHOW/a", "b": "/SHOW/b", "c": "/SHOW/c"},
			want:   source{root: "/mnt/p/publish", rel: "Test/a.ma", remote: "/SHOW/b/Test/a.ma"},
		},
		"equal roots": {
			path: `P:\Projects\Test\a.ma`, roots: avalon.Roots{"d": "P:/projects", "b": "p:/projects/",
				"c": `P:\projects`},
			local:  config.Roots{"b": "/mnt/b", "c": "/mnt/c", "d": "/mnt/d"},
			remote: config.Roots{"b": "/SHOW/b", "c": "/SHOW/c", "d": "/SHOW/d"},
			want:   source{root: "/mnt/b", rel: "Test/a.ma", remote: "/SHOW/b/Test/a.ma"},
		},
		"roots of three levels": {
			path: "{root[a][b][c]}/Test/a.ma", roots: avalon.Roots{"a][b][c": "/mnt/p"},
			remote: config.Roots{config.RootName("a", "b", "c"): "/SHOW/p"},
			want:   source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/p/Test/a.ma"},
		},
		"one root's text begins another's": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"work": "/mnt/pro", "publish": "/mnt/projects"},
			remote: config.Roots{"work": "/SHOW/pro", "publish": "/SHOW/projects"},
			want:   source{root: "/mnt/projects", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"the same, and mounted likewise": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"publish": "P:/projects"},
			local:  config.Roots{"work": "/srv/pro", "publish": "/srv/projects"},
			remote: config.Roots{"work": "/SHOW/pro", "publish": "/SHOW/projects"},
			want:   source{root: "/srv/projects", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"the same, and mounted by other names": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"publish": "P:/projects"},
			local:  config.Roots{"work": "/srv/w", "publish": "/srv/p"},
			remote: config.Roots{"work": "/SHOW/w", "publish": "/SHOW/p"},
			want:   source{root: "/srv/p", rel: "Test/a.ma", remote: "/SHOW/wjects/Test/a.ma"},
		},
		"the same, and all roots are known": {
			path: `{root[work]}jects\Test\a.ma`, roots: avalon.Roots{"work": `P:\pro`, "publish": `P:\projects`},
			local:  config.Roots{"work": "/srv/w", "publish": "/srv/p"},
			remote: config.Roots{"work": "/SHOW/w", "publish": "/SHOW/p"},
			want:   source{root: "/srv/p", rel: "Test/a.ma", remote: "/SHOW/wjects/Test/a.ma"},
		},
		"the same, and a shared drive for each": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"work": "/mnt/pro", "publish": "/mnt/projects"},
			remote: config.Roots{"work": "/W", "publish": "/P"},
			want:   source{root: "/mnt/projects", rel: "Test/a.ma", remote: "/P/Test/a.ma"},
		},
		"a root with a separator at its end": {
			path: "{root}Test/a.ma", roots: avalon.Roots{"": "P:/projects/"}, local: config.Roots{"": "/mnt/p"},
			remote: one,
			want:   source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"dots in a name": {
			path: "{root}/Test/..a..ma", roots: avalon.Roots{"": "/mnt/p"}, remote: one,
			want: source{root: "/mnt/p", rel: "Test/..a..ma", remote: "/SHOW/projects/Test/..a..ma"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := locate(&avalon.File{Path: test.path}, test.roots, test.local, test.remote)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(source{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLocateRefuses(t *testing.T) {
	one := config.Roots{"": "/SHOW/projects"}
	mounted := avalon.Roots{"": "/mnt/p"}
	for name, test := range map[string]struct {
		path   string
		roots  avalon.Roots
		local  config.Roots
		remote config.Roots
		want   string
	}{
		"leaves the root": {path: "{root}/Test/../../etc/passwd", roots: mounted, remote: one,
			want: `leaves its root by ".."`},
		"leaves it by backslashes": {path: `{root}\..\etc\passwd`, roots: mounted, remote: one,
			want: `leaves its root by ".."`},
		"NUL":             {path: "{root}/a\x00b", roots: mounted, remote: one, want: "NUL"},
		"not UTF-8":       {path: "{root}/a\xff.ma", roots: mounted, remote: one, want: "not UTF-8"},
		"the root itself": {path: "{root}/./", roots: mounted, remote: one, want: "is the root itself"},
		"beside all roots": {path: "{root}-old/a.ma", roots: mounted, remote: one,
			want: "makes it /mnt/p-old on this machine, beside all roots; make the folder in which that is a root " +
				"too, in local_root"},
		"up from beside it": {path: "{root}-old/../../etc/passwd", roots: avalon.Roots{"": "/mnt/p", "b": "/mnt/p-old"},
			remote: config.Roots{"b": "/SHOW/b"}, want: "gdrive.json has no plain root"},
		"out of the root beside it": {path: "{root[a]}-old/../../etc/passwd",
			roots:  avalon.Roots{"a": "/mnt/p", "b": "/mnt/p-old"},
			remote: config.Roots{"a": "/SHOW/a", "b": "/SHOW/a-old"},
			want:   `leaves its root by ".."`},
		"one level of two": {path: "{root[disk1]}/a", roots: avalon.Roots{"disk1][work": "/mnt/p"},
			remote: config.Roots{"disk1][work": "/SHOW/p"},
			want:   `no root "disk1", as in {root[disk1]}, which the path begins with; set local_root`},
		"a root that only the path names": {path: "{root[work][a]}/a", roots: avalon.Roots{"publish": "/mnt/p"},
			remote: one,
			want: `context.root of the representation has no root "work.a", as in {root[work][a]}, which the path ` +
				`begins with; set local_root ` +
				`in config.json to where all roots are mounted here, that of {root[work][a]} too`},
		"half a field": {path: "{root[a][]}/a.ma", roots: mounted, remote: one,
			want: "neither {root} nor {root[NAME]}"},
		"a network path": {path: "{root}/a", roots: avalon.Roots{"": "//server/share"}, remote: one,
			want: "set local_root"},
		"another network path": {path: "{root}/a", roots: avalon.Roots{"": `\\server\share`}, remote: one,
			want: "set local_root"},
		"open brace": {path: "{root/Test/a.ma", roots: mounted, remote: one, want: "not closed"},
		"odd field": {path: "{root.work}/a.ma", roots: mounted, remote: one,
			want: "neither {root} nor {root[NAME]}"},
		"empty name": {path: "{root[]}/a.ma", roots: mounted, remote: one,
			want: "neither {root} nor {root[NAME]}"},
		"another root": {path: "/etc/passwd", roots: mounted, remote: one,
			want: "does not begin with {root}"},
		"a root's prefix": {path: "/mnt/px/a", roots: mounted, remote: one, want: "does not begin with {root}"},
		"nothing":         {path: "", roots: mounted, remote: one, want: "does not begin with {root}"},
		"root of another system": {path: "{root}/a", roots: avalon.Roots{"": `P:\projects`}, remote: one,
			want: "set local_root"},
		"no root in the document": {path: "{root}/a", remote: one, want: "set local_root"},
		"no such local_root": {path: "{root[render]}/a", roots: avalon.Roots{"render": "/mnt/r"},
			local: config.Roots{"work": "/mnt/w"}, remote: one,
			want: `local_root in config.json has no root "render"`},
		"no such remote root": {path: "{root[render]}/a", roots: avalon.Roots{"render": "/mnt/r"},
			remote: config.Roots{"work": "/SHOW"}, want: `gdrive.json has no root "render"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := locate(&avalon.File{Path: test.path}, test.roots, test.local, test.remote)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v, %v, want an error with %s", got, err, test.want)
			}
			// What the settings do not know is not the file's trouble.
			class := site.FileError
			if strings.Contains(test.want, "local_root") || strings.Contains(test.want, "gdrive.json") {
				class = site.Unavailable
			}
			if site.ClassOf(err) != class {
				t.Errorf("the class is %s", site.ClassOf(err))
			}
		})
	}
}

// A publisher on Linux may have a backslash in a name.
func TestBackslashInAName(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, `a\b.ma`), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := locate(&avalon.File{Path: `{root}/a\b.ma`}, avalon.Roots{"": root}, config.Roots{},
		config.Roots{"": "/SHOW"})
	if err != nil || got.rel != `a\b.ma` {
		t.Errorf("%v, %v", got, err)
	}
}

// A name is on the storage as the document has it or, as the path is a format string, formatted.
func TestBracesInAName(t *testing.T) {
	for on, want := range map[string]string{
		`a {{c}}.tx`: `a {{c}}.tx`, `a {c}.tx`: `a {c}.tx`, "": `a {{c}}.tx`, "both": `a {{c}}.tx`,
	} {
		root := t.TempDir()
		for _, name := range []string{`a {{c}}.tx`, `a {c}.tx`} {
			if on == name || on == "both" {
				must(t, os.WriteFile(filepath.Join(root, name), nil, 0o600))
			}
		}
		got, err := locate(&avalon.File{Path: `{root}/a {{c}}.tx`}, avalon.Roots{"": root}, config.Roots{},
			config.Roots{"": "/SHOW"})
		if err != nil || got.rel != want || got.remote != "/SHOW/"+want {
			t.Errorf("with %q there: %v, %v", on, got, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzLocate(f *testing.F) {
	for _, p := range []string{"{root}/a", `{root[work]}\a\b`, "{root}/../a", "/mnt/p/a", "{{root}}/a",
		"{root}/{{a}}"} {
		f.Add(p)
	}
	roots := avalon.Roots{"": "/mnt/p", "work": "/mnt/w"}
	f.Fuzz(func(t *testing.T, p string) {
		s, err := locate(&avalon.File{Path: p}, roots, config.Roots{},
			config.Roots{"work": "/SHOW/w"})
		if err != nil {
			return
		}
		if !filepath.IsLocal(s.rel) || !strings.HasPrefix(s.remote, "/SHOW/w/") ||
			filepath.Join(s.root, s.rel) == s.root {
			t.Errorf("%q leads out of its root: %+v", p, s)
		}
	})
}
