package uploader

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
	"sitesync/site/local"
)

// What is inspected is what an upload would find.
func TestInspect(t *testing.T) {
	root := t.TempDir()
	a, content := filepath.Join(root, "a.ma"), []byte("content")
	must(t, os.WriteFile(a, content, 0o600))
	info, err := os.Stat(a)
	must(t, err)
	modified := info.ModTime()
	documents, remote := avalon.Roots{"": root}, config.Roots{"": "/SHOW/projects"}
	for name, test := range map[string]struct {
		file  avalon.File
		roots avalon.Roots
		want  Inspection
		class site.Class
		fails bool
	}{
		"there": {file: avalon.File{Path: "{root}/a.ma", Size: 7},
			want: Inspection{Root: root, Local: a, Remote: "/SHOW/projects/a.ma", Size: 7, Modified: modified}},
		"of any size": {file: avalon.File{Path: "{root}/a.ma", Size: -1},
			want: Inspection{Root: root, Local: a, Remote: "/SHOW/projects/a.ma", Size: 7, Modified: modified}},
		"older": {file: avalon.File{Path: "{root}/a.ma", Size: 7, Modified: modified.Add(time.Minute)},
			want: Inspection{Root: root, Local: a, Remote: "/SHOW/projects/a.ma", Size: 7, Modified: modified,
				Stale: true}},
		"of another size": {file: avalon.File{Path: "{root}/a.ma", Size: 8},
			want: Inspection{Root: root, Local: a, Remote: "/SHOW/projects/a.ma"}, fails: true, class: site.NotReady},
		"not there": {file: avalon.File{Path: "{root}/b.ma", Size: 7},
			want:  Inspection{Root: root, Local: filepath.Join(root, "b.ma"), Remote: "/SHOW/projects/b.ma"},
			fails: true, class: site.NotReady},
		"a folder": {file: avalon.File{Path: "{root}/.", Size: 7}, want: Inspection{Root: root}, fails: true,
			class: site.FileError},
		"unknown root": {file: avalon.File{Path: "{root[work]}/a.ma", Size: 7}, fails: true,
			class: site.Unavailable},
		"another system": {file: avalon.File{Path: "{root}/a.ma", Size: 7}, roots: avalon.Roots{"": "studio"},
			fails: true, class: site.Unavailable},
		"not mounted": {file: avalon.File{Path: "{root}/a.ma", Size: 7}, roots: avalon.Roots{"": root + "-away"},
			want: Inspection{Root: root + "-away", Local: filepath.Join(root+"-away", "a.ma"),
				Remote: "/SHOW/projects/a.ma"}, fails: true, class: site.Unavailable},
	} {
		if test.roots == nil {
			test.roots = documents
		}
		n := newInspector(remote, local.Options{})
		got, err := n.Inspect(t.Context(), &test.file, test.roots)
		if (err != nil) != test.fails || err != nil && site.ClassOf(err) != test.class {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}

	n, f := newInspector(remote, local.Options{}), avalon.File{Path: "{root}/a.ma", Size: 7}
	sum := md5.Sum(content)
	if got, err := n.MD5(t.Context(), &f, documents); err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("%s, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := n.MD5(ended, &f, documents); !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", got, err)
	}
	must(t, os.Remove(a))
	if got, err := n.MD5(t.Context(), &f, documents); err == nil {
		t.Errorf("it is gone, but %s", got)
	}
}

// newInspector returns an inspector as sitesync explain has it.
func newInspector(remote config.Roots, o local.Options) *Inspector {
	o.Timeout, o.AvoidStalled = InspectionTimeout, true
	return &Inspector{Source: local.New(o), RemoteRoot: remote}
}

func TestConcerns(t *testing.T) {
	file := Inspection{Root: "/mnt/studio", Local: "/mnt/studio/show/a.ma", Remote: "/SHOW/work/show/a.ma"}
	hold := func(k TargetKind, name string, from int64) Hold { return Hold{Target: Target{k, name}, From: from} }
	for _, test := range []struct {
		hold Hold
		want bool
	}{
		{hold(SiteTarget, "", 0), true},
		{hold(LocalRoot, "/mnt/studio", 0), true},
		{hold(LocalRoot, "/mnt", 0), false},
		{hold(LocalRoot, "", 0), false},
		{hold(ProjectFolder, "/mnt/studio/show", 0), true},
		{hold(ProjectFolder, "/mnt/studio/sho", 0), false},
		{hold(RemoteRoot, "/SHOW/work", 0), true},
		{hold(RemoteRoot, "/SHOW/publish", 0), false},
		{hold(LargeFiles, "/SHOW/work", 100), true},
		{hold(LargeFiles, "/SHOW/work", 101), false},
		{hold(NewFiles, "/SHOW/work/show", 0), true},
		{hold(NewFiles, "/SHOW/work/other", 0), false},
		{hold(Settings, "no root", 0), false},
	} {
		if got := test.hold.Concerns(file, 100); got != test.want {
			t.Errorf("%+v concerns it: %t", test.hold.Target, got)
		}
	}
}

// A storage that does not answer is waited for once, however many of its files are looked at.
func TestInspectAStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, documents := make(chan struct{}), avalon.Roots{"": "/mnt/studio"}
		n := newInspector(config.Roots{"": "/SHOW"}, local.Options{Before: func(string, string) { <-gate }})
		start := time.Now()
		for i := range 100 {
			_, err := n.Inspect(t.Context(), &avalon.File{Path: fmt.Sprintf("{root}/%d", i), Size: 7}, documents)
			if site.ClassOf(err) != site.Unavailable || !strings.Contains(err.Error(), "the storage does not answer") {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != InspectionTimeout {
			t.Errorf("it took %s", took)
		}
		// Nor is it asked at all where it is known to hang.
		n = newInspector(config.Roots{"": "/SHOW"},
			local.Options{Before: func(string, string) { t.Error("it is asked") }})
		start = time.Now()
		n.Avoid("/mnt/studio")
		_, err := n.Inspect(t.Context(), &avalon.File{Path: "{root}/a", Size: 7}, documents)
		if site.ClassOf(err) != site.Unavailable || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		close(gate)
	})
}
