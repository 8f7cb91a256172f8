package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoots(t *testing.T) {
	for _, test := range []struct {
		name   string
		roots  Roots
		string string
		names  []string
	}{
		{"none", Roots{}, "", nil},
		{"nil", nil, "", nil},
		{"one", Roots{"": "/x"}, "/x", []string{""}},
		{"named", Roots{"b": "/y", "a": "/x"}, "a=/x;b=/y", []string{"a", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.roots.String() != test.string {
				t.Errorf("string %q", test.roots)
			}
			var names []string
			for name, path := range test.roots.All() {
				names = append(names, name)
				if path != test.roots[name] {
					t.Errorf("the path of %q is %q", name, path)
				}
			}
			if diff := cmp.Diff(test.names, names); diff != "" {
				t.Errorf("all (-want +got):\n%s", diff)
			}
		})
	}
}
