package main

import (
	"bytes"
	"os"
	"path"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// scene is a studio whose publishes are on Drive and recorded, as sitesync should have left them.
type scene struct {
	*checker
	t   *testing.T
	one *studio.Representation    // of one file, alone in its folder
	two [2]*studio.Representation // of a file each, and of one more that both have
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, checker: &checker{db: mongod.Database(t), server: drive.StartTest(t), folder: rootFolder,
		reps: map[bson.ObjectID]published{}}}
	account := s.server.AddServiceAccount("sync@studio.iam.example")
	show := s.server.AddSharedDrive("SHOW")
	show.AddMember(account, drive.ContentManager)
	s.server.Mkdir(show, rootFolder)
	p, err := studio.New(s.db, studio.Options{Root: t.TempDir(), RemoteSite: testenv.RemoteSite}).
		Project(t.Context(), "Test")
	s.must(err)
	one, err := p.Publish(t.Context(), studio.Publish{Asset: "Robot", Subset: "modelMain", Name: "ma", Size: 100})
	s.must(err)
	shared := studio.Publish{Asset: "Robot", Family: "look", Subset: "lookMain", Name: "ma", Size: 200, DictSites: true,
		Resources: []studio.Resource{{Name: "diffuse.tif", Size: 300}}}
	other := shared
	other.Name, other.DictSites = "json", false
	two, err := p.PublishAll(t.Context(), shared, other)
	s.must(err)
	s.one, s.two = one, [2]*studio.Representation(two)
	for _, rep := range append(two, one) {
		s.reps[rep.ID] = published{Representation: rep}
		for i, f := range rep.Files {
			at := path.Join(rootFolder, f.Rel)
			there := s.server.Find(show, at)
			if len(there) == 0 {
				content, err := os.ReadFile(f.Local)
				s.must(err)
				s.server.AddFile(s.server.Mkdir(show, path.Dir(at)), path.Base(at), content)
				there = s.server.Find(show, at)
			}
			s.record(rep, i, there[0].ID)
		}
	}
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// record marks a file as synced.
func (s *scene) record(rep *studio.Representation, file int, id string) {
	s.t.Helper()
	s.must(rep.Set(s.t.Context(), testenv.RemoteSite,
		bson.D{{Key: "id", Value: id}, {Key: "created_dt", Value: time.Now()}}, file))
}

// onDrive is the file on Drive that a record names.
func (s *scene) onDrive(rep *studio.Representation, file int) drive.File {
	s.t.Helper()
	raw, err := rep.Record(s.t.Context(), file, testenv.RemoteSite)
	s.must(err)
	f, ok := s.server.Get(raw.Lookup("id").StringValue())
	if !ok {
		s.t.Fatalf("%s is not on Drive", rep.Files[file].Rel)
	}
	return f
}

// The checker finds what is planted by hand, and nothing else.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		plant                          func(*scene)
		lost, doubled, wrong, orphaned int
	}{
		"nothing": {plant: func(*scene) {}},
		"a file is deleted": {lost: 1, orphaned: 3, plant: func(s *scene) { // with the folders that it was alone in
			s.server.Delete(s.onDrive(s.one, 0).ID)
		}},
		"a file of two records is deleted": {lost: 2, orphaned: 1, plant: func(s *scene) {
			s.server.Delete(s.onDrive(s.two[0], 1).ID)
		}},
		"a file is in the trash": {lost: 1, plant: func(s *scene) { s.server.Trash(s.onDrive(s.one, 0).ID) }},
		"a record is not marked": {lost: 1,
			plant: func(s *scene) { s.must(s.one.Resync(t.Context(), testenv.RemoteSite)) }},
		"a record in the older form is not marked": {lost: 1, plant: func(s *scene) {
			s.must(s.two[0].Resync(t.Context(), testenv.RemoteSite, 1))
		}},
		"a document is gone": {lost: 2, orphaned: 1, plant: func(s *scene) { s.must(s.two[0].Delete(t.Context())) }},
		"a record names another file": {lost: 1, orphaned: 1, plant: func(s *scene) {
			s.record(s.two[0], 0, s.onDrive(s.one, 0).ID)
		}},
		"a file is there twice": {doubled: 1, orphaned: 1, plant: func(s *scene) {
			f := s.onDrive(s.one, 0)
			s.server.AddFile(f.Parent, f.Name, bytes.Repeat([]byte("x"), 100))
		}},
		"two records name two files of one path": {doubled: 1, plant: func(s *scene) {
			f := s.onDrive(s.two[0], 1)
			content, err := os.ReadFile(s.two[0].Files[1].Local)
			s.must(err)
			s.record(s.two[1], 1, s.server.AddFile(f.Parent, f.Name, content))
		}},
		"a folder is there twice": {doubled: 1, orphaned: 1, plant: func(s *scene) {
			folder, _ := s.server.Get(s.onDrive(s.one, 0).Parent)
			s.server.AddFolder(folder.Parent, folder.Name)
		}},
		"the files of a folder are in another of its name": {doubled: 1, plant: func(s *scene) {
			folder, _ := s.server.Get(s.onDrive(s.two[0], 1).Parent)
			folder, _ = s.server.Get(folder.Parent)
			f := s.onDrive(s.two[0], 0)
			content, err := os.ReadFile(s.two[0].Files[0].Local)
			s.must(err)
			s.record(s.two[0], 0, s.server.AddFile(s.server.AddFolder(folder.Parent, folder.Name), f.Name, content))
			s.server.Delete(f.ID)
		}},
		"the content is another": {wrong: 1, plant: func(s *scene) {
			s.must(os.WriteFile(s.one.Files[0].Local, bytes.Repeat([]byte("x"), 100), 0o600))
		}},
		"the content of two records is another": {wrong: 1, plant: func(s *scene) {
			s.must(os.WriteFile(s.two[0].Files[1].Local, nil, 0o600))
		}},
		"a file that was not published": {orphaned: 1, plant: func(s *scene) {
			s.server.AddFile(s.onDrive(s.one, 0).Parent, "upload.tmp", nil)
		}},
		"such a file in the trash": {orphaned: 1, plant: func(s *scene) {
			s.server.Trash(s.server.AddFile(s.onDrive(s.one, 0).Parent, "upload.tmp", nil))
		}},
		"a folder that is not needed": {orphaned: 1, plant: func(s *scene) {
			s.server.AddFolder(s.onDrive(s.one, 0).Parent, "v002")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			test.plant(s)
			found, err := s.check(t.Context())
			s.must(err)
			got := [...]int{len(found.lost), found.doubles, len(found.wrong), len(found.orphaned)}
			if want := [...]int{test.lost, test.doubled, test.wrong, test.orphaned}; got != want {
				t.Errorf("lost, doubled, wrong and orphaned are %v instead of %v: %+v", got, want, found)
			}
			if found.files != 4 || found.records != 5 || found.synced != 5-test.lost {
				t.Errorf("%d files, %d records, %d synced", found.files, found.records, found.synced)
			}
		})
	}
}

func TestCheckCountsTries(t *testing.T) {
	s := newScene(t)
	s.must(s.two[0].Set(t.Context(), testenv.RemoteSite, bson.D{{Key: "tries", Value: int32(2)}}))
	if found, err := s.check(t.Context()); err != nil || found.tries != 4 {
		t.Errorf("%+v, %v", found, err)
	}
}

// The checker finds what is planted by hand on the other storage, and nothing else.
func TestCheckArrivals(t *testing.T) {
	const to = "art-17"
	for name, test := range map[string]struct {
		plant             func(s *scene, arrives func(file int) string)
		lost, wrong, left int
	}{
		"nothing": {plant: func(*scene, func(int) string) {}},
		"a file is not there": {lost: 1, plant: func(s *scene, arrives func(int) string) {
			s.must(os.Remove(arrives(0)))
		}},
		"a record is not marked": {lost: 1, plant: func(s *scene, _ func(int) string) {
			s.must(s.two[1].Resync(t.Context(), to, 1))
		}},
		"a record names another file": {lost: 1, plant: func(s *scene, _ func(int) string) {
			s.must(s.two[1].Set(t.Context(), to, bson.D{{Key: "id", Value: "other.json"}}, 0))
		}},
		"the content is another": {wrong: 1, plant: func(s *scene, arrives func(int) string) {
			s.must(os.WriteFile(arrives(0), []byte("half"), 0o600))
		}},
		"a partial file": {left: 1, plant: func(s *scene, arrives func(int) string) {
			s.must(os.WriteFile(path.Join(path.Dir(arrives(0)), ".Robot.part"), nil, 0o600))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			root := t.TempDir()
			p := published{s.two[1], "studio", to, root}
			s.reps = map[bson.ObjectID]published{p.ID: p}
			s.must(p.AddSite(t.Context(), to))
			for i, f := range p.Files {
				content, err := os.ReadFile(f.Local)
				s.must(err)
				s.must(os.MkdirAll(path.Dir(p.arrives(f)), 0o700))
				s.must(os.WriteFile(p.arrives(f), content, 0o600))
				s.must(p.Set(t.Context(), to, bson.D{{Key: "id", Value: path.Base(f.Rel)},
					{Key: "created_dt", Value: time.Now()}}, i))
			}
			test.plant(s, func(i int) string { return p.arrives(p.Files[i]) })
			found, err := s.check(t.Context())
			s.must(err)
			if got, want := [...]int{len(found.lost), len(found.wrong), len(found.left)},
				[...]int{test.lost, test.wrong, test.left}; got != want || found.arrived != 2-test.lost-test.wrong {
				t.Errorf("lost, wrong and left are %v instead of %v, %d arrived: %+v", got, want, found.arrived, found)
			}
		})
	}
}

// A content that was never published is seen, though the file is complete soon after; one whose publish is noted late
// is none.
func TestVisible(t *testing.T) {
	rep := published{&studio.Representation{Files: []studio.File{{Rel: "a", MD5: "900150983cd24fb0d6963f7d28e17f72"}}},
		"studio", "art-17", t.TempDir()}
	v := visible{contents: map[string][]string{}, seen: map[string]string{}, unknown: map[string]string{}}
	look := func(content string) {
		t.Helper()
		if content != "" {
			if err := os.WriteFile(rep.arrives(rep.Files[0]), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		v.look([]published{rep})
	}
	look("")
	look("abc")
	look("abcd")
	rep.Files[0].MD5 = "e2fc714c4727ee9395f324cd2e7f331f" // of abcd
	look("")
	if v.files != 2 || len(v.early) != 0 {
		t.Errorf("%d files, early %v", v.files, v.early)
	}
	look("ab")
	look("abc")
	if len(v.early) != 1 {
		t.Errorf("%d files, early %v", v.files, v.early)
	}
}
