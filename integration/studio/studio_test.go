package studio_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/integration/mongod"
	"sitesync/integration/studio"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open is a studio with one root and the project Test.
func open(t *testing.T) (*studio.Studio, *studio.Project, string) {
	t.Helper()
	root := t.TempDir()
	s := studio.New(mongod.Database(t), studio.Options{Root: root})
	p, err := s.Project(deadline(t), "Test")
	must(t, err)
	return s, p, root
}

func publish(t *testing.T, p *studio.Project, pub studio.Publish) *studio.Representation {
	t.Helper()
	if pub.Asset == "" {
		pub.Asset = "Cylinder"
	}
	if pub.Subset == "" {
		pub.Subset = "lookMain"
	}
	if pub.Name == "" {
		pub.Name = "ma"
	}
	rep, err := p.Publish(deadline(t), pub)
	must(t, err)
	return rep
}

func document(t *testing.T, rep *studio.Representation) bson.Raw {
	t.Helper()
	doc, err := rep.Document(deadline(t))
	must(t, err)
	return doc
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// types lists the BSON type of every value below a document, by its path.
func types(prefix string, doc bson.Raw) []string {
	elements, _ := doc.Elements()
	var all []string
	for _, e := range elements {
		path, value := prefix+e.Key(), e.Value()
		all = append(all, path+" "+value.Type.String())
		switch value.Type {
		case bson.TypeEmbeddedDocument:
			all = append(all, types(path+".", value.Document())...)
		case bson.TypeArray:
			all = append(all, types(path+".", bson.Raw(value.Array()))...)
		}
	}
	return all
}

func TestRepresentationIsWhatIntegrateNewInserts(t *testing.T) {
	_, p, root := open(t)
	rep := publish(t, p, studio.Publish{Family: "look", Version: 10, Size: 4822})

	doc := document(t, rep)
	want := []string{
		"_id objectID", "schema string", "type string", "parent objectID", "name string",
		"data embedded document", "data.path string", "data.template string",
		"dependencies array",
		"context embedded document", "context.root string",
		"context.project embedded document", "context.project.name string", "context.project.code string",
		"context.hierarchy string", "context.asset string", "context.family string", "context.subset string",
		"context.version 32-bit integer", "context.representation string", "context.task string",
		"context.username string", "context.ext string",
		"files array", "files.0 embedded document",
		"files.0._id objectID", "files.0.path string", "files.0.size 64-bit integer", "files.0.hash string",
		"files.0.sites array",
		"files.0.sites.0 embedded document", "files.0.sites.0.name string", "files.0.sites.0.created_dt UTC datetime",
		"files.0.sites.1 embedded document", "files.0.sites.1.name string",
	}
	if diff := cmp.Diff(want, types("", doc)); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}

	rel := "Test/Assets/Cylinder/publish/look/lookMain/v010/test_Cylinder_lookMain_v010.ma"
	for path, want := range map[string]string{
		"schema":               "pype:representation-2.0",
		"type":                 "representation",
		"name":                 "ma",
		"data.path":            root + "/" + rel,
		"context.root":         root,
		"context.asset":        "Cylinder",
		"files.0.path":         "{root}/" + rel,
		"files.0.sites.0.name": "studio",
		"files.0.sites.1.name": "gdrive",
	} {
		if got := doc.Lookup(strings.Split(path, ".")...).StringValue(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := doc.Lookup("files", "0", "size").Int64(); got != 4822 {
		t.Errorf("size is %d", got)
	}
	hash := doc.Lookup("files", "0", "hash").StringValue()
	if !regexp.MustCompile(`^test_Cylinder_lookMain_v010,ma\|\d+,\d{1,2}\|4822$`).MatchString(hash) {
		t.Errorf("hash is %q", hash)
	}
	if rep.Acknowledged.IsZero() {
		t.Error("Acknowledged is not set")
	}
}

func TestDocumentsAroundARepresentation(t *testing.T) {
	ctx := deadline(t)
	s, p, _ := open(t)
	rep := publish(t, p, studio.Publish{})

	id := document(t, rep).Lookup("parent")
	for _, kind := range []string{"version", "subset", "asset", "project"} {
		doc, err := p.Collection().FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if got := doc.Lookup("type").StringValue(); got != kind {
			t.Errorf("type is %q, want %q", got, kind)
		}
		id = doc.Lookup("parent")
	}
	// The same again, and by somebody who opens the project later, adds nothing
	// but what is new.
	p2, err := s.Project(ctx, "Test")
	must(t, err)
	publish(t, p2, studio.Publish{Name: "abc"})
	for kind, want := range map[string]int64{"project": 1, "asset": 1, "subset": 1, "version": 1, "representation": 2} {
		if n, err := p.Collection().CountDocuments(ctx, bson.D{{Key: "type", Value: kind}}); n != want || err != nil {
			t.Errorf("%d documents of type %s (%v), want %d", n, kind, err, want)
		}
	}
}

func TestFilesAreRenamedAfterTheInsert(t *testing.T) {
	_, p, _ := open(t)
	rep := publish(t, p, studio.Publish{Size: 100, Hold: true})
	document(t, rep)
	local := rep.Files[0].Local
	if !exists(local+".tmp") || exists(local) {
		t.Errorf("after the insert: *.tmp exists %t, want true; the file exists %t, want false", exists(local+".tmp"),
			exists(local))
	}
	must(t, rep.Finish())
	if exists(local+".tmp") || !exists(local) {
		t.Errorf("after Finish: *.tmp exists %t, want false; the file exists %t, want true", exists(local+".tmp"),
			exists(local))
	}
	must(t, rep.Finish()) // once more does nothing
}

func TestRenameFails(t *testing.T) {
	_, p, _ := open(t)
	rep := publish(t, p, studio.Publish{Name: "exr", Frames: 3, Size: 10, RenameFails: true})
	for i, f := range rep.Files {
		if got, want := exists(f.Local), i < 2; got != want {
			t.Errorf("file %d exists: %t, want %t", i, got, want)
		}
	}
	must(t, rep.Finish())
	if !exists(rep.Files[2].Local) {
		t.Error("Finish does not repair the failed rename")
	}
}

func TestRenameAfterAndNoTmp(t *testing.T) {
	_, p, _ := open(t)
	rep := publish(t, p, studio.Publish{RenameAfter: time.Millisecond, Size: 1})
	if !exists(rep.Files[0].Local) {
		t.Error("the file has no final name after the delay")
	}
	rep = publish(t, p, studio.Publish{NoTmp: true, Size: 1, Version: 2})
	if !exists(rep.Files[0].Local) {
		t.Error("the file is missing with NoTmp")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := p.Publish(ctx, studio.Publish{Asset: "A", Subset: "b", Name: "ma", RenameAfter: time.Hour,
		Change: func(doc bson.D) bson.D { time.AfterFunc(10*time.Millisecond, cancel); return doc }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted publish answers %v", err)
	}
}

func TestContentIsDeterministic(t *testing.T) {
	_, p, _ := open(t)
	_, q, _ := open(t)
	first := publish(t, p, studio.Publish{Size: 1 << 20})
	same := publish(t, q, studio.Publish{Size: 1 << 20})
	other := publish(t, p, studio.Publish{Size: 1 << 20, Version: 2})
	seeded := publish(t, p, studio.Publish{Size: 1 << 20, Version: 3, Seed: 1})
	content, err := os.ReadFile(first.Files[0].Local)
	must(t, err)
	sum := md5.Sum(content)
	if got := hex.EncodeToString(sum[:]); got != first.Files[0].MD5 || len(content) != 1<<20 {
		t.Errorf("%d bytes with MD5 %s, said to have %s", len(content), got, first.Files[0].MD5)
	}
	if got, err := first.Files[0].Sum(); err != nil || got != first.Files[0].MD5 {
		t.Errorf("Sum is %s, %v; want %s", got, err, first.Files[0].MD5)
	}
	if first.Files[0].MD5 != same.Files[0].MD5 {
		t.Error("the same publish has another content the second time")
	}
	if first.Files[0].MD5 == other.Files[0].MD5 || other.Files[0].MD5 == seeded.Files[0].MD5 {
		t.Error("different files have the same content")
	}
}

func TestSparseFiles(t *testing.T) {
	_, p, _ := open(t)
	const size = 5 << 30
	rep := publish(t, p, studio.Publish{Name: "abc", Size: size, Sparse: true})
	info, err := os.Stat(rep.Files[0].Local)
	must(t, err)
	if info.Size() != size || rep.Files[0].MD5 != "" {
		t.Errorf("size %d, MD5 %q", info.Size(), rep.Files[0].MD5)
	}
	small := publish(t, p, studio.Publish{Name: "vdb", Size: 7, Sparse: true})
	if info, err := os.Stat(small.Files[0].Local); err != nil || info.Size() != 7 {
		t.Errorf("a small sparse file: %v, %v", info, err)
	}
}

func TestSequence(t *testing.T) {
	_, p, _ := open(t)
	rep := publish(t, p, studio.Publish{Name: "exr", Frames: 3, FirstFrame: 99, Size: 10})
	var names []string
	for _, f := range rep.Files {
		names = append(names, filepath.Base(f.Local))
	}
	want := []string{"test_Cylinder_lookMain_v001.0099.exr", "test_Cylinder_lookMain_v001.0100.exr",
		"test_Cylinder_lookMain_v001.0101.exr"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	doc := document(t, rep)
	if got := doc.Lookup("context", "frame").StringValue(); got != "0099" {
		t.Errorf("context.frame is %q", got)
	}
	files, err := doc.Lookup("files").Array().Values()
	must(t, err)
	for i, file := range files {
		if got := file.Document().Lookup("_id").ObjectID(); got != rep.Files[i].ID {
			t.Errorf("files.%d._id is %v, want %v", i, got, rep.Files[i].ID)
		}
	}
}

func TestSeveralRoots(t *testing.T) {
	ctx := deadline(t)
	roots := map[string]string{"work": t.TempDir(), "publish": t.TempDir()}
	s := studio.New(mongod.Database(t), studio.Options{Roots: roots})
	p, err := s.Project(ctx, "Multi")
	must(t, err)
	for root, want := range map[string]string{"": "work", "work": "work", "publish": "publish"} {
		rep := publish(t, p, studio.Publish{Root: root, Size: 5, Subset: "s" + root})
		f := rep.Files[0]
		if !strings.HasPrefix(f.Path, "{root["+want+"]}/Multi/") ||
			f.Local != filepath.Join(roots[want], filepath.FromSlash(f.Rel)) || !exists(f.Local) {
			t.Errorf("root %q: recorded as %s, written to %s", root, f.Path, f.Local)
		}
		var context struct {
			Root map[string]string `bson:"root"`
		}
		must(t, bson.Unmarshal(document(t, rep).Lookup("context").Document(), &context))
		if diff := cmp.Diff(roots, context.Root); diff != "" {
			t.Errorf("context.root (-want +got):\n%s", diff)
		}
	}
	if _, err := p.Publish(ctx, studio.Publish{Asset: "a", Subset: "s", Name: "ma", Root: "cache"}); err == nil {
		t.Error("a root that the studio does not have is accepted")
	}
}

func TestSitesForms(t *testing.T) {
	_, p, _ := open(t)
	for _, test := range []struct {
		name string
		pub  studio.Publish
		want []string
	}{
		{"dict", studio.Publish{DictSites: true}, []string{
			"studio embedded document", "studio.created_dt UTC datetime", "gdrive embedded document"}},
		{"other sites", studio.Publish{OtherSites: []string{"sftp"}}, []string{
			"0 embedded document", "0.name string", "0.created_dt UTC datetime",
			"1 embedded document", "1.name string", "2 embedded document", "2.name string"}},
		{"no date on the active site", studio.Publish{NoActiveDate: true}, []string{
			"0 embedded document", "0.name string", "1 embedded document", "1.name string"}},
		{"no remote site", studio.Publish{NoRemote: true, DictSites: true}, []string{
			"studio embedded document", "studio.created_dt UTC datetime"}},
		{"synced", studio.Publish{Synced: true}, []string{
			"0 embedded document", "0.name string", "0.created_dt UTC datetime",
			"1 embedded document", "1.name string", "1.created_dt UTC datetime", "1.id string"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.pub.Subset = test.name
			sites := document(t, publish(t, p, test.pub)).Lookup("files", "0", "sites")
			if diff := cmp.Diff(test.want, types("", bson.Raw(sites.Value))); diff != "" {
				t.Errorf("types (-want +got):\n%s", diff)
			}
		})
	}
}

// Publishing writes the wall time of the workstation as if it were UTC.
func TestActiveDateIsLocalWallTime(t *testing.T) {
	ctx := deadline(t)
	zone := time.FixedZone("studio", 5*60*60)
	s := studio.New(mongod.Database(t), studio.Options{Root: t.TempDir(), Location: zone})
	p, err := s.Project(ctx, "Test")
	must(t, err)
	before := time.Now()
	rep := publish(t, p, studio.Publish{})
	record, err := rep.Record(ctx, 0, "studio")
	must(t, err)
	date := record.Lookup("created_dt").Time().Add(-5 * time.Hour)
	if date.Before(before.Truncate(time.Millisecond)) || date.After(rep.Acknowledged) {
		t.Errorf("created_dt less five hours is %v, not between %v and %v", date, before, rep.Acknowledged)
	}
}

func TestNamesFromAllOverTheWorld(t *testing.T) {
	_, p, _ := open(t)
	for _, pub := range []studio.Publish{
		{Asset: "Žluťoučký kůň"}, {Asset: "球体"}, {Asset: "Bob's % \"cone\""}, {Subset: "v1.0"},
		{Subset: "f", File: "no extension"}, {Subset: "g", File: strings.Repeat("x", 248) + ".ma"},
	} {
		pub.Size = 10
		f := publish(t, p, pub).Files[0]
		if !exists(f.Local) || !strings.HasSuffix(filepath.ToSlash(f.Local), f.Rel) || f.Path != "{root}/"+f.Rel {
			t.Errorf("%+v: recorded as %s, written to %s", pub, f.Path, f.Local)
		}
	}
}

func TestForeignPathsAndMissingFields(t *testing.T) {
	_, p, _ := open(t)
	rep := publish(t, p, studio.Publish{Backslashes: true, ContextRoot: "P:/projects", NoSize: true, NoHash: true,
		Size: 10})
	doc := document(t, rep)
	if got := doc.Lookup("files", "0", "path").StringValue(); !strings.HasPrefix(got, `{root}\Test\Assets\`) {
		t.Errorf("path is %s", got)
	}
	if got := doc.Lookup("data", "path").StringValue(); !strings.HasPrefix(got, `P:\projects\Test\`) {
		t.Errorf("data.path is %s", got)
	}
	if got := doc.Lookup("context", "root").StringValue(); got != "P:/projects" {
		t.Errorf("context.root is %s", got)
	}
	for _, field := range []string{"size", "hash"} {
		if _, err := doc.LookupErr("files", "0", field); err == nil {
			t.Errorf("%s is there", field)
		}
	}
	if !exists(rep.Files[0].Local) {
		t.Error("the file is missing")
	}

	empty := document(t, publish(t, p, studio.Publish{Name: "txt"}))
	if _, err := empty.LookupErr("files", "0", "size"); err == nil {
		t.Error("an empty file has a size, which IntegrateNew drops")
	}
	narrow := document(t, publish(t, p, studio.Publish{Name: "abc", Size: 10, Int32Size: true}))
	if got := narrow.Lookup("files", "0", "size").Type; got != bson.TypeInt32 {
		t.Errorf("size is a %s", got)
	}
	changed := publish(t, p, studio.Publish{Name: "fbx", RecordOnly: true, Change: func(doc bson.D) bson.D {
		return append(doc, bson.E{Key: "more", Value: nil})
	}})
	if got := document(t, changed).Lookup("more").Type; got != bson.TypeNull {
		t.Errorf("the changed field is a %s", got)
	}
	if exists(changed.Files[0].Local) || exists(changed.Files[0].Local+".tmp") {
		t.Error("RecordOnly has written a file")
	}
}

func TestSharedResources(t *testing.T) {
	ctx := deadline(t)
	_, p, _ := open(t)
	wood := []studio.Resource{{Name: "wood.tif", Size: 100}}
	look := studio.Publish{Asset: "Cylinder", Family: "look", Subset: "lookMain", Name: "ma", Size: 1, Resources: wood}
	relation := look
	relation.Name = "json"
	reps, err := p.PublishAll(ctx, look, relation)
	must(t, err)
	first, second := reps[0].Files[1], reps[1].Files[1]
	if first != second || !exists(first.Local) || !strings.HasSuffix(first.Path, "/v001/resources/wood.tif") {
		t.Errorf("the resource is %+v in one and %+v in the other representation", first, second)
	}

	later := publish(t, p, studio.Publish{Subset: "lookOther", Size: 1, Shared: []studio.File{first}})
	doc := document(t, later)
	if got := doc.Lookup("files", "1", "_id").ObjectID(); got != first.ID {
		t.Errorf("the shared file has _id %v, want %v", got, first.ID)
	}
	if got := doc.Lookup("files", "1", "path").StringValue(); got != first.Path {
		t.Errorf("the shared file has path %s, want %s", got, first.Path)
	}
}

func TestPublishAgain(t *testing.T) {
	ctx := deadline(t)
	_, p, _ := open(t)
	first := publish(t, p, studio.Publish{Size: 1000})
	before, err := os.Stat(first.Files[0].Local)
	must(t, err)

	second := publish(t, p, studio.Publish{Size: 500, Seed: 1})
	if second.ID != first.ID || second.Files[0].ID == first.Files[0].ID {
		t.Errorf("_id %v after %v, file _id %v after %v: want the same and another",
			second.ID, first.ID, second.Files[0].ID, first.Files[0].ID)
	}
	after, err := os.Stat(second.Files[0].Local)
	must(t, err)
	if !os.SameFile(before, after) || after.Size() != 500 {
		t.Errorf("the file is the same: %t, size %d; want copied over in place", os.SameFile(before, after),
			after.Size())
	}
	if sum, err := second.Files[0].Sum(); err != nil || sum != second.Files[0].MD5 {
		t.Errorf("content %s, %v; want %s", sum, err, second.Files[0].MD5)
	}

	third := publish(t, p, studio.Publish{Size: 500, NewID: true})
	if third.ID == first.ID {
		t.Error("NewID keeps the _id")
	}
	for kind, want := range map[string]int64{"representation": 1, "archived_representation": 0} {
		if n, err := p.Collection().CountDocuments(ctx, bson.D{{Key: "type", Value: kind}}); n != want || err != nil {
			t.Errorf("%d documents of type %s (%v), want %d", n, kind, err, want)
		}
	}
}

func TestAFailedInsertLeavesNothing(t *testing.T) {
	ctx := deadline(t)
	_, p, root := open(t)
	_, err := p.Publish(ctx, studio.Publish{Asset: "a", Subset: "s", Name: "ma", Size: 1,
		Change: func(bson.D) bson.D { return bson.D{{Key: "_id", Value: bson.A{}}} }})
	if err == nil {
		t.Fatal("an impossible document is inserted")
	}
	_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("%s is left", path)
		}
		return nil
	})
}

// What people do to records, in both forms of sites.
func TestPeopleChangeRecords(t *testing.T) {
	for _, dict := range []bool{false, true} {
		t.Run(fmt.Sprintf("dict %t", dict), func(t *testing.T) {
			ctx := deadline(t)
			s, p, _ := open(t)
			rep := publish(t, p, studio.Publish{Name: "exr", Frames: 2, DictSites: dict, RecordOnly: true})
			field := func(file int, site, name string) bson.RawValue {
				t.Helper()
				record, err := rep.Record(ctx, file, site)
				must(t, err)
				return record.Lookup(name)
			}
			synced := func() bool {
				t.Helper()
				ok, err := s.Synced(ctx, rep)
				must(t, err)
				return ok
			}

			if synced() {
				t.Error("synced right after publishing")
			}
			now := bson.NewDateTimeFromTime(time.Now())
			must(t, rep.Set(ctx, "gdrive", bson.D{{Key: "created_dt", Value: now}, {Key: "tries", Value: int32(2)}}, 0))
			if synced() {
				t.Error("synced with one of two files")
			}
			must(t, rep.Set(ctx, "gdrive", bson.D{{Key: "created_dt", Value: nil}}, 1))
			if synced() {
				t.Error("synced with created_dt null")
			}
			must(t, rep.Set(ctx, "gdrive", bson.D{{Key: "created_dt", Value: now}}))
			if !synced() {
				t.Error("not synced with a date everywhere")
			}
			if at, err := s.WaitSynced(ctx, rep); err != nil || at.Before(rep.Acknowledged) {
				t.Errorf("WaitSynced: %v, %v", at, err)
			}

			must(t, rep.Retry(ctx, "gdrive"))
			if got := field(0, "gdrive", "tries").Type; got != 0 {
				t.Errorf("tries is a %s after Retry", got)
			}
			must(t, rep.Resync(ctx, "gdrive", 1))
			if field(0, "gdrive", "created_dt").Type != bson.TypeDateTime || field(1, "gdrive", "created_dt").
				Type != 0 {
				t.Error("Resync of the second file did not remove just its created_dt")
			}
			must(t, rep.Resync(ctx, "gdrive"))
			if field(0, "gdrive", "created_dt").Type != 0 || field(0, "studio", "created_dt").
				Type != bson.TypeDateTime {
				t.Error("Resync did not remove created_dt of the one site")
			}

			must(t, rep.AddSite(ctx, "sftp"))
			for i := range rep.Files {
				if record, err := rep.Record(ctx, i, "sftp"); err != nil || record == nil {
					t.Errorf("file %d has no record for the added site: %v", i, err)
				}
			}
			must(t, rep.RemoveSite(ctx, "sftp"))
			if record, err := rep.Record(ctx, 0, "sftp"); err != nil || record != nil {
				t.Errorf("the removed site has the record %v, %v", record, err)
			}

			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if _, err := s.WaitSynced(short, rep); err == nil ||
				!strings.Contains(err.Error(), "2 of 2 files lack created_dt") {
				t.Errorf("WaitSynced of one that is not synced: %v", err)
			}

			must(t, rep.Delete(ctx))
			if _, err := rep.Document(ctx); !errors.Is(err, mongo.ErrNoDocuments) {
				t.Errorf("the deleted document: %v", err)
			}
			if err := rep.AddSite(ctx, "sftp"); err == nil {
				t.Error("a change of a deleted document says nothing")
			}
		})
	}
}
