package explain

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/studio"
)

// paths are recorded, and asked for as people would.
var paths = []struct {
	recorded, asked string
	want            bool
}{
	{`{root}/Test/a/b.ma`, `/mnt/studio/Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `P:\projects\Test\a\b.ma`, true},
	{`{root}/Test/a/b.ma`, `p:/Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `\\server\share\test\A\B.MA`, true}, // as Windows ignores case
	{`{root}/Test/a/b.ma`, `/mnt/studio/test/a/b.ma`, false},
	{`{root}/Test/a/b.ma`, `/SHOW/projects/Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `/mnt//studio/./Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `{root}/Test/a/b.ma`, true},
	{`{root}/Test/a/b.ma`, `{root}\Test\a\b.ma`, true},
	{`{root}/Test/a/b.ma`, `{root[work]}/Test/a/b.ma`, false},
	{`{root}/Test/a/b.ma`, `{root}/a/b.ma`, false},
	{`{root}/Test/a/b.ma`, `/mnt/studio/Test/a`, false},
	{`{root}/Test/a/b.ma`, `/mnt/studio/Test/a/bxma`, false},
	{`{root}/Test/a/b.ma`, `/mnt/studio/Test/a/b.ma/c`, false},
	{`{root}/Test/a/b.ma`, `/mnt/studio/Test/x/b.ma`, false},
	{`{root}/Test/a/b.ma`, `b.ma`, true},
	{`{root}/Test/a/ab.ma`, `b.ma`, false},
	{`{root}/Test/a/b.ma.tmp`, `b.ma`, false},
	{`{root}/Test/a/b.ma`, `.*`, false},
	{`{root}/Test/a/b.ma`, `/mnt/.*/b.ma`, false},
	{`{root[work]}/Test/a/b.ma`, `/mnt/studio/Test/a/b.ma`, true},
	{`{root[work]}/Test/a/b.ma`, `{root[work]}/Test/a/b.ma`, true},
	{`{root}\Test\a\b.ma`, `P:\projects\Test\a\b.ma`, true},
	{`{root}\Test\a\b.ma`, `/mnt/studio/Test/a/b.ma`, true},
	{`{root}\Test\a\b.ma`, `b.ma`, true},
	{`P:/projects/Test/a/b.ma`, `P:\projects\Test\a\b.ma`, true}, // some hosts publish it so
	{`/mnt/studio/Test/a/b.ma`, `/mnt/studio/Test/a/b.ma`, true},
	{`/mnt/studio/Test/a/b.ma`, `/other/studio/Test/a/b.ma`, false},
	{`{root}/b.ma`, `/b.ma`, true},
	{`{root}/Test/a+(b)[c]^$|.ma`, `/mnt/studio/Test/a+(b)[c]^$|.ma`, true},
	{`{root}/Test/aa+(b)[c]^$|.ma`, `/mnt/studio/Test/a+(b)[c]^$|.ma`, false},
	{`{root}/Test/{{a}}.ma`, `/mnt/studio/Test/{a}.ma`, true},
	{`{root}/Test/{a}.ma`, `/mnt/studio/Test/{a}.ma`, true},
	{`{root}/Test/{{a}}.ma`, `{root}/Test/{{a}}.ma`, true},
	{`{root}/Test/Žižkov/ä ö'.ma`, `/mnt/studio/Test/Žižkov/ä ö'.ma`, true},
	{`{root}/Test/\Q.ma`, `/mnt/studio/Test/\Q.ma`, true},
	{`{root}/Test/a.ma`, "/mnt/studio/Test/a.ma\n", false},
	{"{root}/Test/a.ma\n", "/mnt/studio/Test/a.ma", false},
	{"{root}/Test/a\nb.ma", "/mnt/studio/Test/a\nb.ma", true},
	{`{root}/Test/a.1001.exr`, `/mnt/studio/Test/a.####.exr`, true},
	{`{root}/Test/a.1001.exr`, `a.%04d.exr`, true},
	{`{root}/Test/a.10001.exr`, `P:\projects\Test\a.####.exr`, true},
	{`{root}/Test/a.####.exr`, `a.####.exr`, true},
	{`{root}/Test/a.1001.exr`, `a.#####.exr`, false},
	{`{root}/Test/a.x001.exr`, `a.####.exr`, false},
	{`{root}/Test/a1.ma`, `a#.ma`, false},
}

// The server's regular expressions and Go's find the same.
func TestPaths(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	coll := s.db.Collection("Test")
	all := map[string]bool{}
	for _, p := range paths {
		if all[p.recorded] {
			continue
		}
		all[p.recorded] = true
		_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: p.recorded},
			{Key: "type", Value: "representation"},
			{Key: "files", Value: bson.A{bson.D{{Key: "path", Value: 7}}, bson.D{{Key: "path", Value: p.recorded}}}}})
		must(t, err)
	}
	for _, p := range paths {
		pattern, ignoreCase, err := pathPattern(p.asked)
		must(t, err)
		inGo := pattern
		if ignoreCase {
			inGo = "(?i)" + pattern
		}
		if got := regexp.MustCompile(inGo).MatchString(p.recorded); got != p.want {
			t.Errorf("%q is found as %q: %t by Go", p.recorded, p.asked, got)
		}
		found, err := s.Store.FindPath(t.Context(), "Test", pattern, ignoreCase, len(all))
		must(t, err)
		got := false
		for _, n := range found {
			if n.Path != n.Key.ID.String() {
				t.Errorf("path %q of %q", n.Path, n.Key.ID)
			}
			got = got || n.Path == p.recorded
		}
		if got != p.want {
			t.Errorf("%q is found as %q: %t by MongoDB", p.recorded, p.asked, got)
		}
	}
	for _, asked := range []string{"", "/", "{root}", "{root[work]}/", strings.Repeat("a/", 101) + "b", "/a\x00b",
		"/a\xffb"} {
		if pattern, _, err := pathPattern(asked); !errors.As(err, new(*NotFoundError)) {
			t.Errorf("%q is %q, %v", asked, pattern, err)
		}
	}
	deep, _, err := pathPattern(strings.Repeat("a/", 99) + "b")
	must(t, err)
	if _, err := s.Store.FindPath(t.Context(), "Test", deep, true, 1); err != nil {
		t.Error(err)
	}
}

// Of several representations that name a path, the newest counts. What follows the root has to fit in full.
func TestCandidates(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var reps []*studio.Representation
	for range 2 {
		reps = append(reps, s.publish(studio.Publish{Size: 10, NewID: true, Frames: 3}))
		_, err := s.db.Collection("Test").UpdateByID(t.Context(), reps[0].ID,
			bson.D{{Key: "$set", Value: bson.D{{Key: "type", Value: "representation"}}}})
		must(t, err)
	}
	old, err := reps[1].Document(t.Context())
	must(t, err)
	elems, err := old.Elements()
	must(t, err)
	var again bson.D // shares its files
	for _, e := range elems {
		if e.Key() != "_id" {
			again = append(again, bson.E{Key: e.Key(), Value: e.Value()})
		}
	}
	third, err := s.db.Collection("Test").InsertOne(t.Context(), again)
	must(t, err)
	f := reps[1].Files[1]
	name := f.Rel[strings.LastIndex(f.Rel, "/")+1:]
	_, err = s.db.Collection("Test").InsertOne(t.Context(), bson.D{{Key: "type", Value: "representation"},
		{Key: "files", Value: bson.A{bson.D{{Key: "path", Value: "{root}/" + name}}}}})
	must(t, err)

	r := s.explain(f.Local, Wrong)
	if r.Representation != third.InsertedID.(bson.ObjectID).Hex() || r.Matched != 1 || r.Files != 3 ||
		r.Groups[0].Example.Path != f.Path || r.More {
		t.Errorf("%+v", r)
	}
	if !slices.Contains(r.Others, reps[1].ID.Hex()) || len(r.Others) > 2 {
		t.Errorf("others %v, want %s", r.Others, reps[1].ID.Hex())
	}
	if r, err := s.Explain(t.Context(), "Test", "/mnt/"+name); err != nil || r.Files != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for asked, want := range map[string]string{
		"/mnt/elsewhere/" + f.Rel + "x": "no representation of project Test names /mnt/elsewhere/",
		"6b050e7f95b3069bbeff69ac": "project Test has no representation 6b050e7f95b3069bbeff69ac, and no file " +
			"of that name",
		"nothing.ma": "no file of that name",
	} {
		if _, err := s.Explain(t.Context(), "Test", asked); !errors.As(err, new(*NotFoundError)) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", asked, err)
		}
	}
	_, err = s.Explain(t.Context(), "tests", name)
	if diff := cmp.Diff(`database `+s.db.Name()+` has no project "tests"; did you mean "Test"?`,
		errText(err)); diff != "" || !errors.As(err, new(*NotFoundError)) {
		t.Error(diff)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"Test_1": "Test_1", "Žižkov": "Žižkov", "My Show": "'My Show'",
		"it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := ShellQuote(word); got != want {
			t.Errorf("%s is quoted as %s, want %s", word, got, want)
		}
	}
}
