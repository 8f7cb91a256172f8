package uploader

import (
	"path"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/avalon"
	"sitesync/config"
)

// FuzzPlan plans whatever document. What is due obeys the rules, and can be located or is refused.
func FuzzPlan(f *testing.F) {
	for _, doc := range []string{
		`{"type": "representation", "context": {"root": "/mnt/p"}, "files": [{"_id": 1, "path": "{root}/a", "size": 5,
			"sites": [{"name": "studio", "created_dt": {"$date": "2020-01-01T00:00:00Z"}}, {"name": "gdrive",
			"tries": 1, "last_failed_dt": {"$date": "2026-01-01T00:00:00Z"}}]}]}`,
		`{"type": "representation", "context": {"root": {"work": "P:/x"}}, "files": [null, {"_id": "x",
			"path": "{root[work]}\\a", "sites": {"studio": {"created_dt": true}, "gdrive": {"tries": "2"}}},
			{"sites": {"gdrive": 7}}]}`,
		`{"type": "representation", "files": [{"_id": 1, "path": "a", "sites": [{"name": "gdrive"},
			{"name": "gdrive", "created_dt": 1}, {"name": "studio", "created_dt": 1}]},
			{"_id": 1, "path": "a", "sites": [{"name": "gdrive"}, {"name": "studio", "created_dt": 1}]}]}`,
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
			remote, wanted := file.RecordFor("gdrive")
			active, here := file.RecordFor("studio")
			if !wanted || remote.Created || remote.Tries >= 3 || !here || !active.Created || seen[file.Key()] ||
				file.Problem != "" || remote.Problem != "" || file.ID.IsZero() || file.Path == "" {
				t.Errorf("due is %+v", file)
			}
			seen[file.Key()] = true
			if s, err := locate(&file, rep.Roots, config.Roots{"": "/mnt/p"},
				config.Roots{"": "/SHOW/p"}); err == nil &&
				(!filepath.IsLocal(s.rel) || path.Clean(s.rel) != s.rel) {
				t.Errorf("%q leads to %q", file.Path, s.rel)
			}
		}
	})
}
