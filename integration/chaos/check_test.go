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
		reps: map[bson.ObjectID]*studio.Representation{}}}
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
		s.reps[rep.ID] = rep
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
