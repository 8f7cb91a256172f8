package site

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// wantInside checks that a path below a root stays there and is written in one way only.
func wantInside(t *testing.T, path, rel string) {
	t.Helper()
	depth := 0
	for _, part := range strings.Split(rel, "/") {
		if part == "" || part == "." || part == ".." || strings.Contains(part, "\x00") || !utf8.ValidString(part) {
			t.Errorf("%q has the part %q in %q", path, part, rel)
		}
		depth++
	}
	if clean := filepath.Clean("/r/" + rel); clean != "/r/"+rel || depth == 0 {
		t.Errorf("%q leads to %q, that is %q", path, rel, clean)
	}
}

func FuzzRelative(f *testing.F) {
	for _, p := range []string{"/a/b", "a", "//a/./b/", "/../a", "/a/../b", "/..a/b..", "/", "", "/a\x00", "/\xff",
		"/a/...", `/a\..\b`} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, rel string) {
		got, err := relative(rel)
		if err != nil {
			return
		}
		wantInside(t, rel, got)
		// Nothing is lost or moved on the way.
		if want := filepath.Clean("/" + rel); "/"+got != want {
			t.Errorf("%q is %q, want %q", rel, got, want)
		}
		if again, err := relative(got); err != nil || again != got {
			t.Errorf("%q becomes %q, %v", got, again, err)
		}
	})
}

// A path is read in several ways only where its text allows that.
func TestReadings(t *testing.T) {
	for _, test := range []struct {
		rel         string
		backslashes bool
		want        []string // what each reading makes of it
	}{
		{"/a/b.exr", true, []string{"a/b.exr"}},
		{"/a/b.exr", false, []string{"a/b.exr"}},
		{`\a\b.exr`, true, []string{`\a\b.exr`, "a/b.exr"}},
		{`\a\b.exr`, false, []string{"a/b.exr"}},
		{"/{{x}}/b", true, []string{"{{x}}/b", "{x}/b"}},
		{`/{{x}}\b`, true, []string{`{{x}}\b`, "{{x}}/b", `{x}\b`, "{x}/b"}},
		{`/{{x}}\b`, false, []string{"{{x}}/b", "{x}/b"}},
	} {
		var got []string
		for _, read := range Readings(test.rel, test.backslashes) {
			rel, err := read(test.rel)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rel)
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%q with backslashes %v is read %q, want %q", test.rel, test.backslashes, got, test.want)
		}
	}
	if got, err := UsualReading(`/{{x}}\b`); err != nil || got != "{{x}}/b" {
		t.Errorf("usually it is %q, %v", got, err)
	}
}
