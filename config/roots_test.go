package config

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoots(t *testing.T) {
	for _, test := range []struct {
		name   string
		roots  Roots
		zero   bool
		string string
		all    map[string]string
		misses []string
	}{
		{"none", Roots{}, true, "", map[string]string{}, []string{"", "a"}},
		{"no names", NamedRoots(nil), true, "", map[string]string{}, []string{"", "a"}},
		{"one", OneRoot("/x"), false, "/x", map[string]string{"": "/x"}, []string{"a"}},
		{"named", NamedRoots(map[string]string{"b": "/y", "a": "/x"}), false, "a=/x;b=/y",
			map[string]string{"a": "/x", "b": "/y"}, []string{"", "c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.roots
			if r.IsZero() != test.zero || r.String() != test.string || !r.Equal(r) {
				t.Errorf("zero %v, string %q", r.IsZero(), r)
			}
			if diff := cmp.Diff(test.all, maps.Collect(r.All())); diff != "" {
				t.Errorf("all (-want +got):\n%s", diff)
			}
			for name, want := range test.all {
				if path, ok := r.Lookup(name); !ok || path != want {
					t.Errorf("Lookup(%q) = %q, %v", name, path, ok)
				}
			}
			for _, name := range test.misses {
				if path, ok := r.Lookup(name); ok {
					t.Errorf("Lookup(%q) = %q", name, path)
				}
			}
		})
	}
	if OneRoot("/x").Equal(NamedRoots(map[string]string{"a": "/x"})) {
		t.Error("a root with a name equals one without")
	}
}

// A later change of the map doesn't change the roots.
func TestNamedRootsCopies(t *testing.T) {
	paths := map[string]string{"a": "/x"}
	roots := NamedRoots(paths)
	paths["a"] = "/y"
	if path, _ := roots.Lookup("a"); path != "/x" {
		t.Errorf("Lookup = %q", path)
	}
}
