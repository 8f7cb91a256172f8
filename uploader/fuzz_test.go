package uploader

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/avalon"
	"sitesync/config"
)

// FuzzPlan plans whatever document. What is due obeys the rules, and can be located or is refused.
func FuzzPlan(f *testing.F) {
	for _, doc := range []string{
		`{"type": "representation", "context": {"root": "/mnt/p"}, "files": [{"_id": 1, "path": "{root}/a", "size": 5,
			"sites": [{"name": "studio", "created_dt": {"$date": "2020-01-01T00:00:00Z"}}, {"name": "gdrive", "tries": 1,
			"last_failed_dt": {"$date": "2026-01-01T00:00:00Z"}}]}]}`,
		`{"type": "representation", "context": {"root": {"work": "P:/x"}}, "files": [null, {"_id": "x", "path": "{root[work]}\\a",
			"sites": {"studio": {"created_dt": true}, "gdrive": {"tries": "2"}}}, {"sites": {"gdrive": 7}}]}`,
		`{"type": "representation", "files": [{"_id": 1, "path": "a", "sites": [{"name": "gdrive"}, {"name": "gdrive", "created_dt": 1},
			{"name": "studio", "created_dt": 1}]}, {"_id": 1, "path": "a", "sites": [{"name": "gdrive"}, {"name": "studio", "created_dt": 1}]}]}`,
		`{"type": "representation", "files": {}}`,
	} {
		var parsed bson.D
		must(f, bson.UnmarshalExtJSON([]byte(doc), false, &parsed))
		raw, err := bson.Marshal(parsed)
		must(f, err)
		f.Add([]byte(raw), int64(1_780_000_000))
		f.Add([]byte(doc), int64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, seconds int64) {
		var parsed bson.D
		if bson.UnmarshalExtJSON(data, false, &parsed) == nil {
			if raw, err := bson.Marshal(parsed); err == nil {
				data = raw
			}
		}
		rep, err := avalon.Decode(key("x"), data)
		if err != nil {
			return
		}
		p := newPlan(rules, rep, time.Unix(seconds, 0))
		if p.next < 0 || p.next > time.Hour || len(p.due)+len(p.problems) > len(rep.Files) {
			t.Errorf("%d files: %+v", len(rep.Files), p)
		}
		seen := map[avalon.FileKey]bool{}
		for _, file := range p.due {
			remote, wanted := file.On("gdrive")
			active, here := file.On("studio")
			if !wanted || remote.Created || remote.Tries >= 3 || !here || !active.Created || seen[file.Key()] ||
				file.Problem != "" || remote.Problem != "" || file.ID.IsZero() || file.Path == "" {
				t.Errorf("due is %+v", file)
			}
			seen[file.Key()] = true
			if s, err := locate(&file, rep.Roots, config.OneRoot("/mnt/p"), config.OneRoot("/SHOW/p")); err == nil {
				wantInside(t, file.Path, s.rel)
			}
		}
	})
}

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
	for _, p := range []string{"/a/b", "a", "//a/./b/", "/../a", "/a/../b", "/..a/b..", "/", "", "/a\x00", "/\xff", "/a/...", `/a\..\b`} {
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

// FuzzOpen opens whatever path in a storage with links of all kinds. What it reads is from inside of the root.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside, filepath.Join(root, "d"), filepath.Join(root, "d", "e")} {
		must(f, os.Mkdir(d, 0o700))
	}
	for _, file := range []string{"a", "d/b", "d/e/c", `back\slash`} {
		must(f, os.WriteFile(filepath.Join(root, file), []byte("inside"), 0o600))
	}
	for _, file := range []string{"a", "secret"} {
		must(f, os.WriteFile(filepath.Join(outside, file), []byte("secret"), 0o600))
	}
	for link, target := range map[string]string{
		"in": "d", "up": "..", "self": "self", "out": outside, "relout": "../outside", "d/secret": "../../outside/secret",
		"absin": filepath.Join(root, "d"), "viaout": "../outside/../root/d", "d/root": "/", "d/e/back": "../..", "there": filepath.Join(root, "relout"),
	} {
		must(f, os.Symlink(target, filepath.Join(root, link)))
	}
	must(f, makeFIFO(filepath.Join(root, "fifo")))
	for _, p := range []string{"{root}/a", "{root}/in/b", "{root}/up/outside/a", "{root}/out/secret", "{root}/relout/a", "{root}/d/secret", "{root}/absin/e/c",
		"{root}/viaout/b", "{root}/d/e/back/a", "{root}/there/a", "{root}/self", "{root}/fifo", `{root}\in\b`, `{root}/back\slash`, "{root}/in/../../outside/a"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		src, err := find(&avalon.File{Path: path}, avalon.Roots{"": root}, config.Roots{}, config.OneRoot("/SHOW"))
		if err != nil {
			return
		}
		file, info, err := src.open(avalon.UnknownSize)
		if err != nil {
			return
		}
		defer file.Close()
		content, err := io.ReadAll(file)
		if err != nil || string(content) != "inside" || info.Size() != int64(len(content)) {
			t.Errorf("%q is read as %q, %v", path, content, err)
		}
	})
}
