package uploader

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/avalon"
	"sitesync/config"
)

// written is what is right to become of documents that Pype 2's own IntegrateNew has written. DIR is the folder that
// stands for the storage.
type written struct {
	local    map[string]string // local_root; "" for a plain one
	remote   map[string]string // root of gdrive.json
	places   [][3]string       // beginnings of paths in the documents: where that is here, and on Drive
	held     string            // why the settings do not fit the other files
	reported string            // why the other files can't be worked with
	absent   bool              // nothing is to be uploaded
}

var (
	plainRemote = map[string]string{"": "/SHOW/p"}
	namedRemote = map[string]string{"work": "/SHOW/work", "publish": "/SHOW/publish"}
	inDocument  = written{remote: plainRemote, places: [][3]string{{"{root}", "DIR", "/SHOW/p"}}}
	foreign     = written{local: map[string]string{"": "DIR"}, remote: plainRemote,
		places: [][3]string{{"{root}", "DIR", "/SHOW/p"}}}
)

var writtenDocuments = map[string]written{
	"single file":                       inDocument,
	"sequence":                          inDocument,
	"sequence renumbered by frameStart": inDocument,
	"look: two representations, a texture copied, one hardlinked": inDocument,
	"empty file": inDocument,
	"braces and percent in a resource's name": inDocument,
	"dots: v1.0 as subset, no ending":         inDocument,
	"multi-root, all in publish": {remote: namedRemote,
		places: [][3]string{{"{root[publish]}", "DIR/p", "/SHOW/publish"}}},
	"multi-root, a resource in the other root (context.root has only publish)": {remote: namedRemote,
		places: [][3]string{{"{root[publish]}", "DIR/p", "/SHOW/publish"}},
		held: `context.root of the representation has no root "work", as in {root[work]}, which the path ` +
			`begins with; set local_root in ` +
			`config.json to where all roots are mounted here, that of {root[work]} too`},
	"multi-root, a resource in the other root, with local_root": {remote: namedRemote,
		local:  map[string]string{"work": "DIR/w", "publish": "DIR/p"},
		places: [][3]string{{"{root[publish]}", "DIR/p", "/SHOW/publish"}, {"{root[work]}", "DIR/w", "/SHOW/work"}}},
	"roots /pro and /projects": {remote: map[string]string{"work": "/SHOW/pro", "publish": "/SHOW/projects"},
		local:  map[string]string{"work": "DIR/pro", "publish": "DIR/projects"},
		places: [][3]string{{"{root[work]}", "DIR/pro", "/SHOW/pro"}}},
	"root publish inside of root work, work first": {remote: namedRemote,
		local:  map[string]string{"work": "DIR", "publish": "DIR/publish"},
		places: [][3]string{{"{root[work]}", "DIR", "/SHOW/work"}}},
	"roots of two levels": {remote: map[string]string{"disk1][work": "/SHOW/p"},
		places: [][3]string{{"{root[disk1][work]}", "DIR", "/SHOW/p"}}},
	"artist at home, sitesync of the studio":           {remote: plainRemote, absent: true},
	"publisher's clock in Asia/Tokyo":                  inDocument,
	"publisher's clock in America/Los_Angeles":         inDocument,
	"Windows publisher, root P:/projects":              foreign,
	`Windows publisher, root backslashes P:\projects\`: foreign,
	"Windows publisher, root drive P:/":                foreign,
	"Windows publisher, root UNC //server/share/proj":  foreign,
	`Windows publisher, root UNC \\server\share\proj`:  foreign,
	"Windows publisher, root P:/projects, no local_root": {remote: plainRemote,
		held: `root "P:/projects" is not a path of this system`},
	"Windows, resource under p:/projects (case)": {local: map[string]string{"": "DIR"}, remote: plainRemote,
		places: [][3]string{{"{root}", "DIR", "/SHOW/p"}, {`p:\projects`, "DIR", "/SHOW/p"}}},
	"Windows, resource on another drive": {local: map[string]string{"": "DIR"}, remote: plainRemote,
		places:   [][3]string{{"{root}", "DIR", "/SHOW/p"}},
		reported: `path "X:\\textures\\old.tx" does not begin with {root}`},
	"macOS publisher": foreign,
}

// Each document of testdata/pype2_documents.json, as the unchanged code of Pype 2 has written it, has the right
// outcome.
func TestDocumentsOfPype2(t *testing.T) {
	data, err := os.ReadFile("testdata/pype2_documents.json")
	must(t, err)
	var groups []struct {
		Title     string
		Documents []json.RawMessage
	}
	must(t, json.Unmarshal(data, &groups))
	if len(groups) != len(writtenDocuments) {
		t.Errorf("%d kinds of documents, and %d outcomes", len(groups), len(writtenDocuments))
	}
	for _, g := range groups {
		want, known := writtenDocuments[g.Title]
		if !known {
			t.Errorf("no outcome for %q", g.Title)
		}
		for _, text := range g.Documents {
			t.Run(g.Title, func(t *testing.T) { testWritten(t, text, want) })
		}
	}
}

func testWritten(t *testing.T, text []byte, want written) {
	dir := t.TempDir()
	roots := func(paths map[string]string) config.Roots {
		named := config.Roots{}
		for name, p := range paths {
			named[name] = strings.Replace(p, "DIR", dir, 1)
		}
		return named
	}
	var doc bson.Raw
	must(t, bson.UnmarshalExtJSON(bytes.ReplaceAll(text, []byte("/mnt/studio"), []byte(filepath.ToSlash(dir))), true,
		&doc))
	rep, err := avalon.Decode(key("a"), doc)
	must(t, err)
	synced := map[avalon.FileKey]string{} // where it is on Drive
	for _, f := range rep.Files {
		for _, place := range want.places {
			rest, ok := strings.CutPrefix(f.Path, place[0])
			if !ok {
				continue
			}
			rest = strings.ReplaceAll(rest, `\`, "/")
			at := strings.Replace(place[1], "DIR", dir, 1) + rest
			must(t, os.MkdirAll(filepath.Dir(at), 0o700))
			must(t, os.WriteFile(at, make([]byte, max(f.Size, 0)), 0o600))
			must(t, os.Chtimes(at, f.Modified, f.Modified))
			synced[f.Key()] = "id of " + place[2] + rest
			break
		}
	}
	if len(want.places) == 0 { // the storage is there; the documents only do not lead to it
		must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	}
	inBubble(t, func(w *world) {
		w.store.rep = *rep
		w.up.LocalRoot, w.up.RemoteRoot = roots(want.local), roots(want.remote)
		w.run(time.Second)
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		for _, f := range w.store.rep.Files {
			rec, _ := f.RecordFor("gdrive")
			switch id := synced[f.Key()]; {
			case rec.Tries > 0 && want.reported == "" || rec.RemoteID != id || rec.Created != (id != ""):
				t.Errorf("%s: %+v, want %q", f.Path, rec, id)
			case id == "" && want.reported != "" && !strings.Contains(rec.Error, want.reported):
				t.Errorf("%s: the error is %q", f.Path, rec.Error)
			}
		}
		held := w.up.Held()
		if (want.held == "") != (len(held) == 0) || len(held) > 1 || len(held) == 1 &&
			(!strings.HasPrefix(held[0].Why, want.held) || held[0].Kind != Settings) {
			t.Errorf("held is %v", held)
		}
		if n := w.logged("uploads are held"); n != len(held) {
			t.Errorf("it is logged %d times", n)
		}
		if want.absent && len(w.site.puts) > 0 {
			t.Error("it is uploaded")
		}
	})
}
