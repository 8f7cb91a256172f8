package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

func TestCompareFile(t *testing.T) {
	server := drive.StartTest(t)
	folder := server.Mkdir(server.AddSharedDrive("SHOW"), "projects")
	id := server.AddFile(folder, "a.ma", []byte("content"))
	trashed := server.AddFile(folder, "b.ma", []byte("content"))
	server.Trash(trashed)
	dir := t.TempDir()
	same, other := filepath.Join(dir, "same"), filepath.Join(dir, "other")
	for file, content := range map[string]string{same: "content", other: "CONTENT"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &runner{env: &testenv.Env{Drive: server}}
	for name, test := range map[string]struct {
		local, id, path string
		want            string // of the error; "" for none
	}{
		"right":           {same, id, "projects/a.ma", ""},
		"another content": {other, id, "projects/a.ma", "MD5"},
		"another place":   {same, id, "renders/a.ma", "instead of renders/a.ma"},
		"no id":           {same, "", "projects/a.ma", "no file on Drive"},
		"in the trash":    {same, trashed, "projects/b.ma", "no file on Drive"},
		"not on storage":  {filepath.Join(dir, "none"), id, "projects/a.ma", "no such file"},
	} {
		err := s.compareFile(studio.File{Local: test.local}, test.id, test.path)
		if err == nil && test.want != "" || err != nil &&
			(test.want == "" || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
