package uploader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

func TestLocate(t *testing.T) {
	one := config.OneRoot("/SHOW/projects")
	named := config.NamedRoots(map[string]string{"work": "/SHOW/work", "render": "/SHOW/render"})
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
			path: "{root}/Test/a.ma", roots: avalon.Roots{"": `P:\projects`}, local: config.OneRoot("/mnt/p"), remote: one,
			want: source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
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
			path: `P:\projects\Test\a.ma`, roots: avalon.Roots{"": "p:/projects"}, local: config.OneRoot("/mnt/p"), remote: one,
			want: source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"nested roots": {
			path: "/mnt/p/publish/Test/a.ma", roots: avalon.Roots{"a": "/mnt/p", "b": "/mnt/p/publish", "c": "/mnt"},
			remote: config.NamedRoots(map[string]string{"a": "/SHOW/a", "b": "/SHOW/b", "c": "/SHOW/c"}),
			want:   source{root: "/mnt/p/publish", rel: "Test/a.ma", remote: "/SHOW/b/Test/a.ma"},
		},
		"equal roots": {
			path: `P:\Projects\Test\a.ma`, roots: avalon.Roots{"d": "P:/projects", "b": "p:/projects/", "c": `P:\projects`},
			local:  config.NamedRoots(map[string]string{"b": "/mnt/b", "c": "/mnt/c", "d": "/mnt/d"}),
			remote: config.NamedRoots(map[string]string{"b": "/SHOW/b", "c": "/SHOW/c", "d": "/SHOW/d"}),
			want:   source{root: "/mnt/b", rel: "Test/a.ma", remote: "/SHOW/b/Test/a.ma"},
		},
		"roots of three levels": {
			path: "{root[a][b][c]}/Test/a.ma", roots: avalon.Roots{"a][b][c": "/mnt/p"},
			remote: config.NamedRoots(map[string]string{config.RootName("a", "b", "c"): "/SHOW/p"}),
			want:   source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/p/Test/a.ma"},
		},
		"one root's text begins another's": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"work": "/mnt/pro", "publish": "/mnt/projects"},
			remote: config.NamedRoots(map[string]string{"work": "/SHOW/pro", "publish": "/SHOW/projects"}),
			want:   source{root: "/mnt/projects", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"the same, and mounted likewise": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"publish": "P:/projects"},
			local:  config.NamedRoots(map[string]string{"work": "/srv/pro", "publish": "/srv/projects"}),
			remote: config.NamedRoots(map[string]string{"work": "/SHOW/pro", "publish": "/SHOW/projects"}),
			want:   source{root: "/srv/projects", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
		},
		"the same, and mounted by other names": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"publish": "P:/projects"},
			local:  config.NamedRoots(map[string]string{"work": "/srv/w", "publish": "/srv/p"}),
			remote: config.NamedRoots(map[string]string{"work": "/SHOW/w", "publish": "/SHOW/p"}),
			want:   source{root: "/srv/p", rel: "Test/a.ma", remote: "/SHOW/wjects/Test/a.ma"},
		},
		"the same, and all roots are known": {
			path: `{root[work]}jects\Test\a.ma`, roots: avalon.Roots{"work": `P:\pro`, "publish": `P:\projects`},
			local:  config.NamedRoots(map[string]string{"work": "/srv/w", "publish": "/srv/p"}),
			remote: config.NamedRoots(map[string]string{"work": "/SHOW/w", "publish": "/SHOW/p"}),
			want:   source{root: "/srv/p", rel: "Test/a.ma", remote: "/SHOW/wjects/Test/a.ma"},
		},
		"the same, and a shared drive for each": {
			path: "{root[work]}jects/Test/a.ma", roots: avalon.Roots{"work": "/mnt/pro", "publish": "/mnt/projects"},
			remote: config.NamedRoots(map[string]string{"work": "/W", "publish": "/P"}),
			want:   source{root: "/mnt/projects", rel: "Test/a.ma", remote: "/P/Test/a.ma"},
		},
		"a root with a separator at its end": {
			path: "{root}Test/a.ma", roots: avalon.Roots{"": "P:/projects/"}, local: config.OneRoot("/mnt/p"), remote: one,
			want: source{root: "/mnt/p", rel: "Test/a.ma", remote: "/SHOW/projects/Test/a.ma"},
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
	one := config.OneRoot("/SHOW/projects")
	mounted := avalon.Roots{"": "/mnt/p"}
	for name, test := range map[string]struct {
		path   string
		roots  avalon.Roots
		local  config.Roots
		remote config.Roots
		want   string
	}{
		"leaves the root":          {path: "{root}/Test/../../etc/passwd", roots: mounted, remote: one, want: `leaves its root by ".."`},
		"leaves it by backslashes": {path: `{root}\..\etc\passwd`, roots: mounted, remote: one, want: `leaves its root by ".."`},
		"NUL":                      {path: "{root}/a\x00b", roots: mounted, remote: one, want: "NUL"},
		"not UTF-8":                {path: "{root}/a\xff.ma", roots: mounted, remote: one, want: "not UTF-8"},
		"the root itself":          {path: "{root}/./", roots: mounted, remote: one, want: "is the root itself"},
		"beside all roots": {path: "{root}-old/a.ma", roots: mounted, remote: one,
			want: "makes it /mnt/p-old on this machine, beside all roots; make the folder in which that is a root too, in local_root"},
		"up from beside it": {path: "{root}-old/../../etc/passwd", roots: avalon.Roots{"": "/mnt/p", "b": "/mnt/p-old"},
			remote: config.NamedRoots(map[string]string{"b": "/SHOW/b"}), want: "gdrive.json has no plain root"},
		"out of the root beside it": {path: "{root[a]}-old/../../etc/passwd", roots: avalon.Roots{"a": "/mnt/p", "b": "/mnt/p-old"},
			remote: config.NamedRoots(map[string]string{"a": "/SHOW/a", "b": "/SHOW/a-old"}), want: `leaves its root by ".."`},
		"one level of two": {path: "{root[disk1]}/a", roots: avalon.Roots{"disk1][work": "/mnt/p"},
			remote: config.NamedRoots(map[string]string{"disk1][work": "/SHOW/p"}), want: `no root "disk1", as in {root[disk1]}, which the path begins with; set local_root`},
		"a root that only the path names": {path: "{root[work][a]}/a", roots: avalon.Roots{"publish": "/mnt/p"}, remote: one,
			want: `context.root of the representation has no root "work.a", as in {root[work][a]}, which the path begins with; set local_root ` +
				`in config.json to where all roots are mounted here, that of {root[work][a]} too`},
		"half a field":            {path: "{root[a][]}/a.ma", roots: mounted, remote: one, want: "neither {root} nor {root[NAME]}"},
		"a network path":          {path: "{root}/a", roots: avalon.Roots{"": "//server/share"}, remote: one, want: "set local_root"},
		"another network path":    {path: "{root}/a", roots: avalon.Roots{"": `\\server\share`}, remote: one, want: "set local_root"},
		"open brace":              {path: "{root/Test/a.ma", roots: mounted, remote: one, want: "not closed"},
		"odd field":               {path: "{root.work}/a.ma", roots: mounted, remote: one, want: "neither {root} nor {root[NAME]}"},
		"empty name":              {path: "{root[]}/a.ma", roots: mounted, remote: one, want: "neither {root} nor {root[NAME]}"},
		"another root":            {path: "/etc/passwd", roots: mounted, remote: one, want: "does not begin with {root}"},
		"a root's prefix":         {path: "/mnt/px/a", roots: mounted, remote: one, want: "does not begin with {root}"},
		"nothing":                 {path: "", roots: mounted, remote: one, want: "does not begin with {root}"},
		"root of another system":  {path: "{root}/a", roots: avalon.Roots{"": `P:\projects`}, remote: one, want: "set local_root"},
		"no root in the document": {path: "{root}/a", remote: one, want: "set local_root"},
		"no such local_root": {path: "{root[render]}/a", roots: avalon.Roots{"render": "/mnt/r"},
			local: config.NamedRoots(map[string]string{"work": "/mnt/w"}), remote: one, want: `local_root in config.json has no root "render"`},
		"no such remote root": {path: "{root[render]}/a", roots: avalon.Roots{"render": "/mnt/r"},
			remote: config.NamedRoots(map[string]string{"work": "/SHOW"}), want: `gdrive.json has no root "render"`},
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
	got, err := locate(&avalon.File{Path: `{root}/a\b.ma`}, avalon.Roots{"": root}, config.Roots{}, config.OneRoot("/SHOW"))
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
		got, err := locate(&avalon.File{Path: `{root}/a {{c}}.tx`}, avalon.Roots{"": root}, config.Roots{}, config.OneRoot("/SHOW"))
		if err != nil || got.rel != want || got.remote != "/SHOW/"+want {
			t.Errorf("with %q there: %v, %v", on, got, err)
		}
	}
}

func TestOpenSource(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "a.ma"), []byte("12345"), 0o600))
	must(t, os.Mkdir(filepath.Join(root, "folder"), 0o700))
	must(t, os.Symlink("a.ma", filepath.Join(root, "inside.ma")))
	must(t, os.Symlink(filepath.Join(root, "a.ma"), filepath.Join(root, "absolute.ma")))
	must(t, os.Symlink(root, filepath.Join(root, "itself")))
	must(t, os.Symlink(filepath.Join(root, "gone.ma"), filepath.Join(root, "dangling.ma")))
	must(t, os.Symlink(outside, filepath.Join(root, "outside.ma")))
	must(t, makeFIFO(filepath.Join(root, "fifo")))

	for name, test := range map[string]struct {
		source
		size int64
		err  string // "" if it is opened
		want site.Class
	}{
		"there":              {source{root: root, rel: "a.ma"}, 5, "", 0},
		"of unknown size":    {source{root: root, rel: "a.ma"}, avalon.UnknownSize, "", 0},
		"symlink inside":     {source{root: root, rel: "inside.ma"}, 5, "", 0},
		"absolute symlink":   {source{root: root, rel: "absolute.ma"}, 5, "", 0},
		"through a symlink":  {source{root: root, rel: "itself/absolute.ma"}, 5, "", 0},
		"dangling symlink":   {source{root: root, rel: "dangling.ma"}, 5, "is not there", site.NotReady},
		"symlink outside":    {source{root: root, rel: "outside.ma"}, 6, "leads out of the root", site.FileError},
		"not there":          {source{root: root, rel: "b.ma"}, 5, "is not there", site.NotReady},
		"folder not there":   {source{root: root, rel: "itself/no/b.ma"}, 5, "is not there", site.NotReady},
		"project not there":  {source{root: root, rel: "no/b.ma"}, 5, "no is not mounted: it is not there", site.Unavailable},
		"project empty":      {source{root: root, rel: "folder/b.ma"}, 5, "folder is not mounted: it is empty", site.Unavailable},
		"project's name":     {source{root: root, rel: strings.Repeat("x", 300) + "/b.ma"}, 5, "name too long", site.FileError},
		"of another size":    {source{root: root, rel: "a.ma"}, 6, "has 5 bytes, 6 were published", site.NotReady},
		"folder":             {source{root: root, rel: "folder"}, 5, "a folder", site.FileError},
		"FIFO":               {source{root: root, rel: "fifo"}, 5, "a FIFO", site.FileError},
		"root not there":     {source{root: filepath.Join(root, "no"), rel: "a.ma"}, 5, "not mounted", site.Unavailable},
		"empty mount point":  {source{root: t.TempDir(), rel: "a.ma"}, 5, "not mounted", site.Unavailable},
		"file for a folder":  {source{root: root, rel: "a.ma/b.ma"}, 5, "not a directory", site.FileError},
		"root that's a file": {source{root: outside, rel: "a.ma"}, 5, "not mounted", site.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f, info, err := test.open(test.size)
			if err == nil {
				defer f.Close()
				if info.Size() != 5 {
					t.Errorf("%d bytes", info.Size())
				}
			}
			switch {
			case (err == nil) != (test.err == ""):
				t.Errorf("opened with %v", err)
			case err != nil && (!strings.Contains(err.Error(), test.err) || site.ClassOf(err) != test.want):
				t.Errorf("%v of class %s, want %q of class %s", err, site.ClassOf(err), test.err, test.want)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzLocate(f *testing.F) {
	for _, p := range []string{"{root}/a", `{root[work]}\a\b`, "{root}/../a", "/mnt/p/a", "{{root}}/a", "{root}/{{a}}"} {
		f.Add(p)
	}
	roots := avalon.Roots{"": "/mnt/p", "work": "/mnt/w"}
	f.Fuzz(func(t *testing.T, p string) {
		s, err := locate(&avalon.File{Path: p}, roots, config.Roots{}, config.NamedRoots(map[string]string{"work": "/SHOW/w"}))
		if err != nil {
			return
		}
		if !filepath.IsLocal(s.rel) || !strings.HasPrefix(s.remote, "/SHOW/w/") || filepath.Join(s.root, s.rel) == s.root {
			t.Errorf("%q leads out of its root: %+v", p, s)
		}
	})
}
