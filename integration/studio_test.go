package integration_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// waitTimeout is how long anything is waited for; nothing takes nearly as long unless it is broken.
const waitTimeout = 60 * time.Second

// testStudio is a studio with its database and a Google Drive, set up for sitesync: the root on Drive is the folder
// "projects" of the shared drive SHOW.
type testStudio struct {
	t       testing.TB
	ctx     context.Context
	mongo   string // connection string
	db      *mongo.Database
	drive   *drive.Server
	account *drive.Account
	show    *drive.SharedDrive
	studio  *studio.Studio
	root    string // the storage
	dir     string // of the presets
	presets process.Presets
}

// newTestStudio sets a studio up, on the shared MongoDB.
func newTestStudio(t testing.TB) *testStudio {
	t.Helper()
	return newTestStudioOn(t, mongod.URI(t), mongod.Database(t))
}

func newTestStudioOn(t testing.TB, uri string, db *mongo.Database) *testStudio {
	t.Helper()
	s := &testStudio{t: t, ctx: t.Context(), mongo: uri, db: db, drive: drive.StartTest(t), root: t.TempDir(),
		dir: t.TempDir()}
	s.account = s.drive.AddServiceAccount("sync@studio.iam.example")
	s.show = s.drive.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.Contributor)
	s.drive.Mkdir(s.show, "projects")
	t.Cleanup(s.checkDatabasesForSecrets)
	s.studio = studio.New(db, studio.Options{Root: s.root})
	s.presets = process.Presets{LoopDelay: "1", Sites: map[string]process.Site{
		"gdrive": {Credentials: s.account.Credentials(), Root: "/SHOW/projects", Endpoint: s.drive.URL},
	}}
	return s
}

// remoteRoot changes the root and the credentials of the remote site.
func (s *testStudio) remoteRoot(root any, account *drive.Account) {
	g := s.presets.Sites["gdrive"]
	g.Root, g.Credentials = root, account.Credentials()
	s.presets.Sites["gdrive"] = g
}

// Sitesync with only one of its two eyes open.
var (
	streamOnly = []string{"--no-poll"}
	pollOnly   = []string{"--no-stream"}
)

// start starts sitesync and waits until it watches. The test fails if it does not stop orderly in the end.
func (s *testStudio) start(args ...string) *process.Process {
	s.t.Helper()
	d := s.launch(args...)
	watching := process.Message("change stream open")
	for _, a := range args {
		if a == "--no-stream" || a == "--once" {
			watching = process.Message("sitesync starts")
		}
	}
	s.log(d, watching)
	return d
}

// launch starts sitesync.
func (s *testStudio) launch(args ...string) *process.Process {
	s.t.Helper()
	if err := s.presets.Write(s.dir); err != nil {
		s.t.Fatal(err)
	}
	d, err := process.Start(process.Options{Binary: binary, Presets: s.dir, Mongo: s.mongo, Database: s.db.Name(),
		State: s.state(), Args: args})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			s.t.Error(err)
		}
		s.checkForSecrets("the log", d.Raw())
		if s.t.Failed() {
			s.t.Logf("the end of sitesync's log:\n%s", d.Tail(30))
		}
	})
	return d
}

// state is the name of sitesync's own database, one for each test.
func (s *testStudio) state() string { return s.db.Name() + "-state" }

// stateDB is sitesync's own database.
func (s *testStudio) stateDB() *mongo.Database { return s.db.Client().Database(s.state()) }

// log waits for a line in the log.
func (s *testStudio) log(d *process.Process, match func(process.Line) bool) process.Line {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	line, err := d.Wait(ctx, match)
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

// warnings are the lines of the log that report a problem.
func warnings(d *process.Process) []process.Line {
	return d.Lines(func(l process.Line) bool { return l.Level == "warn" || l.Level == "error" })
}

func (s *testStudio) project(name string) *studio.Project {
	s.t.Helper()
	return must(s.studio.Project(s.ctx, name))(s.t)
}

func (s *testStudio) publish(p *studio.Project, pub studio.Publish) *studio.Representation {
	s.t.Helper()
	if pub.Asset == "" {
		pub.Asset = "Cylinder"
	}
	if pub.Subset == "" {
		pub.Subset = "modelMain"
	}
	if pub.Name == "" {
		pub.Name = "ma"
	}
	return must(p.Publish(s.ctx, pub))(s.t)
}

// synced waits until the representation is synced, then compares what is on Drive with what was published.
func (s *testStudio) synced(rep *studio.Representation) {
	s.t.Helper()
	s.wait(rep)
	s.onDrive(s.show, "projects", rep)
}

// wait waits until the representation is synced.
func (s *testStudio) wait(rep *studio.Representation) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	if _, err := s.studio.WaitSynced(ctx, rep); err != nil {
		s.t.Fatal(err)
	}
}

// onDrive checks that the files of a representation are on Drive, once each, below the folder of a place, with
// their content and the id that their record names.
func (s *testStudio) onDrive(place drive.Place, folder string, rep *studio.Representation) {
	s.t.Helper()
	records := must(rep.Records(s.ctx, "gdrive"))(s.t)
	for i, f := range rep.Files {
		found := s.drive.Find(place, path.Join(folder, f.Rel))
		if len(found) != 1 {
			s.t.Fatalf("%s is on Drive %d times", f.Rel, len(found))
		}
		id, _ := records[i].Lookup("id").StringValueOK()
		if found[0].ID != id {
			s.t.Errorf("%s has the id %s on Drive and %q in its record", f.Rel, found[0].ID, id)
		}
		sum := must(f.Sum())(s.t)
		content := must(s.drive.Content(found[0].ID))(s.t)
		h := md5.New()
		_, err := io.Copy(h, content)
		content.Close()
		if got := hex.EncodeToString(h.Sum(nil)); err != nil || got != sum || found[0].MD5 != sum {
			s.t.Errorf("%s: MD5 %s on Drive (which says %s), %s at the studio, %v", f.Rel, got, found[0].MD5, sum, err)
		}
	}
}

// checkNoDuplicates checks that no path is on Drive more than once.
func (s *testStudio) checkNoDuplicates() {
	s.t.Helper()
	if paths := s.drive.Duplicates(); len(paths) > 0 {
		s.t.Errorf("more than once on Drive: %v", paths)
	}
}

// checkNoTries checks that no upload has failed so far.
func (s *testStudio) checkNoTries(d *process.Process) {
	s.t.Helper()
	if failed := d.Lines(process.Message("upload failed")); len(failed) > 0 {
		s.t.Errorf("tries were spent: %v", failed)
	}
}

// record is the remote site's record of a file.
func (s *testStudio) record(rep *studio.Representation, file int) bson.Raw {
	s.t.Helper()
	return must(rep.Record(s.ctx, file, "gdrive"))(s.t)
}

// eventually waits for a condition.
func (s *testStudio) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(waitTimeout); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", waitTimeout, what)
		}
	}
}

// creates is how many requests have created or changed a file on Drive.
func (s *testStudio) creates() int {
	n := 0
	for kind, count := range s.drive.Calls() {
		if strings.HasPrefix(kind, "files.create.") || strings.HasPrefix(kind, "files.update.") {
			n += count
		}
	}
	return n
}

// must returns the value of a call that has to work.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
